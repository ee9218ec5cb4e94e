"""``/asyncapi.json``: the Socket.IO events."""

from aiohttp import web

from web.api.describe import describe
from web.gateway import GATEWAY

routes = web.RouteTableDef()


@routes.get("/asyncapi.json")
@describe("machines", {200: "application/json"})
async def asyncapi(request: web.Request) -> web.Response:
    """The AsyncAPI 3 document of the Socket.IO events."""
    return web.json_response(request.app[GATEWAY].asyncapi)
