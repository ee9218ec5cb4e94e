"""EventWriter: makes and ends the events of one source, in order, and again while the index fails.

A source that detects something tells it once. If the index cannot keep it then, what it told waits here: otherwise the
event would be missing, or stay open, and a camera that is recorded on events would be recorded without end.

Rules:

1. What waits is at most :data:`WAITING_MAX` begins and ends. Beyond that the newest event is dropped, and counted.
2. What the index refuses for another reason (too many events) is given up.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from gateway.errors import NotFoundError, UnavailableError
from gateway.event import Event
from hls.events.service import EventService

WAITING_MAX = 500
"""A begin is a few KB at most. An end waits only where there was a begin."""


@dataclass(slots=True)
class _Work:
    event_id: str
    event: Event | None
    """To be made; ``None``: it is changed by ``apply``."""
    apply: Callable[[Event], Event] | None = None
    attempts: int = 0


class EventWriter:
    """See the module. Lives on the event loop."""

    def __init__(self, events: EventService) -> None:
        self._events = events
        self._waiting: deque[_Work] = deque()
        self._writing = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._waiting)

    def make(self, event: Event) -> bool:
        """Make an event with the next :meth:`write`. Returns whether it will be."""
        if len(self._waiting) >= WAITING_MAX:
            self._events.unwritten_dropped += 1
            return False
        self._waiting.append(_Work(event.id, event))
        return True

    def change(self, event_id: str, apply: Callable[[Event], Event]) -> None:
        """Change an event of this source with the next :meth:`write`; nothing happens if it was deleted."""
        self._waiting.append(_Work(event_id, None, apply))

    async def write(self) -> None:
        """Write what waits. Raises ``LiveedgeError``; what could not be written for now goes on waiting."""
        async with self._writing:
            while self._waiting:
                work = self._waiting[0]
                try:
                    await self._write(work)
                except (UnavailableError, asyncio.CancelledError):
                    work.attempts += 1
                    raise
                except Exception:
                    self._waiting.popleft()
                    raise
                self._waiting.popleft()

    async def _write(self, work: _Work) -> None:
        if work.event is not None:
            # The answer to the attempt before may have been lost alone.
            if not work.attempts or await self._events.get(work.event_id) is None:
                await self._events.create(work.event)
        elif work.apply is not None:
            with contextlib.suppress(NotFoundError):
                await self._events.update(work.event_id, work.apply)
