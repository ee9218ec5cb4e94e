"""``/api/walls``: list, save and remove walls."""

import contextlib

from aiohttp import web

from gateway.camera_settings import CAMERA_ID
from gateway.errors import BadRequestError, UnavailableError
from web.api.answer import json_answer
from web.api.describe import describe
from web.api.parameters import read_model
from web.api.wall_models import Wall, WallList
from web.auth.requests import may_view
from web.gateway import GATEWAY
from web.wall_store import WallSettings

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
            walls.append(Wall(wall_id=wall_id, name=wall.name, columns=wall.columns, tiles=tiles, tour_s=wall.tour_s))
    return json_answer(WallList(walls=walls))


@routes.put("/api/walls/{wall}")
@describe("cameras", {200: Wall, 201: Wall}, body=WallSettings, errors=(400, 409, 503))
async def save_wall(request: web.Request) -> web.Response:
    """Save a wall under an id of its own, or replace the one that has this id."""
    wall_id = request.match_info["wall"]
    if CAMERA_ID.fullmatch(wall_id) is None:
        raise BadRequestError("the id of a wall has letters A to Z, digits, - and _, like that of a camera")
    wall = await read_model(request, WallSettings)
    is_new = await request.app[GATEWAY].walls.put(wall_id, wall)
    return json_answer(Wall(wall_id=wall_id, **wall.model_dump()), status=201 if is_new else 200)


@routes.delete("/api/walls/{wall}")
@describe("cameras", {204: None}, errors=(404, 503))
async def remove_wall(request: web.Request) -> web.Response:
    """Remove a wall. Its cameras stay."""
    await request.app[GATEWAY].walls.remove(request.match_info["wall"])
    return web.Response(status=204)
