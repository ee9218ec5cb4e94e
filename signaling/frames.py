"""FrameStreams: sends the newest JPEG frames to one consumer, as fast as they arrive there.

Rules:

1. A stream has a window of frames that are on their way (:mod:`signaling.frame_window`). When the window is open, the
   newest frame is taken at that moment, so that a slow consumer gets fewer frames, not older ones.
2. The cameras of a connection share a window of one frame, or have a window each (``window_each``).
3. ``send`` gets a frame and a function to call when that frame has arrived: on its acknowledgement, or on the best
   evidence of it. Until then it is in the window, even if this camera's stream stops.
4. Only the reader's single slot buffers frames, so a consumer that does not read costs the memory of its window.
5. A frame above the consumer's limit is not sent, and the next ones are narrower (:mod:`signaling.frame_size`).
6. Answers and status messages do not wait for a window.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from gateway.camera import Camera
from gateway.clock import SYSTEM_CLOCK, Clock, to_rfc3339
from gateway.hub import SubscriptionClosed
from gateway.jpeg.reader import JpegFrame
from gateway.picture_reader import PictureReader
from signaling.answers import FrameMetadata
from signaling.frame_size import FrameSize
from signaling.frame_window import FrameWindow

log = logging.getLogger(__name__)

VIDEO_FRAME = "video_frame_from_service"

Arrived = Callable[[], None]

Send = Callable[[dict[str, Any], Arrived], Awaitable[None]]

LimitBytes = Callable[[], int | None]
"""The largest JPEG that the consumer accepts; ``None``: any."""

KIND = "jpeg"
"""The transport of these viewers in a camera's status."""


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """A camera's frames to one consumer: at most ``frame_rate`` a second, ``width`` pixels wide (``None``: all).

    ``quality`` is that of the JPEGs (``None``: the usual).

    With ``is_viewer`` the consumer keeps the camera captured. Without, it takes what a command captured. ``on_end`` is
    called once, when sending has stopped.
    """

    camera: Camera
    frame_rate: float
    width: int | None
    quality: int | None = None
    is_viewer: bool = False
    on_end: Callable[[], None] = lambda: None


class _Window:
    """Waits for a :class:`FrameWindow`. Those who wait get it in turn."""

    def __init__(self, window: FrameWindow, clock: Clock) -> None:
        self._window = window
        self._clock = clock
        self._opened = asyncio.Event()

    async def enter(self) -> Arrived:
        """Wait until a frame may be sent. Returns what to call when it has arrived."""
        while not self._window.is_open:
            self._opened.clear()
            await self._opened.wait()
        return partial(self._arrived, self._window.sent(self._clock.monotonic()))

    def _arrived(self, number: int) -> None:
        self._window.arrived(number, self._clock.monotonic())
        self._opened.set()


class FrameStream:
    """One camera's frames to one consumer, from its creation until :meth:`stop`, or until ``send`` raises."""

    def __init__(
        self,
        request: FrameRequest,
        send: Send,
        window: _Window,
        client: str,
        *,
        clock: Clock = SYSTEM_CLOCK,
        limit_bytes: LimitBytes = lambda: None,
    ) -> None:
        self.frames_sent = 0
        self.frames_skipped = 0
        self.frames_too_large = 0
        self.is_blocked = False
        """Whether even the smallest picture is above the consumer's limit."""
        self.request = request
        self._send = send
        self._window = window
        self._client = client
        self._clock = clock
        self._limit_bytes = limit_bytes
        self._size = FrameSize(request.width)
        self._is_ended = False
        camera, frame_rate, width = request.camera, request.frame_rate, request.width
        self._reader = PictureReader(
            camera, KIND, frame_rate, width, quality=request.quality, is_viewer=request.is_viewer
        )
        self._width = width
        self._task = asyncio.create_task(self._run(), name="send-frames")

    async def stop(self) -> None:
        """Stop sending."""
        self._reader.close()
        self._task.cancel()
        await asyncio.wait([self._task])
        self._end()  # a task that is cancelled before its first step does nothing

    async def _run(self) -> None:
        try:
            while True:
                await self._send_next()
        except SubscriptionClosed:
            pass
        except Exception:
            log.exception("sending frames to a client failed", extra={"client": self._client})
        finally:
            self._end()

    def _end(self) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        self._reader.close()
        self.request.on_end()

    async def _send_next(self) -> None:
        frame = await self._reader.get()
        arrived = await self._window.enter()
        try:
            newest = self._reader.newest(frame)
            self.frames_skipped += newest.skipped
            if not self._accepts(newest):
                arrived()
                return
            await self._send(to_event(newest), arrived)
        except BaseException:
            arrived()
            raise
        self.frames_sent += 1

    def _accepts(self, frame: JpegFrame) -> bool:
        """Rule 5."""
        limit_bytes = self._limit_bytes()
        if limit_bytes is None:
            return True
        was_narrowed = self._size.is_narrowed
        accepted = self._size.accepts(len(frame.data), frame.width, limit_bytes, self._clock.monotonic())
        was_blocked, self.is_blocked = (
            self.is_blocked,
            self._size.is_hopeless(len(frame.data), frame.width, limit_bytes),
        )
        if not accepted:
            self.frames_too_large += 1
            if self.is_blocked and not was_blocked:
                log.error(
                    "camera %s: no frames are sent: its smallest picture, %d bytes, is above the limit of its receiver,"
                    " %d bytes. Raise the receiver's limit (maxHttpBufferSize)",
                    frame.camera_id,
                    len(frame.data),
                    max(0, limit_bytes),
                    extra={"camera": frame.camera_id},
                )
            if not was_narrowed:
                log.warning(
                    "camera %s: a frame of %d bytes is above the limit of its receiver, %d bytes; frames are sent with"
                    " %s pixels. Set FRAME_WIDTH, or raise the receiver's limit (maxHttpBufferSize)",
                    frame.camera_id,
                    len(frame.data),
                    limit_bytes,
                    self._size.width,
                    extra={"camera": frame.camera_id},
                )
        if self._size.width != self._width:
            self._width = self._size.width
            self._reader.set_width(self._width)
        return accepted


