"""FrameSender: the newest JPEG frame of one camera to one consumer, and never a second before the first has arrived.

Rules:

1. One frame in flight per connection, whatever the number of its cameras: they share a *gate*. When a frame may go,
   the newest is taken at that moment, so that a slow consumer gets fewer frames and not older ones.
2. ``send`` is given a frame and a function to call, once, when that frame has arrived: on its acknowledgement, or on
   the best sign of it that there is. Until then the gate is shut, even if the sender ends.
3. Nothing but the reader's one slot holds frames, so that a consumer that does not read costs one frame.
4. Only frames go through the gate. Answers and news do not wait for it; at most one frame is ahead of them on the wire.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.clock import to_rfc3339
from gateway.jpeg import JpegFrame, JpegReader
from signaling.events import FrameMetadata, VideoFrame

log = logging.getLogger(__name__)

VIDEO_FRAME = "video_frame_from_service"

Send = Callable[[dict[str, Any], Callable[[], None]], Awaitable[None]]


class FrameSender:
    """Runs until its reader is closed or ``send`` raises. ``gate`` is shared by all senders of a connection."""

    def __init__(self, reader: JpegReader, send: Send, gate: asyncio.Lock) -> None:
        self._reader = reader
        self._send = send
        self._gate = gate
        self.frames_sent = 0
        self.pictures_skipped = 0

    async def run(self) -> None:
        """Send frames."""
        try:
            async for frame in self._reader:
                await self._gate.acquire()
                newest = self._reader.newest(frame)
                await self._send(to_event(newest), self._gate.release)
                self.frames_sent += 1
                self.pictures_skipped += newest.skipped
        finally:
            self._reader.close()


def to_event(frame: JpegFrame) -> dict[str, Any]:
    """A frame as ``video_frame_from_service`` carries it."""
    return VideoFrame(
        frame_data=frame.data,
        metadata=FrameMetadata(
            camera_id=frame.camera_id,
            timestamp=to_rfc3339(frame.captured_at_90k),
            width=frame.width,
            height=frame.height,
            sequence=frame.sequence,
            skipped=frame.skipped,
        ),
    ).wire()
