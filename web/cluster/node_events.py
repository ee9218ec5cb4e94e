"""NodeEvents: the events of another node, asked by this one for itself (:mod:`web.api.routes.cluster_events`).

Who the client is, and what it may see, was judged here: both nodes know the same tokens and cameras. Events are sent as
they are in the index, with times in 90 kHz ticks, so that nothing is lost on the way.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import hdrs

from gateway.cluster.model import Node
from gateway.errors import (
    BadRequestError,
    ConflictError,
    LiveedgeError,
    NodeAwayError,
    NotFoundError,
    StorageError,
    UnavailableError,
    UnprocessableError,
)
from gateway.event import ChangeKind, Event, EventChange, EventFilter, EventOrder, EventPage, IdempotencyKey
from web.cluster.forwarding import Forwarding

PATH = "/api/cluster/events"

READ_S = 5.0
"""A node that has not answered by then is left out of a list."""

ONE_S = 10.0
"""So long is waited for a single event: there is nothing without it. A change is on the disk by then."""

WAIT_S = 15.0
"""So long a node lets the request for its changes wait for the next one."""

ERRORS: Mapping[str, type[LiveedgeError]] = {
    error.code: error
    for error in (BadRequestError, ConflictError, NotFoundError, StorageError, UnavailableError, UnprocessableError)
}
"""What another node may answer, by code. Anything else is :class:`~gateway.errors.UnavailableError`."""


class NodeEvents:
    """See the module. Every coroutine may raise :class:`~gateway.errors.NodeAwayError`."""

    def __init__(self, forwarding: Forwarding) -> None:
        self._forwarding = forwarding

    async def page(
        self, node: Node, wanted: EventFilter, order: EventOrder, limit: int, cursor: str | None
    ) -> EventPage:
        """A page of the node's own events."""
        query = {"wanted": write_filter(wanted), "order": order.value, "limit": str(limit), "cursor": cursor or ""}
        answer = await self._ask(node, hdrs.METH_GET, f"?{urlencode(query)}", READ_S)
        return EventPage([Event(**each) for each in answer["events"]], answer["next_cursor"])

    async def get(self, node: Node, event_id: str) -> Event | None:
        """An event."""
        try:
            return Event(**await self._ask(node, hdrs.METH_GET, f"/{event_id}", ONE_S))
        except NotFoundError:
            return None

    async def create(self, node: Node, event: Event, key: IdempotencyKey | None) -> tuple[Event, bool]:
        """As :meth:`hls.events.service.EventService.create`."""
        body = {"event": asdict(event), "key": asdict(key) if key is not None else None}
        answer = await self._ask(node, hdrs.METH_POST, "", ONE_S, body)
        return Event(**answer["event"]), bool(answer["is_new"])

    async def replace(self, node: Node, before: Event, after: Event) -> Event:
        """Write ``after`` in place of ``before``. Raises ``ConflictError`` if the event is another one by then."""
        body = {"before": asdict(before), "after": asdict(after)}
        return Event(**await self._ask(node, hdrs.METH_PUT, f"/{before.id}", ONE_S, body))

    async def delete(self, node: Node, event_id: str) -> None:
        """Delete an event. Raises ``NotFoundError``."""
        await self._ask(node, hdrs.METH_DELETE, f"/{event_id}", ONE_S)

    async def changes(self, node: Node, after: str | None, wait_s: float = 0.0) -> tuple[str, list[EventChange] | None]:
        """The next changes after a place in the node's log, and the place after them.

        ``None``: the log does not go back so far. Without a place, where the log ends now.
        """
        query = {"after": after or "", "wait": f"{wait_s:g}"}
        answer = await self._ask(node, hdrs.METH_GET, f"/changes?{urlencode(query)}", READ_S + wait_s)
        changes = answer["changes"]
        return str(answer["position"]), changes and [
            EventChange(each["number"], ChangeKind(each["kind"]), Event(**each["event"]), node.name) for each in changes
        ]

    async def _ask(self, node: Node, method: str, target: str, limit_s: float, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers: dict[str, str] = {hdrs.ACCEPT_ENCODING: "identity"}
        if data is not None:
            headers[hdrs.CONTENT_TYPE] = "application/json"
        try:
            async with (
                asyncio.timeout(limit_s),
                self._forwarding.ask(node, method, f"{PATH}{target}", headers, data) as answer,
            ):
                status, content = answer.status, await answer.read()
            found = json.loads(content) if content else None
        except (aiohttp.ClientError, OSError, ValueError):  # TimeoutError is an OSError
            raise NodeAwayError(
                node.name, f"the node {node.name} of the cluster, which has the events, does not answer"
            ) from None
        if status >= 400:
            told = found if isinstance(found, dict) else {}
            raise ERRORS.get(str(told.get("error")), UnavailableError)(
                str(told.get("message") or f"the node {node.name} of the cluster answered {status}")
            )
        return found


def write_filter(wanted: EventFilter) -> str:
    """A filter for :func:`read_filter`."""
    cameras = sorted(wanted.cameras) if wanted.cameras is not None else None
    return json.dumps(asdict(wanted) | {"cameras": cameras}, separators=(",", ":"))


def read_filter(text: str) -> EventFilter:
    """The inverse of :func:`write_filter`. Raises :class:`~gateway.errors.BadRequestError`."""
    try:
        written = json.loads(text)
        for name in ("labels", "sources"):
            written[name] = tuple(written[name])
        cameras = written.pop("cameras")
        return EventFilter(cameras=frozenset(cameras) if cameras is not None else None, **written)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise BadRequestError("wanted is no filter of events") from None
