"""``/openapi.json``: the HTTP API."""

from importlib.metadata import version

from aiohttp import web

from web.api.describe import describe
from web.api.openapi import openapi_document

routes = web.RouteTableDef()

_TEXT: web.AppKey[str] = web.AppKey("openapi", str)


def prepare(app: web.Application) -> None:
    """Generate the document. All routes must have been added."""
    app[_TEXT] = web.json_response(openapi_document(app, version("liveedge"))).text or ""


@routes.get("/openapi.json")
@describe("machines", {200: "application/json"})
async def openapi(request: web.Request) -> web.Response:
    """The OpenAPI 3.1 document of the HTTP API."""
    return web.Response(text=request.app[_TEXT], content_type="application/json")
