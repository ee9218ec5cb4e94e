"""The events of this node alone, for the other nodes of a cluster (:mod:`web.cluster.node_events`)."""

import json
from dataclasses import asdict
from typing import Any

from aiohttp import hdrs, web

from gateway.errors import BadRequestError, ConflictError, NotFoundError
from gateway.event import EVENT_ID, PAGE_MAX, Event, EventOrder, IdempotencyKey
from web.api.describe import Parameter, describe
from web.api.parameters import read_object
from web.cluster.node_events import PATH, WAIT_S, read_filter
from web.gateway import GATEWAY

routes = web.RouteTableDef()

JSON = "application/json"

BAD_EVENT = "this is no event: all nodes of a cluster need the same version"


@routes.get(PATH)
@describe(
    "cluster",
    {200: JSON},
    query={
        "wanted": Parameter("The filter, as JSON", required=True),
        "order": Parameter("By start", {"enum": list(EventOrder)}),
        "limit": Parameter("Events in one answer", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX}),
        "cursor": Parameter("Where the page begins"),
    },
    errors=(400,),
)
async def list_node_events(request: web.Request) -> web.Response:
    """List events of this node, for another node alone."""
    query = request.query
    try:
        order, limit = EventOrder(query["order"]), min(PAGE_MAX, max(1, int(query["limit"])))
    except (KeyError, ValueError):
        raise BadRequestError("order or limit is not valid") from None
    wanted = read_filter(query.get("wanted", ""))
    page = await request.app[GATEWAY].events.page(wanted, order, limit, query.get("cursor") or None)
    return _json({"events": [asdict(event) for event in page.events], "next_cursor": page.next_cursor})


@routes.post(PATH)
@describe("cluster", {200: JSON}, errors=(400, 409, 422, 503))
async def create_node_event(request: web.Request) -> web.Response:
    """Keep an event of a camera that this node captures, for another node alone."""
    sent = await read_object(request)
    event = _event(sent.get("event"))
    key = _key(sent.get("key"))
    kept, is_new = await request.app[GATEWAY].events.create(event, key)
    return _json({"event": asdict(kept), "is_new": is_new})


@routes.get(f"{PATH}/changes")
@describe(
    "cluster",
    {200: JSON},
    query={
        "after": Parameter("The place in the log; without it, its end"),
        "wait": Parameter("Seconds to wait for the next change", {"type": "number", "minimum": 0, "maximum": WAIT_S}),
    },
)
async def node_event_changes(request: web.Request) -> web.Response:
    """Get the next changes of this node's events, for another node alone."""
    events = request.app[GATEWAY].events
    after = request.query.get("after") or events.position
    found = await events.changes_after(after)
    if found == [] and (wait_s := _wait_s(request)):
        await events.wait_for_change(after, wait_s)
        found = await events.changes_after(after)
    if found is None:
        return _json({"position": events.position, "changes": None})
    written = [{"number": change.number, "kind": change.kind.value, "event": asdict(change.event)} for change in found]
    return _json({"position": events.position_of(found[-1].number) if found else after, "changes": written})


@routes.get(f"{PATH}/{{event}}")
@describe("cluster", {200: JSON}, errors=(404,))
async def get_node_event(request: web.Request) -> web.Response:
    """Get an event of this node, for another node alone."""
    event_id = request.match_info["event"]
    event = await request.app[GATEWAY].events.get(event_id) if EVENT_ID.fullmatch(event_id) else None
    if event is None:
        raise NotFoundError("this node has no such event")
    return _json(asdict(event))


@routes.put(f"{PATH}/{{event}}")
@describe("cluster", {200: JSON}, errors=(400, 404, 409, 503))
async def replace_node_event(request: web.Request) -> web.Response:
    """Write an event of this node anew unless it has changed, for another node alone."""
    sent = await read_object(request)
    before, after = _event(sent.get("before")), _event(sent.get("after"))

    def swap(event: Event) -> Event:
        if event != before:
            raise ConflictError("the event was changed meanwhile")
        return after

    return _json(asdict(await request.app[GATEWAY].events.update(request.match_info["event"], swap)))


@routes.delete(f"{PATH}/{{event}}")
@describe("cluster", {204: None}, errors=(404, 503))
async def delete_node_event(request: web.Request) -> web.Response:
    """Delete an event of this node, for another node alone."""
    await request.app[GATEWAY].events.delete(request.match_info["event"])
    return web.Response(status=204)


def _event(written: Any) -> Event:
    try:
        return Event(**written)
    except TypeError:
        raise BadRequestError(BAD_EVENT) from None


def _key(written: Any) -> IdempotencyKey | None:
    try:
        return None if written is None else IdempotencyKey(**written)
    except TypeError:
        raise BadRequestError(BAD_EVENT) from None


def _wait_s(request: web.Request) -> float:
    try:
        wait_s = float(request.query.get("wait") or 0)
    except ValueError:
        wait_s = 0.0
    return min(WAIT_S, wait_s) if wait_s > 0 else 0.0


def _json(value: object) -> web.Response:
    body = json.dumps(value, separators=(",", ":")).encode()
    return web.Response(body=body, content_type=JSON, headers={hdrs.CACHE_CONTROL: "no-store"})
