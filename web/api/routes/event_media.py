"""``/api/events/{event}/clip.mp4`` and ``clip.jpg``: the recording that an event covers.

Both need the scope ``archive`` over the event's camera. What is not on the disk yet is answered 425 with
``Retry-After``: an event that goes on has no clip, and a camera's recording is a moment behind.
"""

import math

from aiohttp import hdrs, web

from gateway.access import Scope
from gateway.clock import CLOCK_RATE, seconds_90k
from gateway.errors import BadRequestError, NotFoundError, TooEarlyError
from gateway.event import Event
from web.api.describe import RANGE, WIDTH, Parameter, describe
from web.api.file_answer import send_file
from web.api.routes.events import visible_event
from web.api.routes.jpeg import picture_width
from web.auth.requests import grant_of
from web.gateway import GATEWAY

routes = web.RouteTableDef()

PRE_ROLL_S, POST_ROLL_S = 10.0, 5.0
"""What happened before is mostly the reason."""

ROLL_MAX_S = 600.0

LAG_MAX_S = 15.0
"""A recording that is further behind has stopped."""

OPEN_RETRY_S = 5

THUMBNAIL_WIDTH = 640


def _roll(name: str) -> Parameter:
    return Parameter(f"Seconds {name} the event", {"type": "number", "minimum": 0, "maximum": ROLL_MAX_S})


@routes.get("/api/events/{event}/clip.mp4")
@describe(
    "events",
    {200: "video/mp4", 206: "video/mp4", 304: None},
    query={"pre_roll": _roll("before"), "post_roll": _roll("after")},
    headers={"Range": RANGE},
    errors=(400, 404, 416, 425, 503),
)
async def event_clip(request: web.Request) -> web.StreamResponse:
    """Download the recording of an event, with ten seconds before it, as one MP4."""
    event = await _recorded_event(request)
    start_90k = event.start_90k - seconds_90k(_seconds(request, "pre_roll", PRE_ROLL_S))
    if event.end_90k is None:
        raise TooEarlyError("the event goes on: it has a clip when it has ended", OPEN_RETRY_S)
    # A moment has no duration, and a clip of a second has a frame.
    end_90k = max(
        event.end_90k + seconds_90k(_seconds(request, "post_roll", POST_ROLL_S)), event.start_90k + CLOCK_RATE
    )
    _require_recorded(request, event.camera_id, end_90k)
    headers: dict[str, str] = {
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="{event.camera_id}_{event.id}.mp4"',
        hdrs.CACHE_CONTROL: "no-cache",
    }
    async with request.app[GATEWAY].archive_reader.clip(event.camera_id, max(0, start_90k), end_90k) as file:
        return await send_file(request, file, headers)


@routes.get("/api/events/{event}/clip.jpg")
@describe("events", {200: "image/jpeg"}, query={"width": WIDTH}, errors=(400, 404, 425, 503))
async def event_thumbnail(request: web.Request) -> web.Response:
    """The recorded picture of an event's start."""
    event = await _recorded_event(request)
    width = picture_width(request, THUMBNAIL_WIDTH)
    try:
        frame = await request.app[GATEWAY].archive_reader.snapshot(event.camera_id, event.start_90k, width)
    except NotFoundError:
        _require_recorded(request, event.camera_id, event.start_90k + 1)
        raise
    return web.Response(body=frame.data, content_type="image/jpeg", headers={hdrs.CACHE_CONTROL: "no-cache"})


async def _recorded_event(request: web.Request) -> Event:
    event = await visible_event(request)
    grant_of(request).require(Scope.ARCHIVE, event.camera_id)
    return event


def _require_recorded(request: web.Request, camera_id: str, end_90k: int) -> None:
    """Raise :class:`~gateway.errors.TooEarlyError` if the recording up to a moment is still to come."""
    gateway = request.app[GATEWAY]
    behind_90k = gateway.clock.wall_90k() - end_90k
    if behind_90k > LAG_MAX_S * CLOCK_RATE or not gateway.archive.is_recorded(camera_id):
        return
    recorded_90k = max((each.segment.end_90k for each in gateway.archive.unindexed(camera_id)), default=0)
    if recorded_90k < end_90k:
        wait_s = max(1, math.ceil(-behind_90k / CLOCK_RATE))
        raise TooEarlyError("the recording of this event is not on the disk yet", wait_s)


def _seconds(request: web.Request, name: str, default: float) -> float:
    text = request.query.get(name)
    if text is None:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= ROLL_MAX_S:
        raise BadRequestError(f"{name} must be a number of seconds from 0 to {ROLL_MAX_S:g}")
    return seconds
