"""``/openapi.json``: the HTTP API, for machines."""

from importlib.metadata import version

from aiohttp import web

from web.api.describe import describe
from web.api.openapi import openapi_document

routes = web.RouteTableDef()

_TEXT: web.AppKey[str] = web.AppKey("openapi", str)


def prepare(app: web.Application) -> None:
    """Make the document, once all routes are there."""
    app[_TEXT] = web.json_response(openapi_document(app, version("liveedge"))).text or ""


@routes.get("/openapi.json")
@describe("machines", {200: "application/json"})
async def openapi(request: web.Request) -> web.Response:
    """The OpenAPI 3.1 document."""
    return web.Response(text=request.app[_TEXT], content_type="application/json")
