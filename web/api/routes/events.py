"""``/api/events``: create, list, change and delete events. The stream of changes is in :mod:`event_stream`.

A request sees the events of the cameras that its credentials allow to view. Those of other cameras do not exist for it.
"""

import re
from typing import Any

from aiohttp import hdrs, web

from gateway.access import Scope
from gateway.camera_settings import CAMERA_ID
from gateway.errors import BadRequestError, NotFoundError
from gateway.event import EVENT_ID, PAGE_DEFAULT, PAGE_MAX, Event, EventFilter, EventOrder, IdempotencyKey
from gateway.event_models import TEXT_MAX
from web.api import models
from web.api.answer import json_answer
from web.api.describe import SPAN, Parameter, describe
from web.api.parameters import (
    JSON,
    MERGE_PATCH,
    as_model,
    read_model,
    read_object,
    require_recorded_camera,
    time_range,
)
from web.auth.requests import grant_of
from web.cluster.nodes import away_header
from web.gateway import GATEWAY

routes = web.RouteTableDef()

VALUES_MAX = 32
"""Labels, sources or cameras in one request."""

SOURCE = "api"
"""The source of an event whose sender names none."""

IDEMPOTENCY_KEY = "Idempotency-Key"
_KEY = re.compile(r'"[ !#-~]{1,255}"|[!#-~]{1,255}')
"""A string of structured fields (RFC 9651 §3.3.3) without escapes; many clients send it without the quotes."""

TEXT = {"type": "string", "maxLength": TEXT_MAX}
LIST = {"type": "array", "items": TEXT, "maxItems": VALUES_MAX}

FILTERS = {
    **SPAN,
    "label": Parameter("Only events with this label; may be repeated", LIST),
    "source": Parameter("Only events of this source; may be repeated", LIST),
    "text": Parameter("Only events that have this text in label, source or data", TEXT),
    "reviewed": Parameter("Only events that a person has seen, or only those that none has", {"type": "boolean"}),
    "order": Parameter("By start", {"type": "string", "enum": list(EventOrder), "default": EventOrder.NEWEST}),
    "limit": Parameter("Events in one answer", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX}),
    "cursor": Parameter("``next_cursor`` of the previous answer, with the same filters"),
}
CAMERAS = {"camera": Parameter("Only events of this camera; may be repeated", LIST)}


@routes.get("/api/events")
@describe("events", {200: models.EventList}, query={**CAMERAS, **FILTERS}, errors=(400,))
async def list_events(request: web.Request) -> web.Response:
    """List the events that overlap a time range, newest first."""
    grant = grant_of(request)
    named = filter_values(request, "camera")
    for camera_id in named:
        grant.require(Scope.VIEW, camera_id)
    return await _list(request, frozenset(named) if named else grant.cameras)


@routes.get("/api/cameras/{camera}/events")
@describe("events", {200: models.EventList}, query=FILTERS, errors=(400, 404))
async def list_camera_events(request: web.Request) -> web.Response:
    """List the events of one camera that overlap a time range, newest first."""
    camera_id = request.match_info["camera"]
    if not CAMERA_ID.fullmatch(camera_id):
        raise NotFoundError(f"there is no camera {camera_id[:64]!r}").because(
            "camera_unknown", camera_id=camera_id[:64]
        )
    answer = await _list(request, frozenset({camera_id}))
    if not await request.app[GATEWAY].all_events.has_camera(camera_id):
        await require_recorded_camera(request, camera_id)
    return answer


@routes.post("/api/events")
@describe(
    "events",
    {201: models.Event},
    body=models.NewEvent,
    headers={IDEMPOTENCY_KEY: Parameter("A repeated request with the same key gets the first one's event")},
    errors=(400, 404, 409, 422, 503),
)
async def create_event(request: web.Request) -> web.Response:
    """Create an event: something happened, or happens from now on.

    Without ``end`` and ``duration_s`` it is open until a PATCH gives it an end. ``"duration_s": 0`` is a moment.
    """
    gateway = request.app[GATEWAY]
    sent = await read_object(request)
    body = as_model(sent, models.NewEvent)
    grant_of(request).require(Scope.CONTROL, body.camera_id)
    camera = gateway.service.camera(body.camera_id)
    event = body.event(camera.id, SOURCE, gateway.clock.wall_90k())
    event, is_new = await gateway.all_events.create(event, _key(request, sent))
    headers = {"Location": f"/api/events/{event.id}"} | ({} if is_new else {"Idempotency-Replayed": "true"})
    return json_answer(models.Event.of(event), status=201, headers=headers)


