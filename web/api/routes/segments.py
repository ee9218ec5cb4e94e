"""Archive segments: list them, find the one for a moment, protect them from retention."""

import base64
import binascii

from aiohttp import hdrs, web

from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.errors import BadRequestError, NotFoundError
from gateway.times import TIME_HELP, parse_time
from hls.archive.segment import Segment, parse_name
from hls.playback.reader import PAGE_MAX
from web.api import models
from web.api.answer import json_answer
from web.api.describe import SPAN, TIME, Parameter, describe
from web.api.parameters import RENDITION, parse_rendition, require_recorded_camera, segment_id, time_range
from web.gateway import GATEWAY

routes = web.RouteTableDef()

PAGE_DEFAULT = 100


@routes.get("/api/cameras/{camera}/segments")
@describe(
    "archive",
    {200: models.SegmentPage},
    query={
        **SPAN,
        **RENDITION,
        "limit": Parameter("Segments in one answer", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX - 1}),
        "cursor": Parameter("``next_cursor`` of the previous answer"),
    },
    errors=(400, 404),
)
async def list_segments(request: web.Request) -> web.Response:
    """List the segments that overlap a time range, oldest first: those of both streams, or of one."""
    reader, camera_id = request.app[GATEWAY].archive_reader, request.match_info["camera"]
    start_90k, end_90k = time_range(request)
    limit = _limit(request)
    cursor = request.query.get("cursor")
    after = _parse_cursor(cursor) if cursor else None
    segments = await reader.page(camera_id, start_90k, end_90k, limit + 1, after, parse_rendition(request))
    if not segments:
        await require_recorded_camera(request, camera_id)
    more = len(segments) > limit
    segments = segments[:limit]
    page = models.SegmentPage(
        segments=[models.Segment.of(segment) for segment in segments],
        next_cursor=_cursor(segments[-1]) if more else None,
    )
    return json_answer(page, headers={hdrs.CACHE_CONTROL: "no-cache"})


@routes.get("/api/cameras/{camera}/segments/at")
@describe(
    "archive",
    {200: models.ArchivePosition},
    query={"time": Parameter(f"The moment. {TIME_HELP}", TIME, required=True), **RENDITION},
    errors=(400, 404),
)
async def segment_at(request: web.Request) -> web.Response:
    """Find the segment of a moment, and the offset in it."""
    reader, camera_id = request.app[GATEWAY].archive_reader, request.match_info["camera"]
    text = request.query.get("time")
    if text is None:
        raise BadRequestError("time is missing: give a time, or now")
    now_90k = request.app[GATEWAY].clock.wall_90k()
    try:
        found = await reader.at(camera_id, parse_time(text, "time", now_90k), parse_rendition(request))
    except NotFoundError:
        await require_recorded_camera(request, camera_id)
        raise
    position = models.ArchivePosition(
        segment=models.Segment.of(found.segment),
        offset_s=round(found.offset_90k / CLOCK_RATE, 6),
        time=to_rfc3339(found.segment.start_90k + found.offset_90k),
    )
    return json_answer(position, headers={hdrs.CACHE_CONTROL: "no-cache"})


@routes.post("/api/cameras/{camera}/segments/{segment}/protect")
@describe("archive", {200: models.Segment}, errors=(404,))
async def protect(request: web.Request) -> web.Response:
    """Protect a segment from retention, with what the camera's other stream recorded of its time."""
    return await _set_protected(request, True)


@routes.delete("/api/cameras/{camera}/segments/{segment}/protect")
@describe("archive", {200: models.Segment}, errors=(404,))
async def unprotect(request: web.Request) -> web.Response:
    """Let retention delete a segment again, with what the camera's other stream recorded of its time."""
    return await _set_protected(request, False)


async def _set_protected(request: web.Request, is_protected: bool) -> web.Response:
    camera_id, name = request.match_info["camera"], segment_id(request)
    await request.app[GATEWAY].archive.protect(camera_id, name, is_protected)
    segment, _ = await request.app[GATEWAY].archive_reader.find(camera_id, name)
    return json_answer(models.Segment.of(segment))


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(PAGE_DEFAULT))
    # The handler asks the archive for one segment more, to know whether another page follows.
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and 1 <= int(text) < PAGE_MAX):
        raise BadRequestError(f"limit: {text[:20]!r} is not a number from 1 to {PAGE_MAX - 1}")
    return int(text)


def _cursor(segment: Segment) -> str:
    return base64.urlsafe_b64encode(f"{segment.start_90k}/{segment.name}".encode()).decode().rstrip("=")


def _parse_cursor(text: str) -> tuple[int, str]:
    try:
        start, _, name = base64.urlsafe_b64decode(text[:200] + "==").decode("ascii").partition("/")
        if start.isdecimal() and len(start) <= 18 and parse_name(name) is not None:
            return int(start), name
    except (binascii.Error, ValueError):
        pass
    raise BadRequestError("cursor is not valid: use next_cursor of the previous answer, or leave it out")
