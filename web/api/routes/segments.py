"""Archive segments: list them, find the one for a moment, protect them from retention."""

from collections.abc import Sequence

from aiohttp import hdrs, web

from gateway.camera_settings import RenditionName
from gateway.clock import to_rfc3339
from gateway.errors import BadRequestError, ConflictError
from gateway.times import TIME_HELP, parse_time
from hls.playback.days import DAYS_MAX, days_of, parse_day, parse_zone
from hls.playback.segment_finder import PAGE_MAX
from web.api import models
from web.api.answer import json_answer
from web.api.describe import SPAN, TIME, Parameter, describe
from web.api.parameters import (
    RENDITION,
    parse_rendition,
    recordings_of,
    require_recorded_camera,
    segment_id,
    time_range,
)
from web.cluster.nodes import away_header
from web.cluster.recording_lists import AllRecordings
from web.cluster.status import SharedRecording, SharedRecordings
from web.gateway import GATEWAY

routes = web.RouteTableDef()

PAGE_DEFAULT = 100

DAY = {"type": "string", "format": "date", "examples": ["2026-11-22"]}


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
    start_90k, end_90k = time_range(request)
    found = await recordings_of(request).page(
        request.match_info["camera"],
        start_90k,
        end_90k,
        limit=_limit(request),
        cursor=request.query.get("cursor"),
        rendition=parse_rendition(request),
    )
    page = models.SegmentPage(
        segments=[models.Segment.of(segment) for segment in found.segments], next_cursor=found.next_cursor
    )
    return json_answer(page, headers={hdrs.CACHE_CONTROL: "no-cache"} | away_header(found.away))


@routes.get("/api/cameras/{camera}/segments/at")
@describe(
    "archive",
    {200: models.ArchivePosition},
    query={"time": Parameter(f"The moment. {TIME_HELP}", TIME, required=True), **RENDITION},
    errors=(400, 404),
)
async def segment_at(request: web.Request) -> web.Response:
    """Find the segment of a moment, and the offset in it."""
    text = request.query.get("time")
    if text is None:
        raise BadRequestError("time is missing: give a time, or now")
    gateway = request.app[GATEWAY]
    time_90k = parse_time(text, "time", gateway.clock.wall_90k())
    found = await recordings_of(request).at(request.match_info["camera"], time_90k, parse_rendition(request))
    position = models.ArchivePosition(
        segment=models.Segment.of(found.segment), offset_s=found.offset_s, time=found.time
    )
    return json_answer(position, headers={hdrs.CACHE_CONTROL: "no-cache"})


@routes.get("/api/cameras/{camera}/days")
@describe(
    "archive",
    {200: models.RecordedDays},
    query={
        "first": Parameter("The first day", DAY, required=True),
        "last": Parameter(f"The last day, {DAYS_MAX - 1} days after the first at most", DAY, required=True),
        "zone": Parameter("The time zone that the days are of, by its name in the IANA database; without it UTC"),
    },
    errors=(400, 404),
)
async def recorded_days(request: web.Request) -> web.Response:
    """List the days on which any of the camera was recorded, in a time zone."""
    camera_id, query = request.match_info["camera"], request.query
    first, last = [parse_day(query.get(name, ""), name) for name in ("first", "last")]
    zone = parse_zone(query.get("zone") or "UTC")
    own = await request.app[GATEWAY].recorded_days.between(camera_id, first, last, zone)
    days = {day.isoformat() for day in own}
    away: Sequence[str] = ()
    recordings = recordings_of(request)
    if isinstance(recordings, AllRecordings):
        there, away = await recordings.days_elsewhere(
            camera_id, request.rel_url.raw_path_qs, days_of(first, last, zone)
        )
        days |= there
    if not days:
        await require_recorded_camera(request, camera_id)
    answer = models.RecordedDays(days=sorted(days))
    return json_answer(answer, headers={hdrs.CACHE_CONTROL: "no-cache"} | away_header(away))


@routes.get("/api/cameras/{camera}/recordings")
@describe(
    "archive",
    {200: SharedRecordings},
    query={
        **SPAN,
        **RENDITION,
        "limit": Parameter("Files in one answer", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX - 1}),
    },
    errors=(400, 404, 409, 503),
)
async def shared_recordings(request: web.Request) -> web.Response:
    """List what all nodes of a cluster recorded in a time range, oldest first, and where it is."""
    gateway = request.app[GATEWAY]
    camera = gateway.service.camera(request.match_info["camera"])
    if gateway.cluster is None or gateway.node is None:
        raise ConflictError("this gateway is no node of a cluster: use /api/cameras/{camera}/segments").because(
            "no_cluster"
        )
    span = time_range(request)
    found = await gateway.node.archive.index.find(camera.id, *span, _limit(request), parse_rendition(request))
    urls = {node.name: node.url or None for node in gateway.cluster.coordinator.view.nodes.values()}
    recordings = [
        SharedRecording(
            node=each.file.node_name,
            url=urls.get(each.file.node_name),
            segment=each.file.name,
            rendition=RenditionName(each.file.rendition),
            start=to_rfc3339(each.file.start_90k),
            end=to_rfc3339(each.file.end_90k),
            size=each.file.size,
            epoch=each.epoch,
            counts_from=None if each.from_90k is None else to_rfc3339(each.from_90k),
            counts_to=None if each.to_90k is None else to_rfc3339(each.to_90k),
        )
        for each in found
    ]
    return json_answer(SharedRecordings(recordings=recordings), headers={hdrs.CACHE_CONTROL: "no-cache"})


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
    segment = await request.app[GATEWAY].recordings.segment(camera_id, name)
    return json_answer(models.Segment.of(segment))


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(PAGE_DEFAULT))
    # The handler asks the archive for one segment more, to know whether another page follows.
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and 1 <= int(text) < PAGE_MAX):
        raise BadRequestError(f"limit: {text[:20]!r} is not a number from 1 to {PAGE_MAX - 1}")
    return int(text)
