"""FrameOutlet: the newest JPEG frames to one consumer, and never a second before the first has arrived.

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
from functools import lru_cache
from typing import Any

from gateway.camera import Camera
from gateway.clock import to_rfc3339
from gateway.jpeg.feed import JpegFrame, JpegReader
from signaling.events import FrameMetadata

log = logging.getLogger(__name__)

VIDEO_FRAME = "video_frame_from_service"

Send = Callable[[dict[str, Any], Callable[[], None]], Awaitable[None]]

Release = Callable[[], None]


class FrameSender:
    """One camera's frames to one consumer, from its making until :meth:`stop`, or until ``send`` raises."""

    def __init__(self, reader: JpegReader, send: Send, gate: asyncio.Lock, release: Release | None = None) -> None:
        self.frames_sent = 0
        self.frames_skipped = 0
        self._reader = reader
        self._send = send
        self._gate = gate
        self._release = release
        self._task = asyncio.create_task(self._run(), name="send-frames")

    async def stop(self) -> None:
        """Send no more."""
        self._reader.close()
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            async for frame in self._reader:
                await self._gate.acquire()
                newest = self._reader.newest(frame)
                await self._send(to_event(newest), self._gate.release)
                self.frames_sent += 1
                self.frames_skipped += newest.skipped
        except Exception:
            log.exception("frames to a consumer have ended")
        finally:
            self._reader.close()
            if self._release is not None:
                self._release()


class FrameOutlet:
    """All frames that go out on one connection: a sender a camera, one gate for all."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._gate = asyncio.Lock()
        self._senders: dict[str, FrameSender] = {}
        self._frames_sent_before = 0
        self._frames_skipped_before = 0

    def __len__(self) -> int:
        return len(self._senders)

    def __contains__(self, camera_id: str) -> bool:
        return camera_id in self._senders

    @property
    def frames_sent(self) -> int:
        return self._frames_sent_before + sum(sender.frames_sent for sender in self._senders.values())

    @property
    def frames_skipped(self) -> int:
        """Pictures of the cameras that were not sent, between those that were."""
        return self._frames_skipped_before + sum(sender.frames_skipped for sender in self._senders.values())

    async def start(
        self, camera: Camera, frame_rate: float, width: int | None, *, hold: Callable[[], Release] | None = None
    ) -> None:
        """Send a camera's frames, in place of those sent before.

        ``hold`` is called when sending starts, and what it returns when sending stops.
        """
        await self.stop(camera.id)
        reader = camera.jpeg.subscribe(frame_rate, width)
        self._senders[camera.id] = FrameSender(reader, self._send, self._gate, hold() if hold is not None else None)

    async def stop(self, camera_id: str) -> None:
        """Send no more of a camera's frames."""
        sender = self._senders.pop(camera_id, None)
        if sender is not None:
            await sender.stop()
            self._frames_sent_before += sender.frames_sent
            self._frames_skipped_before += sender.frames_skipped

    async def close(self) -> None:
        """Send no more."""
        for camera_id in tuple(self._senders):
            await self.stop(camera_id)


def to_event(frame: JpegFrame) -> dict[str, Any]:
    """A frame as ``video_frame_from_service`` (:class:`~signaling.events.VideoFrame`) carries it. Not to be changed."""
    metadata = _metadata(
        frame.camera_id, frame.captured_at_90k, frame.width, frame.height, frame.sequence, frame.skipped
    )
    return {"frame_data": frame.data, "metadata": metadata}


@lru_cache(maxsize=64)
def _metadata(
    camera_id: str, captured_at_90k: int, width: int, height: int, sequence: int, skipped: int
) -> dict[str, Any]:
    # Kept, since the readers of one frame come one after the other, and it was a third of what each of them costs.
    return FrameMetadata(
        camera_id=camera_id,
        timestamp=to_rfc3339(captured_at_90k),
        width=width,
        height=height,
        sequence=sequence,
        skipped=skipped,
    ).wire()
