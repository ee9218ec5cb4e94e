"""Snapshots: single pictures of a hub's live edge, as JPEG.

Rules:

1. A snapshot needs no reader and leaves nothing running. It decodes the current GOP once for all concurrent requests.
   After a decode that took long, the next one begins as long after its end.
2. :data:`SNAPSHOT_THREADS` threads decode and encode the snapshots of all cameras.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from weakref import WeakKeyDictionary

from gateway.clock import Clock
from gateway.errors import UnavailableError
from gateway.hub import PacketHub
from gateway.jpeg.codec import FrameDecoder, JpegEncoder, Picture
from gateway.jpeg.reader import JpegFrame
from gateway.media import Packet

SNAPSHOT_REUSE_S = 0.1
"""A snapshot also serves requests within this many seconds after it: at most ten decodes a second."""

SNAPSHOT_THREADS = 2
"""Of all cameras together, so that a storm of requests leaves CPU for live frames."""

_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class Snapshots:
    """See the module. ``newest`` returns the frame of a decoder that runs anyway, if there is one."""

    def __init__(self, hub: PacketHub, camera_id: str, clock: Clock, newest: Callable[[], Picture | None]) -> None:
        self.camera_id = camera_id
        self.decode_errors = 0
        self._hub = hub
        self._clock = clock
        self._newest = newest
        self._decoded: asyncio.Task[Picture] | None = None
        self._jpegs: dict[tuple[int | None, int | None], asyncio.Task[JpegFrame]] = {}
        self._sequence = 0
        self._began_s = 0.0

    @property
    def present(self) -> Collection[tuple[int | None, int | None]]:
        """The widths and qualities that are encoded at present."""
        return self._jpegs

    async def take(self, width: int | None, quality: int | None = None) -> JpegFrame:
        """One picture of this width and quality. Raises :class:`~gateway.errors.UnavailableError`."""
        if self._decoded is None:
            self._began_s = self._clock.monotonic()
            self._decoded = asyncio.create_task(self._decode_gop(), name=f"snapshot-{self.camera_id}")
            self._decoded.add_done_callback(self._done)
        encoded = self._jpegs.get((width, quality))
        if encoded is None:
            encoded = asyncio.create_task(self._encode_frame(self._decoded, width, quality))
            self._jpegs[width, quality] = encoded
            # All requests may have been cancelled by the time that it fails.
            encoded.add_done_callback(lambda task: task.cancelled() or task.exception())
        # A cancelled request must not cancel the others.
        return await asyncio.shield(encoded)

    async def aclose(self) -> None:
        """Cancel what is under way."""
        tasks = [task for task in (self._decoded, *self._jpegs.values()) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _done(self, task: asyncio.Task[Picture]) -> None:
        if not task.cancelled() and task.exception() is None:
            took_s = self._clock.monotonic() - self._began_s
            asyncio.get_running_loop().call_later(max(SNAPSHOT_REUSE_S, took_s), self._forget)
        else:
            self._forget()

    def _forget(self) -> None:
        self._decoded = None
        self._jpegs = {}

    async def _decode_gop(self) -> Picture:
        newest = self._newest()
        if newest is not None and self._hub.gop:
            # There is a reader already: the live decoder's newest frame is the live edge.
            return newest
        gop = [packet for packet in self._hub.gop if packet.is_video]
        if not gop:
            raise UnavailableError(f"camera {self.camera_id} has no frame yet; ask again in a moment")
        async with _slot():
            frame, errors = await asyncio.to_thread(_newest_frame, self.camera_id, gop)
        self.decode_errors += errors
        if frame is None:
            raise UnavailableError(f"camera {self.camera_id} sends frames that cannot be decoded", retry_after_s=5)
        return frame

    async def _encode_frame(self, decoded: asyncio.Task[Picture], width: int | None, quality: int | None) -> JpegFrame:
        frame = await asyncio.shield(decoded)
        async with _slot():
            data, to_width, to_height = await asyncio.to_thread(_encode, frame, width, quality)
        self._sequence += 1
        return JpegFrame(data, self.camera_id, frame.captured_at_90k, self._sequence, to_width, to_height)


def _slot() -> asyncio.Semaphore:
    """Bounds the threads that work on snapshots."""
    return _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(SNAPSHOT_THREADS))


def _newest_frame(camera_id: str, gop: Sequence[Packet]) -> tuple[Picture | None, int]:
    """The newest frame of a GOP, and how many packets could not be decoded. Blocks while it decodes them all."""
    decoder = FrameDecoder(camera_id)
    newest: Picture | None = None
    for packet in gop:
        newest = decoder.decode(packet) or newest
    return newest, decoder.errors


def _encode(frame: Picture, width: int | None, quality: int | None) -> tuple[bytes, int, int]:
    return JpegEncoder().encode(frame, width, quality)
