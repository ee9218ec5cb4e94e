"""Live LL-HLS over HTTP: ``/hls/{camera}/``. :mod:`hls.live.stream` makes the content; this module sets the headers.

Names of media files are never used twice, so caches may keep them for as long as the gateway serves them. The answer to
a playlist request with delivery directives is specific to them, so shared caches may keep it for a moment, in which the
players of a camera request it (rfc8216bis §6.2.5, appendix B). The answer to a request without directives may not be
kept.
"""

import re
from email.utils import formatdate
from functools import lru_cache

from aiohttp import web

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from gateway.errors import BadRequestError, NotOwnerError
from hls.live.playlist import CONTENT_TYPE, LIVE_NAME, SUB_LIVE_NAME, Rendered
from hls.live.stream import LiveStream
from web.api.describe import Parameter, describe
from web.api.parameters import RENDITIONS, parse_rendition
from web.api.shared_answers import SHARED_ANSWERS, Headers
from web.auth.authenticator import NODE_TOKEN
from web.auth.requests import token_query
from web.cluster.remote_live import RemoteLive
from web.gateway import GATEWAY
from web.polled_answer import accepts_gzip

routes = web.RouteTableDef()

BLOCKED_CACHING = "public, max-age=0, s-maxage=1"
"""Caching of the answer to delivery directives. Not by browsers: at the end of each segment video.js repeats its last
request until there is a new part, and a browser's cache would answer it as before."""

_NUMBER = re.compile(r"[0-9]{1,18}")


@routes.get(r"/hls/{camera}/{name:[^/]+\.(?:mp4|m4s)}")
@describe("HLS", {200: "video/mp4"}, errors=(404, 503))
async def media(request: web.Request) -> web.StreamResponse:
    """An init segment, a segment or a part. A part of a preload hint is sent when it is complete."""
    return await _media(request, RenditionName.MAIN)


DIRECTIVES = {
    "_HLS_msn": Parameter("Wait for this media sequence number", {"type": "integer", "minimum": 0}),
    "_HLS_part": Parameter("Wait for this part of the segment", {"type": "integer", "minimum": 0}),
    "_HLS_skip": Parameter("Request a delta update, without the older segments", {"enum": ["YES", "v2"]}),
}


@routes.get(f"/hls/{{camera}}/{LIVE_NAME}")
@describe("HLS", {200: CONTENT_TYPE}, query=DIRECTIVES, errors=(400, 404, 503))
async def media_playlist(request: web.Request) -> web.StreamResponse:
    """The media playlist of the main stream, with the delivery directives of rfc8216bis §6.2.5."""
    return await _media_playlist(request, RenditionName.MAIN)


@routes.get(f"/hls/{{camera}}/{SUB_LIVE_NAME}")
@describe("HLS", {200: CONTENT_TYPE}, query=DIRECTIVES, errors=(400, 404, 503))
async def sub_media_playlist(request: web.Request) -> web.StreamResponse:
    """The media playlist of the sub stream, which the first request starts. 404 where the camera has none."""
    return await _media_playlist(request, RenditionName.SUB)


async def _media_playlist(request: web.Request, name: RenditionName) -> web.StreamResponse:
    msn, part = _number(request, "_HLS_msn"), _number(request, "_HLS_part")
    if part is not None and msn is None:
        raise BadRequestError("_HLS_part needs _HLS_msn, the segment that contains the part")
    delta = request.query.get("_HLS_skip") in ("YES", "v2")
    if (remote := _remote(request)) is not None:
        rendered = await remote.media_playlist(request.match_info["camera"], name, msn, part, delta=delta)
    else:
        rendered = await _stream(request, name).media_playlist(msn, part, delta=delta)
    return _playlist(request, rendered, "no-cache" if msn is None else BLOCKED_CACHING)


@routes.get(r"/hls/{camera}/sub/{name:[^/]+\.(?:mp4|m4s)}")
@describe("HLS", {200: "video/mp4"}, errors=(404, 503))
async def sub_media(request: web.Request) -> web.StreamResponse:
    """As above, of the sub stream."""
    return await _media(request, RenditionName.SUB)


@routes.get("/hls/{camera}/index.m3u8")
@describe(
    "HLS",
    {200: CONTENT_TYPE},
    query={
        "rendition": Parameter("One stream alone. `auto`, or none: both, if they work", {"enum": RENDITIONS}),
    },
    errors=(400, 404, 503),
)
async def multivariant(request: web.Request) -> web.StreamResponse:
    """The multivariant playlist of main and sub stream, of those that work. It waits while the camera connects."""
    live = _remote(request) or request.app[GATEWAY].live
    rendered = await live.multivariant_playlist(request.match_info["camera"], parse_rendition(request))
    return _playlist(request, rendered, "no-cache")


async def _media(request: web.Request, rendition: RenditionName) -> web.StreamResponse:
    name = request.match_info["name"]
    data: bytes | memoryview
    if (remote := _remote(request)) is not None:
        media = await remote.media(request.match_info["camera"], rendition, name)
        data, lifetime_s = media.data, media.lifetime_s
    else:
        stream = _stream(request, rendition)
        data = await stream.media(name)
        lifetime_s = stream.window.lifetime_s
    now = request.app[GATEWAY].clock.wall_90k() // CLOCK_RATE
    return request.app[SHARED_ANSWERS].answer(request, data, _media_headers(now, lifetime_s))


@lru_cache(maxsize=64)
def _media_headers(now: int, lifetime_s: int) -> Headers:
    """``now`` in whole seconds of Unix time: within one, all players get the same headers."""
    return (
        ("Content-Type", "video/mp4"),
        ("Cache-Control", f"public, max-age={lifetime_s}, immutable"),
        ("Expires", formatdate(now + lifetime_s, usegmt=True)),
    )


def _remote(request: web.Request) -> RemoteLive | None:
    """What has the camera's live streams, where another node of a cluster captures it."""
    gateway, camera_id = request.app[GATEWAY], request.match_info["camera"]
    remote = gateway.node.remote_live if gateway.node is not None else None
    if remote is None or not remote.has(camera_id):
        return None
    gateway.service.camera(camera_id)
    if NODE_TOKEN in request.headers:
        raise NotOwnerError("this node of the cluster does not capture the camera")
    return remote


def _stream(request: web.Request, name: RenditionName) -> LiveStream:
    return request.app[GATEWAY].live.stream(request.match_info["camera"], name)


def _number(request: web.Request, directive: str) -> int | None:
    value = request.query.get(directive)
    if value is None:
        return None
    if not _NUMBER.fullmatch(value):
        raise BadRequestError(f"{directive} is not a decimal number")
    return int(value)


def _playlist(request: web.Request, rendered: Rendered, cache_control: str) -> web.StreamResponse:
    rendered = rendered.with_query(token_query(request))
    is_gzipped = accepts_gzip(request.headers.get("Accept-Encoding", ""))
    body = rendered.gzipped if is_gzipped else rendered.body
    return request.app[SHARED_ANSWERS].answer(request, body, _playlist_headers(cache_control, is_gzipped=is_gzipped))


@lru_cache(maxsize=8)
def _playlist_headers(cache_control: str, *, is_gzipped: bool) -> Headers:
    headers = (("Content-Type", CONTENT_TYPE), ("Cache-Control", cache_control), ("Vary", "Accept-Encoding"))
    return (*headers, ("Content-Encoding", "gzip")) if is_gzipped else headers
