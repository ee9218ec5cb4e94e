"""JpegReader: one reader's slot for the newest frame of a :class:`~gateway.jpeg.feed.JpegFeed`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

from gateway.hub import SubscriptionClosed


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """One JPEG.

    ``captured_at_90k`` is when the camera captured the frame, in 90 kHz ticks since the Unix epoch. ``sequence`` counts
    the frames of a width, rate and quality. ``skipped`` is how many frames of the camera its reader missed just before.
    """

    data: bytes = field(repr=False)
    camera_id: str
    captured_at_90k: int
    sequence: int
    width: int
    height: int
    skipped: int = 0


class JpegReader:
    """One reader's slot for the newest frame. Use it as an async iterator, or call :meth:`get`; close it when done."""

    def __init__(
        self,
        frame_rate: float,
        width: int | None,
        forget: "Callable[[JpegReader], None]",
        quality: int | None = None,
    ) -> None:
        self.frame_rate = frame_rate
        self.width = width
        self.quality = quality
        self._forget = forget
        self._frame: JpegFrame | None = None
        self._arrived = asyncio.Event()
        self._closed = False
        self._skipped = 0

    def offer(self, frame: JpegFrame) -> None:
        """Take a frame in place of one that was not read. Called by the feed only."""
        if self._frame is not None:
            self._skipped += self._frame.skipped + 1
        self._frame = frame
        self._arrived.set()

    async def get(self) -> JpegFrame:
        """The newest frame not returned before. Raises :class:`~gateway.hub.SubscriptionClosed` once closed."""
        while True:
            if self._closed:
                raise SubscriptionClosed
            frame = self.take()
            if frame is not None:
                return frame
            self._arrived.clear()
            await self._arrived.wait()

    def take(self) -> JpegFrame | None:
        """The newest frame if there is one that was not returned before."""
        frame, self._frame = self._frame, None
        if frame is None:
            return None
        skipped, self._skipped = self._skipped, 0
        return replace(frame, skipped=frame.skipped + skipped) if skipped else frame

    def newest(self, frame: JpegFrame) -> JpegFrame:
        """``frame``, or what came in its place while it waited to be used; ``frame`` then counts as skipped."""
        newer = self.take()
        return frame if newer is None else replace(newer, skipped=newer.skipped + frame.skipped + 1)

    def close(self) -> None:
        """Stop reading. Twice is fine."""
        self._closed = True
        self._frame = None
        self._forget(self)
        self._arrived.set()

    async def __aiter__(self) -> AsyncIterator[JpegFrame]:
        while True:
            try:
                yield await self.get()
            except SubscriptionClosed:
                return
