"""PictureReader: the live pictures of a camera for one viewer, from whichever of its streams has them.

Theory of operation. A reader has a :class:`~gateway.pictures.PictureSource`, and reads the
:class:`~gateway.jpeg.feed.JpegFeed` of the stream that it names.

Rules:

1. It ends when it is closed, or its camera is removed; never because a stream is lost.
2. Where the stream changes, the numbers of the pictures go on. A picture is never older than the one before, unless
   the clock was set back.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from gateway.camera import Camera
from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from gateway.hub import SubscriptionClosed
from gateway.jpeg.reader import JpegFrame, JpegReader
from gateway.pictures import PictureSource
from gateway.rendition import Rendition

OLDER_MAX_90K = 10 * CLOCK_RATE
"""How far the streams of one camera may be apart. What is older has another clock."""


class PictureReader:
    """See the module. Use it as an async iterator, or call :meth:`get`; close it when done.

    ``kind``, ``width``, ``preferred`` and ``is_viewer`` as of the source; ``frame_rate`` in pictures a second, at
    most; ``quality`` on libjpeg's scale (``None``: the usual).
    """

    def __init__(
        self,
        camera: Camera,
        kind: str,
        frame_rate: float,
        width: int | None,
        *,
        quality: int | None = None,
        is_viewer: bool = True,
        preferred: RenditionName | None = None,
    ) -> None:
        self._frame_rate = frame_rate
        self._quality = quality
        self._width = width
        self._reader: JpegReader | None = None
        self._offset = 0
        """Added to the numbers of the present stream's pictures."""
        self._last: JpegFrame | None = None
        self._has_moved = False
        self._changed = asyncio.Event()
        self._source = PictureSource(camera, kind, width, self._move, is_viewer=is_viewer, preferred=preferred)

    async def started(self, timeout_s: float) -> None:
        """Return when there is a keyframe to decode. Raises :class:`~gateway.errors.UnavailableError`."""
        await self._source.started(timeout_s)

    def set_width(self, width: int | None) -> None:
        """Read another width from now on."""
        before, self._width = self._reader, width
        self._source.set_width(width)
        if self._reader is before:
            self._move(self._source.rendition)

    async def get(self) -> JpegFrame:
        """The newest picture not returned before. Raises :class:`~gateway.hub.SubscriptionClosed` at the end."""
        while True:
            if self._source.is_over:
                raise SubscriptionClosed
            reader = self._reader
            if reader is None:
                self._changed.clear()
                await self._changed.wait()
                continue
            try:
                frame = await reader.get()
            except SubscriptionClosed:
                if reader is self._reader:
                    self._reader = None
                    if self._source.rendition is not None and not self._source.rendition.is_closed:
                        # Its feed has failed.
                        raise
                    # Its stream was removed. The source moves to the other one, or is over.
                continue
            if (taken := self._take(frame)) is not None:
                return taken

    def newest(self, frame: JpegFrame) -> JpegFrame:
        """``frame``, or what came in its place while it waited to be used; ``frame`` then counts as skipped."""
        newer = self._reader.take() if self._reader is not None else None
        taken = self._take(newer) if newer is not None else None
        return frame if taken is None else replace(taken, skipped=taken.skipped + frame.skipped + 1)

    def close(self) -> None:
        """Stop reading. Twice is fine."""
        self._source.close()
        if self._reader is not None:
            self._reader.close()
        self._changed.set()

    def _move(self, rendition: Rendition | None) -> None:
        """Read this stream from now on."""
        before = self._reader
        self._reader = None
        if rendition is not None:
            self._reader = rendition.jpeg.subscribe(self._frame_rate, self._width, self._quality)
        self._has_moved = self._last is not None
        if before is not None:
            before.close()
        self._changed.set()

    def _take(self, frame: JpegFrame) -> JpegFrame | None:
        """Rule 2."""
        last = self._last
        if self._has_moved and last is not None:
            if 0 <= last.captured_at_90k - frame.captured_at_90k < OLDER_MAX_90K:
                return None
            self._offset, self._has_moved = last.sequence + 1 - frame.sequence, False
        numbered = replace(frame, sequence=frame.sequence + self._offset) if self._offset else frame
        self._last = numbered
        return numbered

    async def __aiter__(self) -> AsyncIterator[JpegFrame]:
        while True:
            try:
                yield await self.get()
            except SubscriptionClosed:
                return
