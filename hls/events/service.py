"""EventService: the events of all cameras, and everyone who wants to hear of them.

Theory of operation. Events are in the database of the index (:mod:`hls.events.table`). Each change has a number, and
the latest changes stay in the database: a client that comes back with the number of the last change that it has seen
gets the ones after it, also after a restart of the gateway. The newest :data:`RECENT_MAX` changes are in memory too, so
that many clients who hear of a change read no database.

Rules:

1. Changes are made one after the other, and told in the order of their numbers. One that has begun is finished, even if
   its client hangs up.
2. Nobody has a queue: a client asks for the changes after its last one (:meth:`EventService.changes_after`). One that
   is slower than the log is long gets ``None``, and reads the list again.
3. Events are deleted, oldest first, beyond ``EVENTS_MAX`` and after ``EVENT_MAX_AGE``; not those that protect
   recordings, and none for its age while the clock of the host cannot be trusted. Each deletion is a change.
4. A database that was lost in the middle of a change may have made it. The log is read before the next change, and
   everyone hears then of what was made.
5. When a camera is removed, its open events end. All its events stay.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from gateway.clock import Clock, seconds_90k
from gateway.errors import LiveedgeError, StorageError
from gateway.event import (
    ChangeKind,
    Event,
    EventChange,
    EventFilter,
    EventOrder,
    EventPage,
    IdempotencyKey,
    cursor_of,
    parse_cursor,
)
from gateway.uninterrupted import uninterrupted
from hls.archive.index import SegmentIndex
from hls.events import table
from hls.events.table import LogState
from hls.settings import EventSettings

log = logging.getLogger(__name__)

RECENT_MAX = 256
"""Changes in memory. Of the largest events they are 3 MB."""

READ_MAX = 100
"""Changes that one call returns."""

RETENTION_INTERVAL_S = 30.0
RETENTION_BATCH = 20
"""Events deleted at a time. One takes about 5 ms, and everything else waits for the index meanwhile."""

R = TypeVar("R")

OnChange = Callable[[EventChange], None]


class EventService:
    """See the module. Lives on the event loop.

    ``age_now_90k`` is the wall clock by which things are old; ``None`` while it cannot be trusted.
    """

    def __init__(
        self, index: SegmentIndex, settings: EventSettings, clock: Clock, age_now_90k: Callable[[], int | None]
    ) -> None:
        self.counted: Counter[tuple[str, ChangeKind]] = Counter()
        """Changes since the start, by camera and kind."""
        self.expired = 0
        """Events deleted by rule 3 since the start."""
        self.unwritten_dropped = 0
        """Events of detectors and cameras that were dropped while the index failed (:mod:`hls.events.writer`)."""
        self.error: str | None = None
        """Why old events cannot be deleted."""
        self.stored = 0
        """Events in the database."""
        self._index = index
        self._settings = settings
        self._clock = clock
        self._age_now_90k = age_now_90k
        self._log = LogState("", 0, 0, 0)
        self.streams = 0
        """Streams of changes that are open over HTTP."""
        self.stream_resets = 0
        """Times that a stream had to tell its client to read the list again."""
        self._may_be_behind = False
        """Whether the database may have changes that no listener knows."""
        self._recent: deque[EventChange] = deque(maxlen=RECENT_MAX)
        self._listeners: dict[object, OnChange] = {}
        self._changed: asyncio.Future[None] | None = None
        self._writing = asyncio.Lock()
        self._running: set[asyncio.Future[Any]] = set()
        self._task: asyncio.Task[None] | None = None
        self.is_closed = False

    async def start(self) -> None:
        """Read the state of the log; after the index was opened. Raises ``StorageError``."""
        await self._read_log()
        self._task = asyncio.create_task(self._run_retention(), name="events-retention")

    async def close(self) -> None:
        """Finish what has begun, and tell everyone who waits that there is no more."""
        self.end_streams()
        if self._running:
            await asyncio.wait(self._running)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def end_streams(self) -> None:
        """Tell everyone who waits for changes that there are no more."""
        self.is_closed = True
        self._wake()

    def reload(self, settings: EventSettings) -> None:
        """Use other limits from now on."""
        self._settings = settings

    # --- changes

    async def create(self, event: Event, key: IdempotencyKey | None = None) -> tuple[Event, bool]:
        """Keep an event. Returns it, and whether it is new: a repeated request with a key gets the first one's event.

        Raises ``ConflictError``, ``UnprocessableError``, ``StorageError`` and ``UnavailableError``.
        """
        limit = self._settings.events_max
        kept, changes = await self._write(lambda: self._index.call(table.create, event, key, limit))
        return kept, bool(changes)

    async def update(self, event_id: str, apply: Callable[[Event], Event]) -> Event:
        """Change an event by ``apply``, which runs in another thread. Raises ``NotFoundError``, and as ``create``."""
        return (await self._write(lambda: self._index.call(table.change, event_id, apply)))[0]

    async def delete(self, event_id: str) -> None:
        """Delete an event. Raises ``NotFoundError``, ``StorageError`` and ``UnavailableError``."""
        await self._write(lambda: self._removed(table.remove, event_id))

    async def end_open(self, camera_id: str) -> None:
        """Rule 5."""
        await self._write(lambda: self._removed(table.end_open, camera_id, self._clock.wall_90k()))

    async def _removed(self, function: Any, *args: Any) -> tuple[None, list[EventChange]]:
        return None, await self._index.call(function, *args)

    async def _write(self, write: Callable[[], Awaitable[tuple[R, list[EventChange]]]]) -> tuple[R, list[EventChange]]:
        """Rule 1."""

        async def locked() -> tuple[R, list[EventChange]]:
            async with self._writing:
                await self._catch_up()
                try:
                    result = await write()
                except StorageError:
                    self._may_be_behind = True
                    raise
                self._tell(result[1])
                return result

        return await uninterrupted(locked(), self._running)

    async def _catch_up(self) -> None:
        """Rule 4."""
        while self._may_be_behind:
            state = await self._index.call(table.log_state)
            if state.epoch != self._log.epoch or state.before > self._log.newest:
                await self._read_log()
                break
            missed = await self._index.call(table.changes_after, self._log.newest, READ_MAX)
            if not missed:
                break
            self._tell(missed)
        self._may_be_behind = False

    def _tell(self, changes: list[EventChange]) -> None:
        for change in changes:
            self._recent.append(change)
            self.counted[change.event.camera_id, change.kind] += 1
            self.stored += (change.kind is ChangeKind.CREATED) - (change.kind is ChangeKind.DELETED)
            for listener in tuple(self._listeners.values()):
                try:
                    listener(change)
                except Exception:
                    log.exception("a listener failed on a change of an event")
        if changes:
            self._log = LogState(self._log.epoch, self._log.before, changes[-1].number, self.stored)
            self._wake()

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
        self._changed = None

    # --- reading

    async def get(self, event_id: str) -> Event | None:
        """An event."""
        return await self._index.call(table.get, event_id)

    async def page(self, wanted: EventFilter, order: EventOrder, limit: int, cursor: str | None = None) -> EventPage:
        """A page of a list. Raises ``BadRequestError`` for a cursor that is not one."""
        after = parse_cursor(cursor) if cursor else None
        if wanted.cameras is not None and not wanted.cameras:
            return EventPage([], None)
        events = await self._index.call(table.page, wanted, order, limit + 1, after)
        more = len(events) > limit
        events = events[:limit]
        return EventPage(events, cursor_of(events[-1]) if more else None)

    async def has_camera(self, camera_id: str) -> bool:
        """Whether there is an event of a camera, which may have been removed."""
        return await self._index.call(table.has_camera, camera_id)

    # --- hearing of changes

    def on_change(self, listener: OnChange) -> Callable[[], None]:
        """Call ``listener`` with each change from now on. It must not block. Returns a function that ends it."""
        key = object()
        self._listeners[key] = listener
        return lambda: self._listeners.pop(key, None) and None

    @property
    def position(self) -> str:
        """Where the log ends now, for :meth:`changes_after`."""
        return self.position_of(self._log.newest)

    def position_of(self, number: int) -> str:
        """The place in the log after a change."""
        return f"{self._log.epoch}-{number}"

    def position_after(self, position: str, change: EventChange) -> str:
        """The place in the log after the next change from a place on."""
        return self.position_of(change.number)

    async def changes_after(self, position: str) -> list[EventChange] | None:
        """The next changes after a place in the log, at most :data:`READ_MAX`, maybe none yet.

        ``None`` if the log does not go back so far, or is another one than the place is of.
        """
        epoch, _, text = position.partition("-")
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else -1
        if epoch != self._log.epoch or not 0 <= number <= self._log.newest:
            return None
        if number == self._log.newest:
            return []
        if self._recent and self._recent[0].number <= number + 1:
            return [change for change in self._recent if change.number > number][:READ_MAX]
        state = await self._index.call(table.log_state)
        if state.epoch != epoch or number < state.before:
            return None
        return await self._index.call(table.changes_after, number, READ_MAX)

    async def wait_for_change(self, position: str, timeout_s: float) -> None:
        """Wait until the log goes on after a place, for ``timeout_s`` at most."""
        if self.is_closed or position != self.position:
            return
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._changed], timeout=timeout_s)

    # --- retention (rule 3), and a new database

    async def _read_log(self) -> None:
        self._log = await self._index.call(table.log_state)
        self.stored = self._log.events
        self._recent.clear()

    async def index_repaired(self) -> None:
        """The index may be another file than before."""
        async with self._writing:
            await self._read_log()
        self._wake()

    async def _run_retention(self) -> None:
        while True:
            try:
                async with self._writing:
                    await self._catch_up()
                while await self.run_retention():
                    pass
                self.error = None
            except LiveedgeError as error:
                if self.error is None:
                    log.warning("events: old ones cannot be deleted: %s", error)
                self.error = str(error)
            await asyncio.sleep(RETENTION_INTERVAL_S)

    async def run_retention(self) -> int:
        """Delete what is too old or too much, a batch. Returns how many were deleted. Raises ``LiveedgeError``."""
        settings = self._settings
        deleted = 0
        if (over := min(self.stored - settings.events_max, RETENTION_BATCH)) > 0:
            deleted += await self._expire(None, over, "there are more than EVENTS_MAX")
        now_90k = self._age_now_90k()
        if settings.event_max_age is not None and now_90k is not None:
            before_90k = now_90k - seconds_90k(settings.event_max_age)
            deleted += await self._expire(before_90k, RETENTION_BATCH, "they are older than EVENT_MAX_AGE")
        return deleted

    async def _expire(self, before_90k: int | None, limit: int, why: str) -> int:
        _, changes = await self._write(lambda: self._removed(table.remove_oldest, before_90k, limit))
        self.expired += len(changes)
        if changes:
            log.info("events: the oldest %d are deleted: %s", len(changes), why)
        return len(changes)