@routes.get("/api/events/{event}")
@describe("events", {200: models.Event}, errors=(404,))
async def get_event(request: web.Request) -> web.Response:
    """Get one event."""
    return json_answer(models.Event.of(await visible_event(request)), headers={hdrs.CACHE_CONTROL: "no-cache"})


@routes.patch("/api/events/{event}")
@describe(
    "events",
    {200: models.Event},
    body={JSON: models.EventPatch, MERGE_PATCH: models.EventPatch},
    errors=(400, 404, 503),
)
async def change_event(request: web.Request) -> web.Response:
    """Change an event with a JSON merge patch (RFC 7396): end it, review it, correct it."""
    gateway = request.app[GATEWAY]
    event = await _changeable_event(request)
    patch = await read_model(request, models.EventPatch, JSON, MERGE_PATCH)
    now_90k = gateway.clock.wall_90k()
    event = await gateway.all_events.update(event.id, lambda event: patch.apply(event, now_90k))
    return json_answer(models.Event.of(event))


@routes.delete("/api/events/{event}")
@describe("events", {204: None}, errors=(404, 503))
async def delete_event(request: web.Request) -> web.Response:
    """Delete an event. The recordings that it covers stay, unless it protected them."""
    event = await _changeable_event(request)
    await request.app[GATEWAY].all_events.delete(event.id)
    return web.Response(status=204)


async def visible_event(request: web.Request, event_id: str | None = None) -> Event:
    """The event in the path, or another one.

    Raises :class:`~gateway.errors.NotFoundError` unless the sender may see its camera.
    """
    event_id = event_id if event_id is not None else request.match_info["event"]
    event = await request.app[GATEWAY].all_events.get(event_id) if EVENT_ID.fullmatch(event_id) else None
    grant = grant_of(request)
    if event is None or not any(grant.may(scope, event.camera_id) for scope in Scope):
        raise NotFoundError(f"there is no event {event_id[:64]!r}; it may have been deleted").because("event_gone")
    return event


async def _changeable_event(request: web.Request) -> Event:
    event = await visible_event(request)
    grant_of(request).require(Scope.CONTROL, event.camera_id)
    return event


async def _list(request: web.Request, cameras: frozenset[str] | None) -> web.Response:
    query = request.query
    start_90k, end_90k = time_range(request)
    wanted = EventFilter(
        cameras,
        start_90k,
        end_90k,
        filter_values(request, "label"),
        filter_values(request, "source"),
        _one(query.get("text"), "text"),
        _boolean(query.get("reviewed"), "reviewed"),
    )
    events = request.app[GATEWAY].all_events
    page = await events.page(wanted, _order(request), _limit(request), query.get("cursor"))
    answer = models.EventList(events=[models.Event.of(event) for event in page.events], next_cursor=page.next_cursor)
    return json_answer(answer, headers={hdrs.CACHE_CONTROL: "no-cache"} | away_header(page.away))


def filter_values(request: web.Request, name: str) -> tuple[str, ...]:
    """The values of a query parameter that may be repeated. Raises :class:`~gateway.errors.BadRequestError`."""
    values = request.query.getall(name, [])
    if len(values) > VALUES_MAX:
        raise BadRequestError(f"{name} is given more than {VALUES_MAX} times")
    return tuple(value for value in (_one(value, name) for value in values) if value)


def _one(value: str | None, name: str) -> str | None:
    if value is not None and (len(value) > TEXT_MAX or not value.isprintable()):
        raise BadRequestError(f"{name} must have at most {TEXT_MAX} characters, printable ones")
    return value


def _boolean(text: str | None, name: str) -> bool | None:
    if text not in (None, "true", "false"):
        raise BadRequestError(f"{name} must be true or false")
    return None if text is None else text == "true"


def _order(request: web.Request) -> EventOrder:
    text = request.query.get("order", EventOrder.NEWEST)
    if text not in tuple(EventOrder):
        raise BadRequestError(f"order must be {' or '.join(EventOrder)}")
    return EventOrder(text)


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(PAGE_DEFAULT))
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and 1 <= int(text) <= PAGE_MAX):
        raise BadRequestError(f"limit: {text[:20]!r} is not a number from 1 to {PAGE_MAX}")
    return int(text)


def _key(request: web.Request, body: Any) -> IdempotencyKey | None:
    values = request.headers.getall(IDEMPOTENCY_KEY, [])
    if not values:
        return None
    if len(values) > 1 or not _KEY.fullmatch(values[0]):
        raise BadRequestError(f"{IDEMPOTENCY_KEY} must be one text of at most 255 printable ASCII characters")
    return IdempotencyKey.of(grant_of(request).owner, values[0].strip('"'), body)
