"""``/api/walls``: list, save and remove walls."""

import contextlib

from aiohttp import web

from gateway.camera_settings import CAMERA_ID
from gateway.errors import BadRequestError, UnavailableError
from web.api.answer import json_answer
from web.api.describe import describe
from web.api.parameters import read_model
from web.api.wall_models import Wall, WallChange, WallList
from web.auth.requests import may_view
from web.gateway import GATEWAY
from web.wall_store import WallSettings, revision_of

routes = web.RouteTableDef()


@routes.get("/api/walls")
@describe("cameras", {200: WallList})
async def list_walls(request: web.Request) -> web.Response:
    """List the saved walls."""
    walls: list[Wall] = []
    with contextlib.suppress(UnavailableError):  # those that are known are listed
        await request.app[GATEWAY].walls.refresh()
    for wall_id, wall in request.app[GATEWAY].walls.walls.items():
        tiles = [tile for tile in wall.tiles if may_view(request, tile.camera_id)]
        if tiles:
            walls.append(_answer(wall_id, wall).model_copy(update={"tiles": tiles}))
    return json_answer(WallList(walls=walls))


@routes.put("/api/walls/{wall}")
@describe("cameras", {200: Wall, 201: Wall}, body=WallChange, errors=(400, 409, 503))
async def save_wall(request: web.Request) -> web.Response:
    """Save a wall under an id of its own, or replace the one that has this id."""
    wall_id = request.match_info["wall"]
    if CAMERA_ID.fullmatch(wall_id) is None:
        raise BadRequestError("the id of a wall has letters A to Z, digits, - and _, like that of a camera")
    change = await read_model(request, WallChange)
    wall = WallSettings.model_validate(change.model_dump(exclude={"revision"}))
    is_new = await request.app[GATEWAY].walls.put(wall_id, wall, change.revision)
    return json_answer(_answer(wall_id, wall), status=201 if is_new else 200)


@routes.delete("/api/walls/{wall}")
@describe("cameras", {204: None}, errors=(404, 503))
async def remove_wall(request: web.Request) -> web.Response:
    """Remove a wall. Its cameras stay."""
    await request.app[GATEWAY].walls.remove(request.match_info["wall"])
    return web.Response(status=204)


def _answer(wall_id: str, wall: WallSettings) -> Wall:
    return Wall(wall_id=wall_id, revision=revision_of(wall), **wall.model_dump())
