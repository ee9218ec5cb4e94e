"""EventCommands: the ``event_…`` commands of Socket.IO. And EventPublisher, which sends each change of an event.

There is no queue of changes: the publisher reads the log of the events from where it was, and waits while the
connection takes nothing. Where the log does not go back so far, it sends ``reset``.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import BadRequestError, ForbiddenError, LiveedgeError, NotFoundError
from gateway.event import EVENT_ID, Event, EventFilter, EventOrder, IdempotencyKey
from gateway.event_models import EventModel, moment_90k
from signaling.access import UNRESTRICTED
from signaling.answers import EventChanged, EventResponse
from signaling.control import EVENT_RESPONSE, Caller, Control, Reply
from signaling.event_store import EventStore
from signaling.events import Endpoint
from signaling.requests import EventCreateRequest, EventListRequest, EventUpdateRequest

log = logging.getLogger(__name__)

EVENT_CHANGED = "event_changed"

WAIT_S = 60.0
RETRY_S = 2.0
"""After this, a failing index is asked again."""


class EventCommands:
    """Adds the commands to a :class:`Control`."""

    def __init__(self, control: Control, events: EventStore, clock: Clock = SYSTEM_CLOCK) -> None:
        self._service = control.service
        self._events = events
        self._clock = clock
        control.events = events
        control.add_handler("event_create_request", self._create)
        control.add_handler("event_update_request", self._update)
        control.add_handler("event_list_request", self._list)

    async def _create(self, caller: Caller, request: EventCreateRequest) -> Reply:
        camera = self._service.camera(request.camera_id)
        source = "ems" if caller.endpoint is Endpoint.EMS else "browser"
        event = request.event(camera.id, source, self._clock.wall_90k())
        key = None
        if request.idempotency_key is not None:
            owner = "ems" if caller.endpoint is Endpoint.EMS else f"browser {caller.counted_as(caller.connection)}"
            content = request.model_dump(mode="json", exclude={"idempotency_key", "client_id", "metadata"})
            key = IdempotencyKey.of(owner, request.idempotency_key, content)
        kept, _ = await self._events.create(event, key)
        return _answer(request.client_id, kept)

    async def _update(self, caller: Caller, request: EventUpdateRequest) -> Reply:
        event = await self._events.get(request.event_id) if EVENT_ID.fullmatch(request.event_id) else None
        unknown = NotFoundError(f"there is no event {request.event_id!r}; it may have been deleted")
        if event is None:
            raise unknown
        try:
            caller.access.authorize("event_update_request", event.camera_id)
        except ForbiddenError:
            if not caller.access.may_view(event.camera_id):
                raise unknown from None
            raise
        now_90k = self._clock.wall_90k()
        changed = await self._events.update(event.id, lambda event: request.apply(event, now_90k))
        return _answer(request.client_id, changed)

    async def _list(self, caller: Caller, request: EventListRequest) -> Reply:
        now_90k = self._clock.wall_90k()
        start_90k = None if request.start is None else moment_90k(request.start, "start", now_90k)
        end_90k = None if request.end is None else moment_90k(request.end, "end", now_90k)
        if start_90k is not None and end_90k is not None and end_90k <= start_90k:
            raise BadRequestError("end is not after start")
        wanted = EventFilter(
            self._cameras(caller, request.camera_id),
            start_90k,
            end_90k,
            tuple(request.labels),
            tuple(request.sources),
            request.text,
            request.reviewed,
        )
        page = await self._events.page(wanted, EventOrder(request.order), request.limit, request.cursor)
        events = [EventModel.of(event) for event in page.events]
        answer = EventResponse(client_id=request.client_id, events=events, next_cursor=page.next_cursor)
        return Reply(EVENT_RESPONSE, answer.wire())

    def _cameras(self, caller: Caller, camera_id: str | None) -> frozenset[str] | None:
        """The cameras of a list; ``None``: all, also those that were removed."""
        if camera_id is not None:
            caller.access.authorize("event_list_request", camera_id)
            return frozenset({camera_id})
        if caller.access is UNRESTRICTED:
            return None
        return frozenset(camera_id for camera_id in self._service.cameras if caller.access.may_view(camera_id))


def _answer(client_id: str | None, event: Event) -> Reply:
    return Reply(EVENT_RESPONSE, EventResponse(client_id=client_id, event=EventModel.of(event)).wire())


async def _at_once() -> None:
    """What was sent counts as received."""


class EventPublisher:
    """See the module. ``send`` gets each change, from ``position`` on, until :meth:`close`.

    ``arrived`` returns when the other side has what was sent. Only then :attr:`position` goes on, and ``on_position``
    is called with it: a connection that begins there gets everything, some changes twice.
    """

    def __init__(
        self,
        events: EventStore,
        send: Callable[[dict[str, Any]], Awaitable[None]],
        position: str | None = None,
        arrived: Callable[[], Awaitable[None]] = _at_once,
        on_position: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.position = events.position if position is None else position
        self._events = events
        self._send = send
        self._arrived = arrived
        self._on_position = on_position
        on_position(self.position)
        self._task = asyncio.create_task(self._run(), name="publish-events")

    async def close(self) -> None:
        """Stop sending."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while not self._events.is_closed:
            try:
                await self._send_next()
            except LiveedgeError as error:
                log.warning("changes of events cannot be read: %s; trying again", error)
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("changes of events could not be sent")
                await asyncio.sleep(RETRY_S)

    async def _send_next(self) -> None:
        changes = await self._events.changes_after(self.position)
        if changes is None:
            newest = self._events.position
            await self._send(EventChanged(kind="reset").wire())
            await self._arrived()
            self._move(newest)
            return
        position = self.position
        for change in changes:
            await self._send(EventChanged(kind=change.kind.value, event=EventModel.of(change.event)).wire())
            position = self._events.position_after(position, change)
        if changes:
            await self._arrived()
            self._move(position)
        else:
            await self._events.wait_for_change(self.position, WAIT_S)

    def _move(self, position: str) -> None:
        self.position = position
        self._on_position(position)
