"""EventStore: what this package needs of the events of all cameras. A port.

:mod:`hls.events.service` implements it, and :mod:`web.cluster.all_events` for all nodes of a cluster.
"""

from collections.abc import Callable
from typing import Protocol

from gateway.event import Event, EventChange, EventFilter, EventOrder, EventPage, IdempotencyKey


class EventStore(Protocol):
    """See the module. Every coroutine may raise ``LiveedgeError``."""

    @property
    def is_closed(self) -> bool:
        """Whether there will be no more changes."""

    async def create(self, event: Event, key: IdempotencyKey | None = None) -> tuple[Event, bool]:
        """Keep an event. Returns it, and whether it is new."""

    async def update(self, event_id: str, apply: Callable[[Event], Event]) -> Event:
        """Change an event by ``apply``."""

    async def get(self, event_id: str) -> Event | None:
        """An event."""

    async def page(self, wanted: EventFilter, order: EventOrder, limit: int, cursor: str | None = None) -> EventPage:
        """A page of a list."""

    @property
    def position(self) -> str:
        """Where the log of changes ends now."""

    def position_after(self, position: str, change: EventChange) -> str:
        """The place in the log after the next change."""

    async def changes_after(self, position: str) -> list[EventChange] | None:
        """The next changes after a place in the log; ``None`` if the log does not go back so far."""

    async def wait_for_change(self, position: str, timeout_s: float) -> None:
        """Wait until the log goes on after a place, for ``timeout_s`` at most."""
