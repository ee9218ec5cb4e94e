"""JpegFeed: one camera's frames as JPEG, for clients that can use neither WebRTC nor HLS.

Theory of operation. While there is at least one :class:`JpegReader`, a task reads the hub. Once a frame is due, it
hands the packets that have come to a thread, as a batch. The thread decodes every packet, since each depends on those
before. It encodes the newest frame for the readers that are due one. Readers of equal width, rate and quality are one
*stream* and get the same bytes. The first batch is the whole current GOP, so the first JPEG is at the live edge.

Rules:

1. Nothing is decoded without a reader.
2. There is one decode for all readers and one encode for each rendition, whatever the number of readers. The number of
   renditions is limited (:mod:`gateway.jpeg.renditions`).
3. The latest frame wins: a batch yields one frame, its newest, and a reader has room for one frame. ``skipped`` of the
   next frame that a reader gets counts the frames that it did not get.
4. A frame that is :data:`BEHIND_90K` behind the live edge is not sent, unless nothing has been sent for
   :data:`LATE_AFTER_S`: on an overloaded machine an old picture with its time is better than none. A decoder that is
   so far behind, and does not catch up, skips to the next keyframe. Where a keyframe is already queued, every decoder
   skips to it. Skipped packets are counted in ``packets_skipped``.
5. A stream of which nothing can be decoded for seconds is a fault (:mod:`gateway.jpeg.decode_fault`).
6. A snapshot needs no reader (:mod:`gateway.jpeg.snapshots`).
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock
from gateway.errors import UnavailableError
from gateway.hub import PacketHub, Subscription, SubscriptionClosed
from gateway.jpeg import renditions
from gateway.jpeg.codec import MJPEG, FrameDecoder, JpegEncoder, Picture, scaled_size
from gateway.jpeg.decode_fault import DecodeFault
from gateway.jpeg.frame_rate import FrameRateLimiter
from gateway.jpeg.reader import JpegFrame, JpegReader
from gateway.jpeg.snapshots import Snapshots
from gateway.media import Packet

log = logging.getLogger(__name__)

BEHIND_90K = CLOCK_RATE
"""A frame captured more than a second before is not at the live edge."""

LATE_AFTER_S = 2.0

GATHER_MAX_90K = CLOCK_RATE // 4
"""How much video may wait until a frame is due. Decoding it takes a few milliseconds."""

SOURCE_MAX = 7680
"""The width of a source that is not known yet, in pixels."""


_Key = tuple[tuple[int, int], int | None]
"""Size and quality of a JPEG."""


class _Stream:
    """Readers of one rate, width and quality."""

    def __init__(self, frame_rate: float, width: int | None, quality: int | None) -> None:
        self.width = width
        self.quality = quality
        self.limiter = FrameRateLimiter(frame_rate)
        self.readers: list[JpegReader] = []
        self.sequence = 0
        self.skipped = 0


@dataclass(slots=True)
class _Batch:
    """The thread's result: the newest frame, how many were decoded and failed to, and the due JPEGs by their key."""

    frame: Picture | None
    decoded: int
    errors: int
    jpegs: dict[_Key, tuple[bytes, int, int]]
    due: list[_Stream]
    due_keys: list[_Key]


