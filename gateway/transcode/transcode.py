"""Transcode: the H.264 stream that is made of a camera's main stream, for viewers that decode nothing else.

Theory of operation. There is one for each camera, shared by all of its viewers. It begins with the first hold, ends a
linger after the last, and is a :class:`~gateway.hub.PacketHub` to them, as a rendition is. Meanwhile one task feeds a
:class:`~gateway.transcode.process.TranscodeProcess` from the main stream, and another publishes what comes back. Sound
is passed on as it is.

Rules:

1. Pictures keep their presentation and capture times.
2. The process gets the current GOP first, so that it can begin at the live edge. Of it, only the last picture is shown.
3. Drop policy: a process that is too slow reads slower than the camera sends. Its queue (:data:`QUEUE_MAX_PACKETS`)
   then drops to the next keyframe, as every subscription of a hub does. :attr:`Transcode.packets_dropped` counts.
4. A process that has ended is started again, with growing waits. Viewers stay, and see a pause.
5. A process that hangs (:mod:`gateway.transcode.watchdog`) is killed, and started again as one that has ended.
6. Each run of the camera, and each process, is a run of this stream too: its first packet is a keyframe.
7. A viewer that joins gets the GOP so far. A keyframe is made for it too, at most every :data:`KEYFRAME_INTERVAL_S`.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from gateway.backoff import Backoff
from gateway.clock import Clock
from gateway.errors import UnavailableError
from gateway.hold import Hold
from gateway.hub import PacketHub, Subscription
from gateway.rendition import Rendition
from gateway.status import TranscodeState, TranscodeStatus
from gateway.transcode import worker
from gateway.transcode.limit import TranscodeLimit
from gateway.transcode.process import Message, TranscodeError, TranscodeProcess, encoder_of
from gateway.transcode.stream import TranscodeStream
from gateway.transcode.watchdog import Watchdog

log = logging.getLogger(__name__)

QUEUE_MAX_PACKETS = 100
"""Two seconds of most cameras, with sound. One that is further behind shows a newer picture after dropping."""

QUEUE_MAX_BYTES = 16 * 1024 * 1024

KEYFRAME_INTERVAL_S = 1.0

WATCH_S = 1.0

RETRIES, RETRY_DELAY_S = 2, 0.5
"""A process that crashed is started again at once, as its cause may be one packet. Then the waits grow."""


@dataclass(slots=True)
class TranscodeCounters:
    """Since the start of the gateway. They never decrease."""

    starts: int = 0
    crashes: int = 0
    frames: int = 0
    packets_dropped: int = 0


class Transcode:
    """See the module. Lives on the event loop; made and closed by :class:`~gateway.camera.Camera`."""

    def __init__(
        self, source: Rendition, limit: TranscodeLimit, clock: Clock, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self.camera_id = source.camera_id
        self.name = source.name
        """The stream that it is made of."""
        self.label = f"{source.camera_id} (transcoded)"
        """For messages."""
        self.hub = PacketHub(source.camera_id)
        self.source = source
        self.state = TranscodeState.IDLE
        self.error_message: str | None = None
        self.encoder: str | None = None
        """The encoder's name, and the size of the picture in pixels, while it runs."""
        self.size: tuple[int, int] | None = None
        self.hardware_refused: str | None = None
        """Why no better encoder is used, as a clause, while it runs."""
        self._counters = TranscodeCounters()
        self._extra = {"camera": source.camera_id}
        """For the log."""
        self._watchdog = Watchdog()
        self._limit = limit
        self._clock = clock
        self._on_change = on_change
        self._has_place = False
        """In the limit."""
        self._holds: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._source_hold: Hold[Rendition] | None = None
        self._process: TranscodeProcess | None = None
        self._subscription: Subscription | None = None
        self._stream = TranscodeStream(self.hub)
        self._keyframe_at_s = float("-inf")
        self._progress = asyncio.Event()
        """Set, and replaced, on each change that :meth:`wait_for_keyframe` waits for."""
        self._closed = False

    # --- viewers

    @property
    def viewers(self) -> Mapping[str, int]:
        """How many viewers there are, by transport."""
        return {kind: count for kind, count in sorted(self._holds.items()) if count and kind}

    @property
    def counters(self) -> TranscodeCounters:
        """A copy, the process that runs included."""
        waiting = self._subscription.dropped if self._subscription is not None else 0
        return replace(self._counters, packets_dropped=self._counters.packets_dropped + waiting)

    @property
    def pid(self) -> int | None:
        """The process that runs."""
        return self._process.pid if self._process is not None else None

    def hold(self, kind: str) -> "Hold[Transcode]":
        """Keep it going for a viewer on the transport ``kind``. Raises ``UnavailableError`` at the limit.

        An empty ``kind`` is for one that watches something else, and waits for this.
        """
        if self._closed:
            raise UnavailableError(f"camera {self.camera_id} was removed")
        if not self._has_place:
            self._limit.take(self.camera_id, self._clock.monotonic())
            self._has_place = True
        if self._task is None:
            self._begin()
        else:
            self._request_keyframe()
        self._cancel_linger()
        self._holds[kind] += 1
        self._changed()
        return Hold(self, kind)

    def end_hold(self, kind: str) -> None:
        """End one hold. Called by :meth:`~gateway.rendition.Hold.release`."""
        self._holds[kind] -= 1
        if not self._holds.total() and self._task is not None and not self._closed:
            linger_s = self.source.settings.capture_linger
            self._linger = asyncio.get_running_loop().call_later(linger_s, self._end)
            self._limit.unwatched(self, self._give_up_place)
        self._changed()

    async def wait_for_keyframe(self, timeout_s: float) -> None:
        """Return as soon as a new viewer can get a keyframe. Raises :class:`~gateway.errors.UnavailableError`."""
        deadline = self._clock.monotonic() + timeout_s
        while not self.hub.gop:
            try:
                async with asyncio.timeout(max(0.0, deadline - self._clock.monotonic())):
                    await self._progress.wait()
            except TimeoutError:
                why = self.error_message or "its first frame is not there yet"
                raise UnavailableError(f"camera {self.label} is {self.state}: {why}", retry_after_s=2) from None

    def status(self) -> TranscodeStatus | None:
        """The transcode now; ``None`` while it is idle."""
        if self.state is TranscodeState.IDLE:
            return None
        width, height = self.size or (None, None)
        counters = self.counters
        return TranscodeStatus(
            state=self.state,
            encoder=self.encoder,
            hardware_refused=self.hardware_refused,
            width=width,
            height=height,
            error_message=self.error_message,
            viewers=dict(self.viewers),
            crashes=counters.crashes,
            packets_dropped=counters.packets_dropped,
        )

    # --- life cycle

    async def aclose(self) -> None:
        """Stop and release everything. It cannot be started again."""
        self._closed = True
        self._cancel_linger()
        task = self._task
        if task is not None:
            self._cancel(task)
            await asyncio.wait([task])
            self._ended(task)

    def _begin(self) -> None:
        self._source_hold = self.source.hold("")
        self._keyframe_at_s = self._clock.monotonic()
        self._task = asyncio.create_task(self._drive(), name=f"transcode-{self.camera_id}")

    def _give_up_place(self) -> None:
        """Another camera needs it."""
        log.info("camera %s: ends, as nobody watches it and another one is needed", self.label, extra=self._extra)
        self._free_place()
        self._cancel_linger()
        self._end()

    def _free_place(self) -> None:
        self._limit.watched(self)
        if self._has_place:
            self._has_place = False
            self._limit.free()

    def _cancel_linger(self) -> None:
        self._limit.watched(self)
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    def _end(self) -> None:
        self._linger = None
        task = self._task
        if task is not None and not self._holds.total():
            self._cancel(task)
            task.add_done_callback(self._ended)

    @staticmethod
    def _cancel(task: asyncio.Task[None]) -> None:
        # A second time would interrupt the end of the process.
        if not task.cancelling():
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The task has ended, perhaps before its first step."""
        if self._task is not task:
            return
        self._task = None
        before = self._source_hold
        self.hub.end_run()
        self.state, self.encoder, self.size, self.hardware_refused = TranscodeState.IDLE, None, None, None
        if self._holds.total() and not self._closed:
            # A viewer has come meanwhile.
            self._begin()
        else:
            self._free_place()
        if before is not None:
            before.release()
        self._changed()

    async def _drive(self) -> None:
        """Keep a process running, until this is cancelled."""
        backoff = Backoff(RETRIES, RETRY_DELAY_S)
        try:
            while True:
                self.state = TranscodeState.STARTING
                began_s = self._clock.monotonic()
                self._counters.starts += 1
                try:
                    await self._run()
                except TranscodeError as error:
                    self._counters.crashes += 1
                    self.error_message = str(error)
                    self.state = TranscodeState.RETRYING
                    wait_s = backoff.ended(self._clock.monotonic() - began_s)
                    log.warning("camera %s: %s; again in %.1f s", self.label, error, wait_s, extra=self._extra)
                    self.hub.end_run()
                    self._changed()
                    await asyncio.sleep(wait_s)
        finally:
            log.info("camera %s: stopped", self.label, extra=self._extra)

    async def _run(self) -> None:
        """One process, from its start to its end. Raises :class:`TranscodeError`."""
        process = await TranscodeProcess.start()
        self._stream.reset()
        self._watchdog = Watchdog()
        hub = self.source.hub
        first_shown = max((place for place, packet in enumerate(hub.gop) if packet.is_video), default=0)
        subscription = hub.subscribe(max_packets=QUEUE_MAX_PACKETS, max_bytes=QUEUE_MAX_BYTES)
        self._process, self._subscription = process, subscription
        tasks = [
            asyncio.create_task(
                self._feed(process, subscription, first_shown), name=f"transcode-feed-{self.camera_id}"
            ),
            asyncio.create_task(self._publish(process), name=f"transcode-publish-{self.camera_id}"),
            asyncio.create_task(self._watch(subscription), name=f"transcode-watch-{self.camera_id}"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            for task in tasks:
                task.cancel()
            self._subscription = None
            self._counters.packets_dropped += subscription.dropped
            subscription.close()
            await asyncio.gather(*tasks, return_exceptions=True)
            await process.kill()
            self._process = None

    async def _feed(self, process: TranscodeProcess, subscription: Subscription, first_shown: int) -> None:
        """Send the process the camera's packets. Raises :class:`TranscodeError` when it has ended."""
        stream = self._stream
        place = 0
        while True:
            packet = await subscription.get()
            is_shown = place >= first_shown
            place += 1
            if not packet.is_video:
                if is_shown:
                    stream.pass_on(packet)
                continue
            if stream.begins(packet):
                await process.send(worker.CONFIGURE, stream.generation, payload=stream.configuration(packet))
            stream.sent(packet)
            self._watchdog.sent(self._clock.monotonic())
            kind = worker.TRANSCODE if is_shown else worker.DECODE
            await process.send(kind, stream.generation, packet.pts_90k, packet.data)
            if self._keyframe_at_s == float("inf"):
                self._keyframe_at_s = self._clock.monotonic()
                await process.send(worker.MAKE_KEYFRAME, stream.generation)

    async def _publish(self, process: TranscodeProcess) -> None:
        """Publish what the process makes. Raises :class:`TranscodeError` when it has ended."""
        while True:
            message = await process.receive()
            self._watchdog.made()
            if message.kind == worker.ENCODER:
                self._on_encoder(message)
            elif self._stream.publish(message):
                self._counters.frames += 1
                if message.kind == worker.KEYFRAME:
                    self._changed()

    async def _watch(self, subscription: Subscription) -> None:
        """Raises :class:`TranscodeError` when the process hangs (rule 5)."""
        while True:
            await asyncio.sleep(WATCH_S)
            fault = self._watchdog.fault(self._clock.monotonic(), len(subscription))
            if fault is not None:
                raise TranscodeError(fault)

    def _on_encoder(self, message: Message) -> None:
        told = encoder_of(message)
        self.encoder, self.size = told["encoder"], (told["width"], told["height"])
        self.state, self.error_message = TranscodeState.RUNNING, None
        self.hardware_refused = told["refused"] or None
        why = f" ({self.hardware_refused})" if self.hardware_refused else ""
        log.info("camera %s: %s makes %dx%d%s", self.label, self.encoder, *self.size, why, extra=self._extra)

    def _request_keyframe(self) -> None:
        """Rule 7. It is sent with the camera's next picture."""
        if self._clock.monotonic() - self._keyframe_at_s >= KEYFRAME_INTERVAL_S:
            self._keyframe_at_s = float("inf")

    def _changed(self) -> None:
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()
        self._on_change()
