"""PublishPoint: where a camera that is pushed to the gateway and the program that pushes it find each other.

Rules:

1. There is one publisher of a stream at a time. A newer one takes the place of the one before: a phone that has changed
   its network comes back before its old connection is known to be dead.
2. A publisher that comes while nothing captures its camera waits for that, and its packets are dropped until then.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway.capture.rtsp_media import RtspMedia, TrackFormat

PUBLISH_URLS = ("publish:", "whip:")
"""The URL of a camera that is pushed. Both are the same: it is pushed over RTSP or WebRTC."""


class Publisher(Protocol):
    """A program that pushes one stream."""

    @property
    def formats(self) -> list[TrackFormat]:
        """Its tracks; one of them is video."""
        ...

    @property
    def is_reordered(self) -> bool:
        """Whether its packets may come in another order than they were sent (UDP)."""
        ...

    def begin(self, media: RtspMedia) -> None:
        """Give what comes to ``media`` from now on."""
        ...

    def end(self, reason: str) -> None:
        """It is not wanted any more."""
        ...


class PublishPoint:
    """See the module. ``on_publisher`` is called when one comes. Lives on the event loop."""

    def __init__(self, on_publisher: Callable[[], None] = lambda: None) -> None:
        self._on_publisher = on_publisher
        self._publisher: Publisher | None = None
        self._changed = asyncio.Event()

    @property
    def has_publisher(self) -> bool:
        return self._publisher is not None

    def add(self, publisher: Publisher) -> None:
        """A publisher has come: rule 1."""
        before, self._publisher = self._publisher, publisher
        if before is not None:
            before.end("another publisher has taken its place")
        self._notify()
        self._on_publisher()

    def remove(self, publisher: Publisher) -> None:
        """A publisher has left. May be called twice, and for one whose place was taken."""
        if self._publisher is publisher:
            self._publisher = None
            self._notify()

    async def wait(self) -> Publisher:
        """Wait for a publisher."""
        while self._publisher is None:
            await self._changed.wait()
        return self._publisher

    async def wait_ended(self, publisher: Publisher) -> None:
        """Wait until this publisher has left, or another one has its place."""
        while self._publisher is publisher:
            await self._changed.wait()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