class JpegFeed:
    """See the module. Lives on the event loop. ``on_fault`` is called when a fault begins or ends (rule 5)."""

    def __init__(
        self,
        hub: PacketHub,
        camera_id: str,
        clock: Clock = SYSTEM_CLOCK,
        on_fault: Callable[[], None] = lambda: None,
    ) -> None:
        self.camera_id = camera_id
        self._on_fault = on_fault
        self._fault = DecodeFault()
        self.frames_encoded = 0
        self.frames_decoded = 0
        self.packets_skipped = 0
        """Packets that were not decoded because the decoder was behind (rule 4)."""
        self.widths_replaced = 0
        """Requests for a width that got another one, because of the limit of renditions."""
        self._hub = hub
        self._clock = clock
        self._streams: dict[tuple[float, int | None, int | None], _Stream] = {}
        self._task: asyncio.Task[None] | None = None
        self._snapshots = Snapshots(hub, camera_id, clock, lambda: self._newest)
        self._decode_errors = 0
        self._newest: Picture | None = None
        self._sent_at_s = 0.0
        """When the newest frame was sent to a reader, monotonic; when the decoding began, before the first."""
        self._closed = False

    @property
    def decode_errors(self) -> int:
        """Packets that could not be decoded."""
        return self._decode_errors + self._snapshots.decode_errors

    @property
    def has_fault(self) -> bool:
        """Whether packets come, and none of them can be decoded (rule 5)."""
        return self._fault.is_present

    @property
    def is_decoding(self) -> bool:
        """Whether there is a reader."""
        return bool(self._streams)

    def subscribe(self, frame_rate: float, width: int | None, quality: int | None = None) -> JpegReader:
        """Read the live edge at up to ``frame_rate`` frames a second and ``width`` pixels (``None``: the camera's).

        ``quality`` is on libjpeg's scale; ``None`` is the usual. The reader's ``width`` and ``quality`` may be others;
        see :mod:`gateway.jpeg.renditions`.

        The reader keeps the decoder running, not the capture: for that, hold the camera too.
        """
        width = self._rendition(width, [stream.width for stream in self._streams.values()])
        present = [(stream.width, stream.quality) for stream in self._streams.values()]
        quality = renditions.quality(quality, width, present)
        reader = JpegReader(frame_rate, width, self._forget, quality)
        stream = self._streams.setdefault((frame_rate, width, quality), _Stream(frame_rate, width, quality))
        stream.readers.append(reader)
        if self._closed:
            reader.close()
        elif self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=f"jpeg-{self.camera_id}")
        return reader

    def _forget(self, reader: JpegReader) -> None:
        """Remove a closed reader."""
        key = (reader.frame_rate, reader.width, reader.quality)
        stream = self._streams.get(key)
        if stream is None or reader not in stream.readers:
            return
        stream.readers.remove(reader)
        if not stream.readers:
            del self._streams[key]
        if not self._streams and self._task is not None:
            self._task.cancel()
            self._task = None

    async def snapshot(self, width: int | None = None, quality: int | None = None) -> JpegFrame:
        """The live edge as one JPEG, from the current GOP. Raises :class:`~gateway.errors.UnavailableError`."""
        present = self._snapshots.present
        width = self._rendition(width, [each for each, _ in present])
        return await self._snapshots.take(width, renditions.quality(quality, width, present))

    async def aclose(self) -> None:
        """End every reader and wait for the thread."""
        self._closed = True
        task = self._task
        for stream in tuple(self._streams.values()):
            for reader in tuple(stream.readers):
                reader.close()
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._snapshots.aclose()

    def _rendition(self, width: int | None, present: Collection[int | None]) -> int | None:
        info = self._hub.info
        source = info.video.width if info is not None and info.video.width else SOURCE_MAX
        found = renditions.rendition(width, source, present)
        if width is not None and width < source and found != width - width % 2:
            self.widths_replaced += 1
        return found

    # --- the live decoder

    async def _run(self) -> None:
        subscription = self._hub.subscribe()
        stop = threading.Event()
        decoder = FrameDecoder(self.camera_id)
        loop = asyncio.get_running_loop()
        executor = ThreadPoolExecutor(1, thread_name_prefix=f"jpeg-{self.camera_id}")
        lag_90k = 0
        is_skipping = False
        self._sent_at_s = self._clock.monotonic()
        try:
            encoder = await loop.run_in_executor(executor, JpegEncoder)
            while True:
                batch = await self._next_batch(subscription)
                keyframe: int | None = 0
                if batch[-1].info.video.codec != MJPEG:  # of which nothing needs what was before
                    keyframe = next((i for i in reversed(range(len(batch))) if batch[i].is_keyframe), None)
                lag_90k, previous_lag_90k = self._lag_90k(batch[keyframe or 0].captured_at_90k), lag_90k
                if keyframe is None and (is_skipping or (lag_90k > BEHIND_90K and lag_90k >= previous_lag_90k)):
                    is_skipping = True
                    self.packets_skipped += len(batch)
                    continue
                is_skipping = False
                self.packets_skipped += keyframe or 0
                batch = batch[keyframe or 0 :]
                self._deliver(await loop.run_in_executor(executor, self._work, batch, decoder, encoder, stop))
        except SubscriptionClosed:
            pass
        except Exception:
            log.exception(
                "camera %s: the JPEG feed failed; its readers are ended",
                self.camera_id,
                extra={"camera": self.camera_id},
            )
            for reader in [reader for stream in self._streams.values() for reader in stream.readers]:
                reader.close()
        finally:
            stop.set()
            subscription.close()
            executor.shutdown(wait=False)
            self._newest = None
            if self._fault.reset():
                self._on_fault()

    async def _next_batch(self, subscription: Subscription) -> list[Packet]:
        """All waiting video packets, at least one. Where no frame is due yet, wait until one is."""
        batch: list[Packet] = []
        while not batch or not self._is_enough(batch):
            packet: Packet | None = await subscription.get()
            while packet is not None:
                if packet.is_video:
                    batch.append(packet)
                packet = subscription.get_nowait()
        return batch

    def _is_enough(self, batch: Sequence[Packet]) -> bool:
        newest_90k = batch[-1].captured_at_90k
        if abs(newest_90k - batch[0].captured_at_90k) >= GATHER_MAX_90K:
            return True
        return any(stream.limiter.is_due(newest_90k) for stream in self._streams.values())

    def _lag_90k(self, captured_at_90k: int) -> int:
        """How far a frame is behind the live edge."""
        newest = self._hub.newest
        return newest.captured_at_90k - captured_at_90k if newest is not None else 0

    def _is_worth_sending(self, frame: Picture) -> bool:
        """Rule 4."""
        is_late = self._lag_90k(frame.captured_at_90k) > BEHIND_90K
        return not is_late or self._clock.monotonic() - self._sent_at_s >= LATE_AFTER_S

    def _work(
        self, batch: Sequence[Packet], decoder: FrameDecoder, encoder: JpegEncoder, stop: threading.Event
    ) -> _Batch:
        """Runs in the thread, and only reads the feed. A reader that comes meanwhile counts from the next batch."""
        newest: Picture | None = None
        decoded = 0
        errors_before = decoder.errors
        for packet in batch:
            if stop.is_set():
                break
            frame = decoder.decode(packet)
            if frame is not None:
                newest, decoded = frame, decoded + 1
        done = _Batch(newest, decoded, decoder.errors - errors_before, {}, [], [])
        if newest is None or stop.is_set() or not self._is_worth_sending(newest):
            return done
        for stream in tuple(self._streams.values()):
            if stream.limiter.take(newest.captured_at_90k):
                done.due.append(stream)
                # Of one size, also if the source has become smaller than what was requested.
                key = (scaled_size(newest.width, newest.height, stream.width), stream.quality)
                if key not in done.jpegs:
                    try:
                        done.jpegs[key] = encoder.encode(newest, stream.width, stream.quality)
                    except UnavailableError:
                        return _Batch(None, 0, 1, {}, [], [])
                done.due_keys.append(key)
        return done

    def _deliver(self, done: _Batch) -> None:
        self.frames_decoded += done.decoded
        self._decode_errors += done.errors
        self.frames_encoded += len(done.jpegs)
        if self._note_fault(done):
            self._on_fault()
        if done.frame is None:
            return
        self._newest = done.frame
        if done.due:
            self._sent_at_s = self._clock.monotonic()
        for stream in self._streams.values():
            if stream not in done.due:
                stream.skipped += done.decoded
        for stream, key in zip(done.due, done.due_keys, strict=True):
            data, width, height = done.jpegs[key]
            stream.sequence += 1
            frame = JpegFrame(
                data=data,
                camera_id=self.camera_id,
                captured_at_90k=done.frame.captured_at_90k,
                sequence=stream.sequence,
                width=width,
                height=height,
                # Nothing was skipped before a stream's first frame.
                skipped=stream.skipped + done.decoded - 1 if stream.sequence > 1 else 0,
            )
            stream.skipped = 0
            for reader in stream.readers:
                reader.offer(frame)

    def _note_fault(self, done: _Batch) -> bool:
        """Rule 5. Whether a fault has begun or ended."""
        if done.decoded:
            return self._fault.reset()
        if not done.errors or not self._fault.failed(self._clock.monotonic()):
            return False
        log.warning(
            "camera %s: its pictures cannot be decoded any more", self.camera_id, extra={"camera": self.camera_id}
        )
        return True
