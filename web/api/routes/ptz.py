"""``/api/cameras/{camera}/ptz``: move a camera, over its ONVIF."""

from aiohttp import web
from pydantic import ConfigDict

from gateway.onvif.ptz_command import PtzFields, PtzState
from web.api.answer import json_answer
from web.api.describe import describe
from web.api.parameters import read_model
from web.gateway import GATEWAY
from web.onvif.service import ONVIF

routes = web.RouteTableDef()


class PtzCommand(PtzFields):
    """What to do. ``pan`` is positive to the right, ``tilt`` up, ``zoom`` in."""

    model_config = ConfigDict(extra="forbid", strict=True)


@routes.get("/api/cameras/{camera}/ptz")
@describe("cameras", {200: PtzState}, errors=(404, 409, 502, 503))
async def get_ptz(request: web.Request) -> web.Response:
    """Get what a camera can do, and its presets."""
    camera = request.app[GATEWAY].service.camera(request.match_info["camera"])
    return json_answer(await request.app[ONVIF].state(camera.id))


@routes.post("/api/cameras/{camera}/ptz")
@describe("cameras", {204: None}, body=PtzCommand, errors=(400, 404, 409, 502, 503))
async def move_camera(request: web.Request) -> web.Response:
    """Move a camera. A movement without end is sent again before its ``timeout_s`` is over."""
    camera = request.app[GATEWAY].service.camera(request.match_info["camera"])
    command = await read_model(request, PtzCommand)
    await request.app[ONVIF].command(camera.id, command, "http")
    return web.Response(status=204)