class FrameStreams:
    """All frames that are sent on one connection: a stream for each camera.

    ``client`` names the other side in the log. ``window_each``: a window for each camera (rule 2).
    """

    def __init__(
        self,
        send: Send,
        client: str,
        *,
        clock: Clock = SYSTEM_CLOCK,
        window_each: bool = False,
        limit_bytes: LimitBytes = lambda: None,
    ) -> None:
        self._send = send
        self._client = client
        self._clock = clock
        self._limit_bytes = limit_bytes
        self._shared = None if window_each else _Window(FrameWindow(size_max=1), clock)
        self._streams: dict[str, FrameStream] = {}
        self._sent_before = 0
        self._skipped_before = 0
        self._too_large_before = 0

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, camera_id: str) -> bool:
        return camera_id in self._streams

    def request(self, camera_id: str) -> FrameRequest | None:
        """The frames of a camera that are sent; ``None``: none."""
        stream = self._streams.get(camera_id)
        return stream.request if stream is not None else None

    @property
    def frames_sent(self) -> int:
        return self._sent_before + sum(stream.frames_sent for stream in self._streams.values())

    @property
    def frames_skipped(self) -> int:
        """Frames of the cameras that were not sent because the consumer was slower."""
        return self._skipped_before + sum(stream.frames_skipped for stream in self._streams.values())

    @property
    def frames_too_large(self) -> int:
        """Frames that were not sent because the consumer does not accept such large ones (rule 5)."""
        return self._too_large_before + sum(stream.frames_too_large for stream in self._streams.values())

    @property
    def blocked(self) -> list[str]:
        """The cameras of which no frame can be sent, because the consumer accepts none so large."""
        return [camera_id for camera_id, stream in self._streams.items() if stream.is_blocked]

    async def start(self, request: FrameRequest) -> None:
        """Send a camera's frames, in place of those sent before."""
        await self.stop(request.camera.id)
        self._streams[request.camera.id] = FrameStream(
            request,
            self._send,
            self._shared or _Window(FrameWindow(), self._clock),
            self._client,
            clock=self._clock,
            limit_bytes=self._limit_bytes,
        )

    async def stop(self, camera_id: str) -> None:
        """Stop sending a camera's frames."""
        stream = self._streams.pop(camera_id, None)
        if stream is not None:
            await stream.stop()
            self._sent_before += stream.frames_sent
            self._skipped_before += stream.frames_skipped
            self._too_large_before += stream.frames_too_large

    async def close(self) -> None:
        """Stop all streams."""
        for camera_id in tuple(self._streams):
            await self.stop(camera_id)


def to_event(frame: JpegFrame) -> dict[str, Any]:
    """A frame as ``video_frame_from_service`` (:class:`~signaling.answers.VideoFrame`) carries it. Must not be
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
