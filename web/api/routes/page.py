"""``/``: the web page. ``/health``: the health check."""

from pathlib import Path

from aiohttp import web

from web.api import models
from web.api.answer import json_answer
from web.api.describe import describe

routes = web.RouteTableDef()

PAGE = Path(__file__).parents[2] / "static" / "index.html"


@routes.get("/")
@describe("page", {200: "text/html"})
async def index(_request: web.Request) -> web.FileResponse:
    """The web page with all cameras."""
    return web.FileResponse(PAGE, headers={"Cache-Control": "no-cache"})


@routes.get("/health")
@describe("machines", {200: models.Health})
async def health(_request: web.Request) -> web.Response:
    """Check that the process answers. ``/api/status`` reports problems."""
    return json_answer(models.Health())
