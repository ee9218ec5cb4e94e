"""``/api/cameras/{camera}/viewers/{viewer}``: which stream of its camera a WebRTC viewer gets.

The viewer is the last part of the ``Location`` of WHEP. A player tells here how large it shows the video.
"""

from aiohttp import web

from gateway.webrtc.rendition_request import RenditionRequest
from gateway.webrtc.viewer import Viewer
from web.api import models
from web.api.answer import json_answer
from web.api.describe import describe
from web.api.parameters import read_model
from web.auth.viewer_ownership import VIEWER_OWNERSHIP
from web.gateway import GATEWAY

routes = web.RouteTableDef()

NO_STORE = {"Cache-Control": "no-store"}


@routes.get("/api/cameras/{camera}/viewers/{viewer}")
@describe("WebRTC", {200: models.Viewer}, errors=(404,))
async def get_viewer(request: web.Request) -> web.Response:
    """Which stream of its camera a viewer gets, and why."""
    return json_answer(_answer(request, _viewer(request)), headers=NO_STORE)


@routes.patch("/api/cameras/{camera}/viewers/{viewer}")
@describe("WebRTC", {200: models.Viewer}, body=models.ViewerRequest, errors=(400, 404))
async def change_viewer(request: web.Request) -> web.Response:
    """Ask for another stream, or tell at what size the video is shown. The change comes with the next keyframe."""
    viewer = _viewer(request)
    wanted = await read_model(request, models.ViewerRequest)
    switch = viewer.begun_rendition()
    switch.ask(RenditionRequest.parse(wanted.rendition or switch.requested, wanted.width, wanted.height))
    viewer.update_rendition()
    return json_answer(_answer(request, viewer), headers=NO_STORE)


def _viewer(request: web.Request) -> Viewer:
    viewer = request.app[GATEWAY].webrtc.viewer(request.match_info["viewer"], request.match_info["camera"])
    request.app[VIEWER_OWNERSHIP].require(request, viewer)
    return viewer


def _answer(request: web.Request, viewer: Viewer) -> models.Viewer:
    switch = viewer.begun_rendition()
    return models.Viewer(
        camera_id=viewer.camera_id,
        rendition=switch.current.name,
        transcoded=switch.is_transcoded,
        requested=switch.requested,
        pending=switch.pending.name if switch.pending is not None else None,
        available=list(switch.camera.renditions),
        reason=switch.reason,
        codec=switch.codec,
        limit_bps=viewer.stats().limit_bps,
        degraded_reason=viewer.degraded,
    )
