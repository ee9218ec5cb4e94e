"""``/static/``: files of the page and the player. Also the clocks by which a player measures its latency.

Browsers revalidate files at each use (they have an ETag), so that a page never runs with the player of an older
gateway. Chunks of the player have the hash of their content in their names, and may be cached. If there is a ``.gz``
beside a file, it is sent to clients that accept it; the build makes them.
"""

import asyncio
import re
from pathlib import Path

from aiohttp import hdrs, web

from gateway.clock import to_rfc3339
from gateway.errors import NotFoundError, UnavailableError
from hls.playback.composite_file import whole_file
from web.api import models
from web.api.answer import json_answer
from web.api.describe import describe
from web.api.file_answer import send_file
from web.auth.viewer_ownership import VIEWER_OWNERSHIP
from web.gateway import GATEWAY

routes = web.RouteTableDef()

STATIC = Path(__file__).parents[2] / "static"

CORS = {"Access-Control-Allow-Origin": "*"}
"""Browsers fetch modules with CORS, and pages of other origins embed the player."""

TYPES = {
    "js": "text/javascript",
    "css": "text/css",
    "svg": "image/svg+xml",
    "png": "image/png",
    "html": "text/html",
    "webmanifest": "application/manifest+json",
}

_NAME = re.compile(r"[a-z0-9][A-Za-z0-9_-]*\.(?:js|css|svg|png|html|webmanifest)")
_HASHED = re.compile(r"player-[a-z]+-[A-Za-z0-9_-]{8}\.js")


@routes.get("/static/{file}")
@describe("page", {200: "*/*", 304: None}, errors=(404,))
async def static_file(request: web.Request) -> web.StreamResponse:
    """A file of the page or the player."""
    name = request.match_info["file"]
    path = STATIC / name
    if not _NAME.fullmatch(name) or not path.is_file():
        raise NotFoundError(f"there is no file {name[:64]!r}")
    caching = "public, max-age=31536000, immutable" if _HASHED.fullmatch(name) else "no-cache"
    headers: dict[str, str] = {**CORS, hdrs.CACHE_CONTROL: caching, hdrs.VARY: hdrs.ACCEPT_ENCODING}
    zipped = path.with_name(f"{name}.gz")
    if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower() and zipped.is_file():
        path, headers[hdrs.CONTENT_ENCODING] = zipped, "gzip"
    return await send_file(request, await asyncio.to_thread(whole_file, path), headers, content_type=_type_of(name))


def _type_of(name: str) -> str:
    return TYPES[name.rpartition(".")[2]]


@routes.get("/api/time")
@describe("page", {200: models.ServerTime})
async def time(request: web.Request) -> web.Response:
    """The time on the gateway's clock."""
    now = to_rfc3339(request.app[GATEWAY].clock.wall_90k())
    return json_answer(models.ServerTime(time=now), headers={"Cache-Control": "no-store"})


@routes.get("/api/cameras/{camera}/viewers/{viewer}/clock")
@describe("WebRTC", {200: models.ViewerClock}, errors=(404, 503))
async def viewer_clock(request: web.Request) -> web.Response:
    """The clock of a WebRTC viewer: a frame with ``rtp_timestamp`` was captured at ``time``.

    RTCP sender reports say the same, but browsers do not expose them. ``degraded_reason`` says why the viewer gets
    fewer frames.
    """
    viewer = request.app[GATEWAY].webrtc.viewer(request.match_info["viewer"], request.match_info["camera"])
    request.app[VIEWER_OWNERSHIP].require(request, viewer)
    now_90k = request.app[GATEWAY].clock.wall_90k()
    timestamp = viewer.rtp_timestamp(now_90k)
    if timestamp is None:
        raise UnavailableError("this viewer has not received a frame yet")
    clock = models.ViewerClock(time=to_rfc3339(now_90k), rtp_timestamp=timestamp, degraded_reason=viewer.degraded)
    return json_answer(clock, headers={"Cache-Control": "no-store"})
