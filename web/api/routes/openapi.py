"""``/openapi.json``: the HTTP API."""

from functools import lru_cache
from importlib.metadata import version

from aiohttp import web

from web.api.describe import describe
from web.api.openapi import Route, openapi_document, routes_of

routes = web.RouteTableDef()

_TEXT: web.AppKey[str] = web.AppKey("openapi", str)


def prepare(app: web.Application) -> None:
    """Generate the document. All routes must have been added."""
    app[_TEXT] = _text(routes_of(app))


@lru_cache(maxsize=1)
def _text(routes: tuple[Route, ...]) -> str:
    """The document of these routes. It takes 0.1 to 0.2 s: applications of one process have the same."""
    return web.json_response(openapi_document(routes, version("liveedge"))).text or ""


@routes.get("/openapi.json")
@describe("machines", {200: "application/json"})
async def openapi(request: web.Request) -> web.Response:
    """The OpenAPI 3.1 document of the HTTP API."""
    return web.Response(text=request.app[_TEXT], content_type="application/json")
