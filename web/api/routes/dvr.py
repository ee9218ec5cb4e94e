"""``/hls/{camera}/dvr.m3u8``: the recording as an HLS playlist, and the init segments that it refers to."""

from aiohttp import hdrs, web

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from gateway.errors import BadRequestError, NotFoundError
from hls.live.playlist import CONTENT_TYPE, with_query
from hls.playback.composite_file import CompositeFile
from hls.playback.playlists import PlaylistRequest
from hls.playback.rendition_merge import parse_past
from web.api.describe import RANGE, SPAN, Parameter, describe
from web.api.file_answer import send_file
from web.api.parameters import (
    RENDITION,
    SILENCE,
    archive_query,
    parse_rendition,
    require_recorded_camera,
    silence_of,
    time_range,
)
from web.auth.requests import span_of
from web.gateway import GATEWAY

routes = web.RouteTableDef()

INTERVAL_MAX_S = 3600

VIDEO_ONLY = "video"

COMPRESS_IN_THREAD_BYTES = 64 * 1024
"""Larger playlists are compressed in a thread, not on the event loop."""


@routes.get("/hls/{camera}/dvr.m3u8")
@describe(
    "HLS",
    {200: CONTENT_TYPE},
    query={
        **SPAN,
        **RENDITION,
        "prefer": Parameter(
            "One media playlist of both streams: this one where it was recorded, and the other one elsewhere",
            {"enum": [name.value for name in RenditionName]},
        ),
        "past": Parameter("What was recorded before the first request: as the multivariant playlist has it", {}),
    },
    errors=(400, 404, 503),
)
async def dvr_playlist(request: web.Request) -> web.Response:
    """The recording as a seekable playlist. Without ``end`` the playlist goes on into live.

    Where both streams of the camera were recorded, it is a multivariant playlist.
    """
    camera_id = request.match_info["camera"]
    start_90k, end_90k = time_range(request)
    rendition, prefer = parse_rendition(request), parse_rendition(request, "prefer")
    if rendition is not None and prefer is not None:
        raise BadRequestError("rendition is one stream alone, and prefer is one before the other: give one of the two")
    past = parse_past(request.query["past"]) if "past" in request.query else None
    if past is not None and prefer is None:
        raise BadRequestError(
            "past is of a playlist with prefer: take the URL from the multivariant playlist, as it is"
        )
    span = span_of(request)
    if span is not None and start_90k is None and end_90k is None:
        start_90k = span.start_90k
    opens_from_90k = span.start_90k if span is not None else None
    wanted = PlaylistRequest(camera_id, start_90k, end_90k, rendition, prefer, past, opens_from_90k)
    reader = request.app[GATEWAY].archive_reader
    try:
        text = await reader.playlist(wanted, base="../../archive/")
    except NotFoundError:
        await require_recorded_camera(request, camera_id)
        raise
    return _playlist(request, text)


@routes.get("/hls/{camera}/iframes.m3u8")
@describe(
    "HLS",
    {200: CONTENT_TYPE},
    query={
        **SPAN,
        **RENDITION,
        "prefer": Parameter(
            "This stream where it was recorded, and the other one elsewhere; without it the main stream",
            {"enum": [name.value for name in RenditionName]},
        ),
        "interval": Parameter(
            f"The least number of seconds between two keyframes, {INTERVAL_MAX_S} at most; without it all are listed",
            {"type": "number", "minimum": 0, "maximum": INTERVAL_MAX_S},
        ),
    },
    errors=(400, 404, 503),
)
async def iframe_playlist(request: web.Request) -> web.Response:
    """The keyframes of the recording as an I-frame playlist, for high speeds. It ends now at the latest."""
    camera_id = request.match_info["camera"]
    start_90k, end_90k = time_range(request)
    span = span_of(request)
    if span is not None and start_90k is None and end_90k is None:
        start_90k = span.start_90k
    rendition, prefer = parse_rendition(request), parse_rendition(request, "prefer") or RenditionName.MAIN
    reader, interval_90k = request.app[GATEWAY].archive_reader, _interval_90k(request)
    try:
        text = await reader.iframes(
            camera_id, start_90k, end_90k, interval_90k, rendition, prefer, base="../../archive/"
        )
    except NotFoundError:
        await require_recorded_camera(request, camera_id)
        raise
    return _playlist(request, text)


def _interval_90k(request: web.Request) -> int:
    text = request.query.get("interval")
    try:
        interval_s = float(text) if text else 0.0
    except ValueError:
        interval_s = -1.0
    if not 0 <= interval_s <= INTERVAL_MAX_S:
        raise BadRequestError(f"interval: {(text or '')[:20]!r} is not a number of seconds from 0 to {INTERVAL_MAX_S}")
    return round(interval_s * CLOCK_RATE)


def _playlist(request: web.Request, text: str) -> web.Response:
    response = web.Response(
        text=with_query(text, archive_query(request)),
        content_type=CONTENT_TYPE,
        headers={hdrs.CACHE_CONTROL: "no-cache"},
        zlib_executor_size=COMPRESS_IN_THREAD_BYTES,
    )
    response.enable_compression()
    return response


@routes.get("/archive/{camera}/init-{init}.mp4")
@describe(
    "HLS",
    {200: "video/mp4", 206: "video/mp4", 304: None},
    query={**SILENCE, "tracks": Parameter("`video`: without the track of sound", {"enum": [VIDEO_ONLY]})},
    headers={"Range": RANGE},
    errors=(400, 404, 416),
)
async def init_segment(request: web.Request) -> web.StreamResponse:
    """The init segment of EXT-X-MAP. Files of a camera with the same tracks share one."""
    init_id = request.match_info["init"]
    reader, span = request.app[GATEWAY].archive_reader, span_of(request)
    start_90k, end_90k = (span.start_90k, span.end_90k) if span is not None else (None, None)
    silence = silence_of(request)
    video_only = request.query.get("tracks") == VIDEO_ONLY
    data = await reader.init_segment(
        request.match_info["camera"], init_id, start_90k, end_90k, silence, video_only=video_only
    )
    headers: dict[str, str] = {hdrs.CACHE_CONTROL: "public, max-age=31536000, immutable"}
    etag = f'"{init_id}-{silence}"' if silence is not None else f'"{init_id}"'
    if video_only:
        etag = f'"{init_id}-{VIDEO_ONLY}"'
    return await send_file(request, CompositeFile(data, [], etag), headers)
