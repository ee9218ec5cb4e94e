"""FrameStreams: sends the newest JPEG frames to one consumer, the next one only after the last has arrived.

Rules:

1. One frame is in flight per connection, for all of its cameras together: they share a lock. When a frame may be sent,
   the newest is taken at that moment, so that a slow consumer gets fewer frames, not older ones.
2. ``send`` gets a frame and a function to call, once, when that frame has arrived: on its acknowledgement, or on the
   best evidence of it. Until then no other frame is sent, even if this camera's stream stops.
3. Only the reader's single slot buffers frames, so a consumer that does not read costs the memory of one frame.
4. Only frames take the lock. Answers and status messages do not wait for it; at most one frame is sent before them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gateway.camera import Camera
from gateway.clock import to_rfc3339
from gateway.jpeg.feed import JpegFrame, JpegReader
from gateway.pictures import hold_sub
from gateway.rendition import Hold
from signaling.events import FrameMetadata

log = logging.getLogger(__name__)

VIDEO_FRAME = "video_frame_from_service"

Send = Callable[[dict[str, Any], Callable[[], None]], Awaitable[None]]

KIND = "jpeg"
"""The transport of these viewers in a camera's status."""


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """A camera's frames to one consumer: at most ``frame_rate`` a second, ``width`` pixels wide (``None``: all).

    With ``is_viewer`` the consumer keeps the camera captured. Without, it takes what a command captured. ``on_end`` is
    called once, when sending has stopped.
    """

    camera: Camera
    frame_rate: float
    width: int | None
    is_viewer: bool = False
    on_end: Callable[[], None] = lambda: None


class FrameStream:
    """One camera's frames to one consumer, from its creation until :meth:`stop`, or until ``send`` raises."""

    def __init__(self, request: FrameRequest, send: Send, lock: asyncio.Lock, client: str) -> None:
        self.frames_sent = 0
        self.frames_skipped = 0
        self._request = request
        self._send = send
        self._lock = lock
        self._client = client
        self._hold: Hold | None = None
        self._is_ended = False
        camera = request.camera
        if camera.sub is None or request.width is None:
            # The main stream, from now on.
            self._hold = camera.hold(KIND) if request.is_viewer else None
            self._reader: JpegReader | None = camera.jpeg.subscribe(request.frame_rate, request.width)
        else:
            self._reader = None
        self._task = asyncio.create_task(self._run(), name="send-frames")

    async def stop(self) -> None:
        """Stop sending."""
        if self._reader is not None:
            self._reader.close()
        self._task.cancel()
        await asyncio.wait([self._task])
        self._end()  # a task that is cancelled before its first step does nothing

    async def _run(self) -> None:
        try:
            reader = self._reader or await self._choose()
            async for frame in reader:
                await self._lock.acquire()
                newest = reader.newest(frame)
                await self._send(to_event(newest), self._lock.release)
                self.frames_sent += 1
                self.frames_skipped += newest.skipped
        except Exception:
            log.exception("sending frames to a client failed", extra={"client": self._client})
        finally:
            self._end()

    async def _choose(self) -> JpegReader:
        """A reader of the stream to decode; see :mod:`gateway.pictures`."""
        request = self._request
        hold = self._hold = await hold_sub(request.camera, KIND, request.width)
        if hold is None and request.is_viewer:
            self._hold = request.camera.hold(KIND)
        rendition = hold.rendition if hold is not None else request.camera.main
        self._reader = rendition.jpeg.subscribe(request.frame_rate, request.width)
        return self._reader

    def _end(self) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        if self._reader is not None:
            self._reader.close()
        if self._hold is not None:
            self._hold.release()
        self._request.on_end()


class FrameStreams:
    """All frames that are sent on one connection: a stream for each camera, one lock for all.

    ``client`` names the other side in the log.
    """

    def __init__(self, send: Send, client: str) -> None:
        self._send = send
        self._client = client
        self._lock = asyncio.Lock()
        self._streams: dict[str, FrameStream] = {}
        self._frames_sent_before = 0
        self._frames_skipped_before = 0

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, camera_id: str) -> bool:
        return camera_id in self._streams

    @property
    def frames_sent(self) -> int:
        return self._frames_sent_before + sum(stream.frames_sent for stream in self._streams.values())

    @property
    def frames_skipped(self) -> int:
        """Frames of the cameras that were not sent because the consumer was slower."""
        return self._frames_skipped_before + sum(stream.frames_skipped for stream in self._streams.values())

    async def start(self, request: FrameRequest) -> None:
        """Send a camera's frames, in place of those sent before."""
        await self.stop(request.camera.id)
        self._streams[request.camera.id] = FrameStream(request, self._send, self._lock, self._client)

    async def stop(self, camera_id: str) -> None:
        """Stop sending a camera's frames."""
        stream = self._streams.pop(camera_id, None)
        if stream is not None:
            await stream.stop()
            self._frames_sent_before += stream.frames_sent
            self._frames_skipped_before += stream.frames_skipped

    async def close(self) -> None:
        """Stop all streams."""
        for camera_id in tuple(self._streams):
            await self.stop(camera_id)


def to_event(frame: JpegFrame) -> dict[str, Any]:
    """A frame as ``video_frame_from_service`` (:class:`~signaling.events.VideoFrame`) carries it. Must not be
    modified."""
    metadata = _metadata(
        frame.camera_id, frame.captured_at_90k, frame.width, frame.height, frame.sequence, frame.skipped
    )
    return {"frame_data": frame.data, "metadata": metadata}


@lru_cache(maxsize=64)
def _metadata(
    camera_id: str, captured_at_90k: int, width: int, height: int, sequence: int, skipped: int
) -> dict[str, Any]:
    # Cached: the readers of one frame follow one another, and this was a third of the cost of each.
    return FrameMetadata(
        camera_id=camera_id,
        timestamp=to_rfc3339(captured_at_90k),
        width=width,
        height=height,
        sequence=sequence,
        skipped=skipped,
    ).wire()
