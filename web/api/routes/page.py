"""``/`` and ``/publish/{camera}``: the web pages. ``/service-worker.js``: beside the page, to answer for it.

``/health`` and ``/ready``: for load balancers.
"""

import asyncio
from pathlib import Path

from aiohttp import hdrs, web

from gateway.errors import UnavailableError
from hls.playback.composite_file import whole_file
from web.api import models
from web.api.answer import json_answer
from web.api.describe import describe
from web.api.file_answer import send_file
from web.api.shell import service_worker_text
from web.gateway import GATEWAY

routes = web.RouteTableDef()

STATIC = Path(__file__).parents[2] / "static"
PAGE = STATIC / "index.html"
PUBLISH_PAGE = STATIC / "publish.html"


@routes.get("/")
@describe("page", {200: "text/html"})
async def index(request: web.Request) -> web.StreamResponse:
    """The web page with all cameras."""
    return await _page(request, PAGE)


@routes.get("/publish/{camera}")
@describe("page", {200: "text/html"})
async def publish_page(request: web.Request) -> web.StreamResponse:
    """The page that publishes the browser's camera and microphone as a camera of the gateway."""
    return await _page(request, PUBLISH_PAGE)


@routes.get("/service-worker.js")
@describe("page", {200: "text/javascript"})
async def service_worker(request: web.Request) -> web.Response:
    """The service worker of the page, with the list of the files that it keeps."""
    text, etag = await asyncio.to_thread(service_worker_text, STATIC)
    response = web.Response(text=text, content_type="text/javascript", headers={hdrs.CACHE_CONTROL: "no-cache"})
    response.etag = etag
    return response


async def _page(request: web.Request, path: Path) -> web.StreamResponse:
    page = await asyncio.to_thread(whole_file, path)
    return await send_file(request, page, {hdrs.CACHE_CONTROL: "no-cache"}, content_type="text/html")


@routes.get("/health")
@describe("machines", {200: models.Health})
async def health(_request: web.Request) -> web.Response:
    """Check that the process answers. ``/api/status`` reports problems."""
    return json_answer(models.Health())


@routes.get("/ready")
@describe("machines", {200: models.Health}, errors=(503,))
async def ready(request: web.Request) -> web.Response:
    """Check that the gateway takes new viewers. A node of a cluster that hands its cameras over does not."""
    cluster = request.app[GATEWAY].cluster
    if cluster is not None and not cluster.is_ready:
        raise UnavailableError("this node hands its cameras over to others: use another node", retry_after_s=5)
    return json_answer(models.Health())
