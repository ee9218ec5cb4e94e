"""Activity of the recordings: a value for each step of a time range, and the next period of activity."""

from aiohttp import hdrs, web

from gateway.clock import CLOCK_RATE, seconds_90k, to_rfc3339
from gateway.codec.loudness import LEVEL_FULL
from gateway.errors import BadRequestError, NotFoundError
from gateway.times import TIME_HELP, parse_time
from hls.archive.activity import PERCENT, UNKNOWN
from web.api import models
from web.api.answer import json_answer
from web.api.describe import SPAN, TIME, Parameter, describe
from web.api.parameters import (
    RENDITION,
    activity_of,
    parse_rendition,
    require_recorded_camera,
    time_range,
)
from web.cluster.nodes import away_header
from web.gateway import GATEWAY

routes = web.RouteTableDef()

SPAN_DEFAULT_S = 3600
THRESHOLD_DEFAULT = 0.1
DIRECTIONS = ["next", "previous"]


@routes.get("/api/cameras/{camera}/activity")
@describe(
    "archive",
    {200: models.ActivityTimeline},
    query={
        **SPAN,
        **RENDITION,
        "step": Parameter(
            "Seconds of one value; without it, there are about 600 values", {"type": "integer", "minimum": 1}
        ),
    },
    errors=(400, 404),
)
async def activity(request: web.Request) -> web.Response:
    """How much happened in the recorded picture, and how loud the sound was. Without a span, of the last hour."""
    gateway, camera_id = request.app[GATEWAY], request.match_info["camera"]
    start_90k, end_90k = time_range(request)
    end_90k = end_90k if end_90k is not None else max(gateway.clock.wall_90k(), (start_90k or 0) + CLOCK_RATE)
    start_90k = start_90k if start_90k is not None else max(0, end_90k - seconds_90k(SPAN_DEFAULT_S))
    found = await activity_of(request).steps(camera_id, start_90k, end_90k, _step_s(request), parse_rendition(request))
    if not any(found.levels):
        await require_recorded_camera(request, camera_id)
    timeline = models.ActivityTimeline(
        start=to_rfc3339(found.start_90k),
        step_s=found.step_s,
        activity=[None if level == UNKNOWN else (level - 1) / PERCENT for level in found.levels],
        sound_db=[None if level == UNKNOWN else level - LEVEL_FULL for level in found.sound],
    )
    return json_answer(timeline, headers={hdrs.CACHE_CONTROL: "no-cache"} | away_header(found.away))


@routes.get("/api/cameras/{camera}/activity/next")
@describe(
    "archive",
    {200: models.ActivityPeriod},
    query={
        "time": Parameter(f"The moment from which to look. {TIME_HELP}", TIME, required=True),
        "direction": Parameter("Whether to look for what is after or before it", {"enum": DIRECTIONS}),
        "threshold": Parameter(
            f"The score that counts; without it {THRESHOLD_DEFAULT:g}", {"type": "number", "minimum": 0, "maximum": 1}
        ),
        **RENDITION,
    },
    errors=(400, 404),
)
async def next_activity(request: web.Request) -> web.Response:
    """Find where activity begins after a moment, or before it. At most 31 days are searched."""
    gateway, camera_id = request.app[GATEWAY], request.match_info["camera"]
    text = request.query.get("time")
    if text is None:
        raise BadRequestError("time is missing: give a time, or now")
    direction = request.query.get("direction", "next")
    if direction not in DIRECTIONS:
        raise BadRequestError(f"direction: {direction[:20]!r} is none: give next or previous")
    time_90k = parse_time(text, "time", gateway.clock.wall_90k())
    found = await activity_of(request).period(
        camera_id, time_90k, _threshold(request), parse_rendition(request), forward=direction == "next"
    )
    if found is None:
        await require_recorded_camera(request, camera_id)
        where = "after" if direction == "next" else "before"
        raise NotFoundError(f"camera {camera_id} has no recorded activity within 31 days {where} that")
    period = models.ActivityPeriod(
        start=to_rfc3339(found.start_90k), end=to_rfc3339(found.end_90k), activity=found.score
    )
    return json_answer(period, headers={hdrs.CACHE_CONTROL: "no-cache"} | away_header(found.away))


def _step_s(request: web.Request) -> int | None:
    text = request.query.get("step")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 7 and int(text) >= 1):
        raise BadRequestError(f"step: {text[:20]!r} is not a whole number of seconds from 1 on")
    return int(text)


def _threshold(request: web.Request) -> float:
    text = request.query.get("threshold")
    try:
        value = float(text) if text else THRESHOLD_DEFAULT
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise BadRequestError(f"threshold: {(text or '')[:20]!r} is not a number from 0 to 1")
    return value
