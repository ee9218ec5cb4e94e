"""Downloads from the archive: files, thumbnails, clips.

A file can be downloaded while it grows. The answer is the whole fragments that are on disk at the time of the request:
a valid fragmented MP4 of known length.
"""

import re
from dataclasses import replace

from aiohttp import hdrs, web

from gateway.camera_settings import RenditionName
from gateway.clock import to_rfc3339
from gateway.errors import BadRequestError, ForbiddenError, NotFoundError
from hls.archive.segment import SegmentState, SegmentWithFragments
from hls.mp4.silence import Silence
from web.api.describe import RANGE, SPAN, Parameter, describe
from web.api.file_answer import send_file
from web.api.parameters import (
    RENDITION,
    SILENCE,
    clip_of,
    parse_rendition,
    require_recorded_camera,
    segment_id,
    silence_of,
    time_range,
)
from web.auth.requests import span_of
from web.gateway import GATEWAY

routes = web.RouteTableDef()

NOT_STORED = "no-store"
"""Caching of a file that grows. A browser that has stored a range of it asks for the next one with If-Range. The entity
tag is another one by then, so the answer is the whole file (RFC 9110 §13.1.5), and hls.js takes it for the range."""

_KEYFRAME = re.compile(r"(\d{1,15})-(\d{1,12})", re.ASCII)

NOTHING_IN_SPAN = "this token opens a span of the recording, and this file has nothing of it"


@routes.get("/archive/{camera}/{segment}.jpg")
@describe("archive", {200: "image/jpeg"}, errors=(404, 503))
async def thumbnail(request: web.Request) -> web.StreamResponse:
    """The first picture of a segment, scaled down."""
    reader = request.app[GATEWAY].archive_reader
    file = await reader.thumbnail(request.match_info["camera"], segment_id(request))
    return await send_file(request, file, {hdrs.CACHE_CONTROL: "public, max-age=86400"}, content_type="image/jpeg")


@routes.get("/archive/{camera}/{segment}.mp4")
@describe(
    "archive",
    {200: "video/mp4", 206: "video/mp4", 304: None},
    query={
        **SILENCE,
        "part": Parameter("One HLS segment of the file, with silence: as a playlist has it"),
        "keyframe": Parameter("One keyframe of the file as media of its own: as an I-frame playlist has it"),
    },
    headers={"Range": RANGE},
    errors=(400, 404, 416),
)
async def download(request: web.Request) -> web.StreamResponse:
    """Download a segment's file.

    While the file grows, the answer is what is on disk: a valid fragmented MP4 of known length.
    """
    reader = request.app[GATEWAY].archive_reader
    whole = segment, fragments = await reader.segments.find(request.match_info["camera"], segment_id(request))
    if (silence := silence_of(request)) is not None:
        return await _part_with_silence(request, whole, silence)
    if "keyframe" in request.query:
        return await _keyframe(request, whole)
    window = None
    if (span := span_of(request)) is not None:
        window = await reader.byte_range(segment, fragments, span.start_90k, span.end_90k)
        if window is None:
            raise ForbiddenError(NOTHING_IN_SPAN)
    headers: dict[str, str] = {
        hdrs.CONTENT_DISPOSITION: f'inline; filename="{segment.camera_id}_{segment.name}.mp4"',
        hdrs.CACHE_CONTROL: NOT_STORED if segment.state is SegmentState.GROWING else "no-cache",
    }
    async with reader.file(segment) as file:
        if window == (0, segment.size):
            window = None
        return await send_file(request, file, headers, window=window)


async def _part_with_silence(request: web.Request, whole: SegmentWithFragments, silence: Silence) -> web.StreamResponse:
    """One HLS segment of a file without sound. Its bytes do not change, also while the file grows."""
    number = request.query.get("part", "")
    if not (number.isascii() and number.isdecimal() and len(number) < 6):
        raise BadRequestError("part must be a whole number: take the URL from the playlist, as it is")
    reader = request.app[GATEWAY].archive_reader
    async with reader.part_with_silence(whole, int(number), silence) as (file, part):
        if (span := span_of(request)) is not None:
            window = await reader.byte_range(*whole, span.start_90k, span.end_90k)
            if window is None or not window[0] <= part.offset < window[1]:
                raise ForbiddenError(NOTHING_IN_SPAN)
        return await send_file(request, file, {hdrs.CACHE_CONTROL: "no-cache"})


async def _keyframe(request: web.Request, whole: SegmentWithFragments) -> web.StreamResponse:
    """One keyframe, which lasts as long as the playlist says. Its bytes do not change, also while the file grows."""
    match = _KEYFRAME.fullmatch(request.query["keyframe"])
    if match is None:
        raise BadRequestError("keyframe: take the URL from the playlist, as it is")
    offset, lasts_90k = int(match[1]), int(match[2])
    reader = request.app[GATEWAY].archive_reader
    if (span := span_of(request)) is not None:
        window = await reader.byte_range(*whole, span.start_90k, span.end_90k)
        if window is None or not window[0] <= offset < window[1]:
            raise ForbiddenError(NOTHING_IN_SPAN)
    file = await reader.keyframe(whole, offset, lasts_90k)
    return await send_file(request, file, {hdrs.CACHE_CONTROL: "no-cache"})


@routes.get("/api/cameras/{camera}/clip.mp4")
@describe(
    "archive",
    {200: "video/mp4", 206: "video/mp4", 304: None},
    query={**{name: replace(parameter, required=True) for name, parameter in SPAN.items()}, **RENDITION},
    headers={"Range": RANGE},
    errors=(400, 404, 409, 416, 503),
)
async def clip(request: web.Request) -> web.StreamResponse:
    """Download exactly one time range as one MP4, across segments and gaps.

    It is of one stream: of the main stream, unless more was recorded of the sub stream. 409: the codec or the size of
    the picture changes within it, at the times in `values`.
    """
    camera_id = request.match_info["camera"]
    start_90k, end_90k = time_range(request)
    if start_90k is None or end_90k is None:
        raise BadRequestError("a clip needs start and end: give both")
    rendition = parse_rendition(request)
    stream = "_sub" if rendition is RenditionName.SUB else ""
    name = f"{camera_id}_{to_rfc3339(start_90k).replace(':', '')}{stream}.mp4"
    try:
        async with clip_of(request, camera_id, start_90k, end_90k, rendition) as (file, fields):
            headers: dict[str, str] = {
                hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"',
                hdrs.CACHE_CONTROL: "no-cache",
            }
            return await send_file(request, file, headers | fields)
    except NotFoundError:
        await require_recorded_camera(request, camera_id)
        raise
