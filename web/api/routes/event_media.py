"""``/api/events/{event}/clip.mp4`` and ``clip.jpg``: the recording that an event covers.

Both need the scope ``archive`` over the event's camera. What is to come on the disk is answered 425 with
``Retry-After``. Of an event that goes on, the clip is what there is: each request gets more.
"""

import math

from aiohttp import hdrs, web

from gateway.access import Scope
from gateway.clock import CLOCK_RATE
from gateway.errors import BadRequestError, NotFoundError, TooEarlyError
from gateway.event import Event
from web.api.describe import RANGE, WIDTH, Parameter, describe
from web.api.event_clips import clip_span, is_still_coming
from web.api.file_answer import send_file
from web.api.parameters import RENDITION, clip_of, parse_rendition
from web.api.routes.downloads import NOT_STORED
from web.api.routes.events import visible_event
from web.api.routes.jpeg import picture_width
from web.auth.requests import grant_of
from web.gateway import GATEWAY

routes = web.RouteTableDef()

ROLL_MAX_S = 600.0

THUMBNAIL_WIDTH = 640


def _roll(name: str) -> Parameter:
    return Parameter(
        f"Seconds {name} the event; the camera's setting by default",
        {"type": "number", "minimum": 0, "maximum": ROLL_MAX_S},
    )


@routes.get("/api/events/{event}/clip.mp4")
@describe(
    "events",
    {200: "video/mp4", 206: "video/mp4", 304: None},
    query={"pre_roll": _roll("before"), "post_roll": _roll("after"), **RENDITION},
    headers={"Range": RANGE},
    errors=(400, 404, 416, 425, 503),
)
async def event_clip(request: web.Request) -> web.StreamResponse:
    """Download the recording of an event, with the seconds before and after it, as one MP4.

    Of an event that goes on, it ends with what is on the disk. If the codec or the size of the picture changes, it is
    the part that has most of the event.
    """
    event = await _recorded_event(request)
    gateway = request.app[GATEWAY]
    start_90k, end_90k = clip_span(gateway, event, _seconds(request, "pre_roll"), _seconds(request, "post_roll"))
    _require_settled(request, event.camera_id, event.start_90k + 1 if event.end_90k is None else end_90k)
    # By what was recorded of the event itself: there may be no pre-roll of the main stream.
    last_90k = max(event.start_90k + CLOCK_RATE, end_90k if event.end_90k is None else event.end_90k)
    reader = gateway.archive_reader
    rendition = parse_rendition(request) or await reader.segments.best_stream(
        event.camera_id, event.start_90k, last_90k
    )
    headers: dict[str, str] = {
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="{event.camera_id}_{event.id}.mp4"',
        hdrs.CACHE_CONTROL: NOT_STORED if event.is_open else "no-cache",
    }
    most_of = event.start_90k, last_90k
    async with clip_of(request, event.camera_id, start_90k, end_90k, rendition, most_of) as (file, fields):
        return await send_file(request, file, headers | fields)


@routes.get("/api/events/{event}/clip.jpg")
@describe("events", {200: "image/jpeg"}, query={"width": WIDTH}, errors=(400, 404, 425, 503))
async def event_thumbnail(request: web.Request) -> web.Response:
    """The recorded picture of an event's start."""
    event = await _recorded_event(request)
    width = picture_width(request, THUMBNAIL_WIDTH)
    try:
        frame = await request.app[GATEWAY].archive_reader.snapshot(event.camera_id, event.start_90k, width)
    except NotFoundError:
        _require_settled(request, event.camera_id, event.start_90k + 1)
        raise
    return web.Response(body=frame.data, content_type="image/jpeg", headers={hdrs.CACHE_CONTROL: "no-cache"})


async def _recorded_event(request: web.Request) -> Event:
    event = await visible_event(request)
    grant_of(request).require(Scope.ARCHIVE, event.camera_id)
    return event


def _require_settled(request: web.Request, camera_id: str, end_90k: int) -> None:
    """Raise :class:`~gateway.errors.TooEarlyError` if something of before a moment is still to come on the disk."""
    gateway = request.app[GATEWAY]
    if is_still_coming(gateway, camera_id, end_90k):
        wait_s = max(1, math.ceil((end_90k - gateway.clock.wall_90k()) / CLOCK_RATE))
        raise TooEarlyError("the recording of this event is not on the disk yet", wait_s)


def _seconds(request: web.Request, name: str) -> float | None:
    text = request.query.get(name)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= ROLL_MAX_S:
        raise BadRequestError(f"{name} must be a number of seconds from 0 to {ROLL_MAX_S:g}")
    return seconds
