"""``/api/events/stream``: every change of an event, as server-sent events (WHATWG HTML §9.2).

Rules:

1. Each change has an id. A client that comes back with the last one in ``Last-Event-ID`` gets all changes after it,
   also after a restart of the gateway. A change of an event that was changed again since has the event as it is now.
2. There is no queue: what a slow client has not taken stays in the log. Where the log does not go back so far, the
   client gets the event ``reset``, reads the list again, and the stream goes on from now. So it does when a node of a
   cluster comes whose events it cannot know yet.
3. A comment is sent every :data:`HEARTBEAT_S`, so that proxies keep the connection and a client notices a dead one.
4. The stream has the changes of the cameras that its credential allows to view at that moment, and ends with it.
"""

import json
from collections.abc import Callable

from aiohttp import hdrs, web

from gateway.errors import BadRequestError
from gateway.event import EventChange
from gateway.tcp_backlog import delivered
from web.api import models
from web.api.describe import Parameter, describe
from web.api.routes.events import LIST, filter_values
from web.auth.requests import may_view
from web.gateway import GATEWAY

routes = web.RouteTableDef()

EVENT_STREAM = "text/event-stream"

HEARTBEAT_S = 15.0
"""Proxies close connections that are silent for 30 to 60 s."""

Wanted = Callable[[EventChange], bool]

RETRY_MS = 2000
"""After how long a client connects again."""

LAST_EVENT_ID = "Last-Event-ID"

POSITION_MAX = 4096
"""Characters of an id: in a cluster it has the place in the log of each node."""


@routes.get("/api/events/stream")
@describe(
    "events",
    {200: EVENT_STREAM},
    query={
        "camera": Parameter("Only events of this camera; may be repeated", LIST),
        "label": Parameter("Only events with this label; may be repeated", LIST),
        "last_event_id": Parameter(f"As {LAST_EVENT_ID}, for clients that cannot send headers"),
    },
    headers={LAST_EVENT_ID: Parameter("The id of the last change that the client has seen")},
    errors=(400,),
)
async def stream_events(request: web.Request) -> web.StreamResponse:
    """Hear of every change of an event, as server-sent events.

    Their types are ``created``, ``updated``, ``deleted``, each with an ``EventChange``, and ``reset``: changes are
    missing, read the list again.
    """
    gateway = request.app[GATEWAY]
    events = gateway.all_events
    cameras, labels = filter_values(request, "camera"), filter_values(request, "label")
    position = request.headers.get(LAST_EVENT_ID) or request.query.get("last_event_id") or events.position
    if len(position) > POSITION_MAX or not position.isascii():
        raise BadRequestError(f"{LAST_EVENT_ID} is not the id of a change")

    def is_wanted(change: EventChange) -> bool:
        event = change.event
        return (
            may_view(request, event.camera_id)
            and (not cameras or event.camera_id in cameras)
            and (not labels or event.label in labels)
        )

    response = web.StreamResponse(headers={hdrs.CACHE_CONTROL: "no-store", "X-Accel-Buffering": "no"})
    response.content_type = EVENT_STREAM
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    gateway.events.streams += 1
    try:
        await _send(request, response, position, is_wanted)
    finally:
        gateway.events.streams -= 1
    return response


async def _send(request: web.Request, response: web.StreamResponse, position: str, is_wanted: Wanted) -> None:
    gateway = request.app[GATEWAY]
    events = gateway.all_events
    socket = request.transport.get_extra_info("socket") if request.transport is not None else None
    text, sent = f"retry: {RETRY_MS}\n", ""
    while not events.is_closed:
        changes = await events.changes_after(position)
        if changes is None:
            gateway.events.stream_resets += 1
            position = events.position
            text += _message("reset", json.dumps({"reason": "changes are missing: read the list of events again"}))
        else:
            for change in changes:
                position = events.position_after(position, change)
                if is_wanted(change):
                    text += _change(change, position)
        # An id without data is remembered by the client, and is no event for it.
        await response.write(f"{text}id: {position}\n\n".encode() if position != sent else b":\n\n")
        await delivered(socket)
        text, sent = "", position
        if not changes:
            await events.wait_for_change(position, HEARTBEAT_S)


def _change(change: EventChange, position: str) -> str:
    model = models.EventChange(kind=change.kind, event=models.Event.of(change.event))
    return f"id: {position}\n{_message(change.kind, model.model_dump_json())}"


def _message(kind: str, data: str) -> str:
    return f"event: {kind}\ndata: {data}\n\n"
