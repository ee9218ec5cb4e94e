"""Camera: one configured source, its capture, its clients and its viewers.

Theory of operation. There are two ways to have a camera captured. A *client* starts it by command
(``capture_start_request``) and stops it by command. A *viewer* holds it while it watches (:meth:`Camera.hold`). While
there is either, or the settings say "always", one task drives the :class:`~gateway.session.CaptureSession`: it makes an
attempt when one is due, gives each run a thread of its own, and publishes its packets to the
:class:`~gateway.hub.PacketHub`.

Rules:

1. A command takes effect at once. After the last viewer has left, the capture goes on for ``CAPTURE_LINGER`` seconds,
   since most viewers come back.
2. No error leaves this object: it becomes the session's state and error message.
3. A run without a video packet for ``CAPTURE_TIMEOUT`` is ended, even if the engine does not end it.
4. Runs are numbered from 1 for the life of the process (:attr:`gateway.media.Packet.run`).
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from gateway.camera_settings import CameraSettings, RecordMode, StartMode
from gateway.capture.counters import CaptureCounters
from gateway.capture.engine import CaptureSource, CheckAddress, EngineFactory
from gateway.capture.port_probe import when_reachable
from gateway.capture.runner import AsyncEngineRunner, EngineRunner, engine_runner
from gateway.capture_clients import CaptureClients
from gateway.clock import Clock, to_rfc3339
from gateway.config.field import Applies, names_changed
from gateway.errors import (
    CameraEndedError,
    CameraTimeoutError,
    CameraUnauthorizedError,
    CaptureError,
    UnavailableError,
)
from gateway.hub import PacketHub
from gateway.jpeg.feed import JpegFeed
from gateway.media import Metadata, Packet
from gateway.session import CaptureSession, FrameCallback, RetryPolicy, SessionState
from gateway.status import CaptureStatus, LiveEdge, StreamMeter

log = logging.getLogger(__name__)

ENGINE_GRACE_S = 1.0
"""Seconds that an engine has to end the run itself before rule 3 does: it knows better why the camera is silent."""

THREAD_END_S = 1.0
"""How long a stop waits for the engine's thread, in seconds. A thread that hangs in a C library is left behind."""

Observer = Callable[["Camera"], None]

AddressCheck = Callable[[str], CheckAddress | None]
"""Returns, for a camera's id, the check of the addresses that its next run connects to; ``None`` for no check."""

ReferredCheck = Callable[[], CheckAddress | None]
"""Returns the check of the addresses that cameras refer to; see :class:`~gateway.capture.engine.CaptureSource`."""


class Hold:
    """Keeps a camera captured for one viewer, until it is released. Releasing it twice is harmless."""

    def __init__(self, camera: "Camera", kind: str) -> None:
        self._camera: Camera | None = camera
        self.kind = kind

    def release(self) -> None:
        """The viewer left."""
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.end_hold(self.kind)


class Camera:
    """See the module. Lives on the event loop; made and closed by :class:`~gateway.service.CaptureService`."""

    def __init__(
        self,
        camera_id: str,
        settings: CameraSettings,
        engine_factory: EngineFactory,
        clock: Clock,
        on_change: Observer,
        address_check: AddressCheck | None = None,
        referred_check: ReferredCheck | None = None,
    ) -> None:
        self.id = camera_id
        self.settings = settings
        self.hub = PacketHub(camera_id)
        self.jpeg = JpegFeed(self.hub, camera_id, clock)
        self.session = CaptureSession(settings.public_url, _retry_policy(settings))
        self._engine_factory = engine_factory
        self._clock = clock
        self._on_change = on_change
        self._metadata_sinks: list[Callable[[Metadata], None]] = []
        self._address_check = address_check
        self._referred_check = referred_check
        self._meter = StreamMeter()
        self.hub.attach(self._meter.on_packet)
        self._clients = CaptureClients()
        self._holds: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._callback_task: asyncio.Task[None] | None = None
        self._progress = asyncio.Event()
        """Set, and replaced, on each change that :meth:`wait_for_keyframe` waits for."""
        self._retry_now = asyncio.Event()
        self._run = 0
        self._last_video_s = 0.0
        self._last_keyframe_s: float | None = None
        self._counters = CaptureCounters()
        """Of the runs that have ended."""
        self._handover_dropped = 0
        self._runner: EngineRunner | AsyncEngineRunner | None = None
        self._always = False
        self._closed = False

    # --- clients and viewers

    @property
    def is_wanted(self) -> bool:
        """Whether a client, a viewer or a setting wants this camera captured."""
        return not self._closed and (self._always or bool(self._clients) or self._holds.total() > 0)

    def _is_watched(self) -> bool:
        """Whether a viewer, a frame callback or the first picture waits for the next frame."""
        is_live = self.session.state is SessionState.LIVE
        return not is_live or self._holds.total() > 0 or self.session.frame_callback is not None

    @property
    def clients(self) -> CaptureClients:
        """Clients that started the capture, with the metadata that each of them gave."""
        return self._clients

    @property
    def viewers(self) -> Mapping[str, int]:
        """How many viewers there are, by transport."""
        return {kind: count for kind, count in sorted(self._holds.items()) if count}

    def attach_metadata(self, sink: Callable[[Metadata], None]) -> None:
        """Call ``sink`` with each metadata document, from the next run on.

        It must not block, and bounds what it keeps.
        """
        self._metadata_sinks.append(sink)

    def begin(self) -> None:
        """Apply the settings: an always-on camera is captured from now on."""
        self._always = self.settings.start is StartMode.ALWAYS or self.settings.record is RecordMode.ALWAYS
        self._update()

    def reconfigure(self, settings: CameraSettings, engine_factory: EngineFactory) -> None:
        """Continue with other settings. Viewers and clients stay. A new run begins only where a setting requires it."""
        before, self.settings = self.settings, settings
        self._engine_factory = engine_factory
        self.session.reconfigure(settings.public_url, _retry_policy(settings))
        if self._task is not None and names_changed(before, settings, Applies.RUN):
            log.info("camera %s: restarts with other settings", self.id, extra={"camera": self.id})
            # A task that has not run yet never reaches its own call of _update() at its end.
            self._task.add_done_callback(lambda _: self._update())
            self._task.cancel()
        if (before.frame_rate, before.frame_width) != (settings.frame_rate, settings.frame_width):
            self.set_frame_callback(self.session.frame_callback)
        self.begin()
        self._changed()

    def add_client(
        self,
        client_id: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        owner: str | None = None,
        expires: bool = True,
    ) -> None:
        """A client's command to capture. A second one of the same client replaces the metadata.

        ``owner`` and ``expires`` as in :mod:`gateway.capture_clients`. Raises ``UnavailableError`` at a limit.
        """
        self._clients.add(client_id, metadata or {}, self._clock.monotonic(), owner=owner, expires=expires)
        if self.session.state is SessionState.FAILED:
            # A client that commands it may know that it works now: try at once.
            self.session.start(self._clock.monotonic())
            self._retry_now.set()
        self._update()
        self._changed()

    async def remove_client(self, client_id: str) -> None:
        """A client's command to stop. Unless something else wants the capture, it has ended on return."""
        if not self._clients.remove(client_id):
            return
        if not self.is_wanted:
            await self._stop()
        self._changed()

    def lose_client(self, client_id: str) -> None:
        """A client disconnected without a command. The capture goes on for a while, as after a viewer (rule 1)."""
        if self._clients.remove(client_id):
            self._update()
            self._changed()

    def hold(self, kind: str) -> Hold:
        """Keep the camera captured for a viewer on the transport ``kind``, until the hold is released."""
        self._holds[kind] += 1
        self._update()
        self._changed()
        return Hold(self, kind)

    def end_hold(self, kind: str) -> None:
        """End one hold. Called by :meth:`Hold.release`."""
        self._holds[kind] -= 1
        self._update()
        self._changed()

    async def wait_for_keyframe(self, timeout_s: float) -> None:
        """Return as soon as a new viewer can get a keyframe. Raises :class:`~gateway.errors.UnavailableError`."""
        deadline = self._clock.monotonic() + timeout_s
        while not self.hub.gop:
            hopeless = self._closed or not self.is_wanted or self.session.state is SessionState.FAILED
            try:
                async with asyncio.timeout(0.0 if hopeless else max(0.0, deadline - self._clock.monotonic())):
                    await self._progress.wait()
            except TimeoutError:
                why = self.session.error_message or "its first frame is not there yet"
                raise UnavailableError(f"camera {self.id} is {self.session.state}: {why}", retry_after_s=2) from None

    # --- status

    def status(self) -> CaptureStatus:
        """The camera now."""
        info = self.hub.info
        newest = self.hub.newest
        is_live = self.session.state is SessionState.LIVE
        return CaptureStatus(
            camera_id=self.id,
            state=self.session.state,
            is_active=self.session.is_active,
            rtsp_url=self.session.rtsp_url,
            error_message=self.session.error_message,
            clients=len(self._clients),
            viewers=dict(self.viewers),
            codec=info.video.codec if info else None,
            width=info.video.width if info else None,
            height=info.video.height if info else None,
            audio_codec=info.audio.codec if info and info.audio else None,
            fps=self._meter.fps if is_live else None,
            bitrate_bps=self._meter.bitrate_bps if is_live else None,
            keyframe_age_s=(
                round(self._clock.monotonic() - self._last_keyframe_s, 3) if self._last_keyframe_s is not None else None
            ),
            keyframe_interval_s=self._meter.keyframe_interval_s,
            reconnects=self.session.reconnects,
            packets_dropped=self.handover_dropped + self.hub.packets_dropped,
            live_edge=LiveEdge(time=to_rfc3339(newest.captured_at_90k)) if newest else None,
        )

    @property
    def counters(self) -> CaptureCounters:
        """What the engines of all runs counted, the present one included."""
        total = CaptureCounters()
        total.add(self._counters)
        if self._runner is not None:
            total.add(self._runner.engine.counters)
        return total

    @property
    def handover_dropped(self) -> int:
        """Packets dropped because the event loop was behind, in all runs."""
        return self._handover_dropped + (self._runner.dropped if self._runner is not None else 0)

    def set_frame_callback(self, callback: FrameCallback | None) -> None:
        """Call ``callback`` with each JPEG frame (``FRAME_RATE``, ``FRAME_WIDTH``) while the camera is captured."""
        self.session.frame_callback = callback
        if self._callback_task is not None:
            self._callback_task.cancel()
            self._callback_task = None
        if callback is not None and self._task is not None:
            self._callback_task = asyncio.create_task(self._feed_callback(callback), name=f"frames-{self.id}")

    # --- life cycle

    async def aclose(self) -> None:
        """Stop and release everything. The camera cannot be started again."""
        self._closed = True
        self._clients.clear()
        await self._stop()
        await self.jpeg.aclose()

    def _update(self) -> None:
        if self.is_wanted:
            if self._linger is not None:
                self._linger.cancel()
                self._linger = None
            if self._task is None or self._task.done():
                self.session.start(self._clock.monotonic())
                self._task = asyncio.create_task(self._drive(), name=f"capture-{self.id}")
                self.set_frame_callback(self.session.frame_callback)
                self._changed()
        elif self._task is not None and self._linger is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._linger = loop.call_later(self.settings.capture_linger, self._linger_over)

    def _linger_over(self) -> None:
        self._linger = None
        if not self.is_wanted and self._task is not None:
            self._task.cancel()

    async def _stop(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if self._task is task:
                # It was cancelled before its first step, and so has not cleaned up; see the end of _drive().
                self._task = None
                self.session.stop()
                self._update()
        if self._callback_task is not None:
            self._callback_task.cancel()
            await asyncio.wait([self._callback_task])
            self._callback_task = None

    async def _drive(self) -> None:
        """Make attempts until the capture is not wanted any more or the session gives up."""
        error: CaptureError | None = None
        try:
            while self.session.attempt_at is not None:
                await self._wait_until_due(self.session.attempt_at, error)
                self.session.attempt()
                try:
                    await self._pull()
                    error = CameraEndedError("the camera ended the stream")
                except CaptureError as raised:
                    error = raised
                self.session.lost(
                    self._clock.monotonic(),
                    str(error),
                    error.retry_after_s,
                    is_final=isinstance(error, CameraUnauthorizedError),
                )
                level = logging.ERROR if self.session.state is SessionState.FAILED else logging.WARNING
                log.log(level, "camera %s: %s: %s", self.id, self.session.state, error, extra={"camera": self.id})
                if error.__cause__ is not None:
                    log.debug("camera %s: the cause", self.id, exc_info=error.__cause__, extra={"camera": self.id})
                self._changed()
        except asyncio.CancelledError:
            self.session.stop()
            log.info("camera %s: stopped", self.id, extra={"camera": self.id})
        finally:
            self._task = None
            if self._callback_task is not None and not self.session.is_active:
                self._callback_task.cancel()
                self._callback_task = None
            self._changed()
            if self.session.state is SessionState.STOPPED:
                # A client or viewer may have come while the run was ending.
                self._update()

    async def _wait_until_due(self, attempt_at: float, error: CaptureError | None) -> None:
        self._retry_now.clear()
        port_probe = asyncio.create_task(when_reachable(error, self._retry_now.set), name=f"port-probe-{self.id}")
        try:
            # Not wait_for: Python 3.11's may swallow a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, attempt_at - self._clock.monotonic())):
                    await self._retry_now.wait()
        finally:
            port_probe.cancel()

    async def _pull(self) -> None:
        """One run, from opening to its end. Raises a :class:`~gateway.errors.CaptureError`."""
        self._run += 1
        source = CaptureSource(
            camera_id=self.id,
            url=self.settings.url.get_secret_value(),
            timeout_s=self.settings.timeout_s,
            buffer_size=self.settings.capture_buffer_size,
            run=self._run,
            check_address=self._address_check(self.id) if self._address_check is not None else None,
            check_referred=self._referred_check() if self._referred_check is not None else None,
            tls_verify=self.settings.capture_tls_verify,
            tls_ca_file=self.settings.capture_tls_ca_file,
            on_metadata=self._on_metadata if self._metadata_sinks else None,
            is_watched=self._is_watched,
        )
        runner = self._runner = engine_runner(self._engine_factory(source, self._clock), self._on_packet)
        self._last_video_s = self._clock.monotonic()
        runner.start()
        ended = asyncio.ensure_future(runner.ended())
        # Read the error: asyncio would log one that comes after the run was cancelled.
        ended.add_done_callback(lambda task: task.cancelled() or task.exception())
        limit_s = self.settings.timeout_s + ENGINE_GRACE_S
        try:
            while not ended.done():
                silent_s = self._clock.monotonic() - self._last_video_s
                if silent_s > limit_s:
                    raise CameraTimeoutError(
                        f"no frame came for {silent_s:.1f} s; check the camera, or raise CAPTURE_TIMEOUT"
                    )
                await asyncio.wait({ended}, timeout=limit_s - silent_s + 0.05)
            await ended
        finally:
            runner.interrupt()
            self._counters.add(runner.engine.counters)
            self._handover_dropped += runner.dropped
            self._runner = None
            self.hub.end_run()
            self._meter.reset()
            await asyncio.wait({ended}, timeout=THREAD_END_S)
            ended.cancel()

    def _on_metadata(self, metadata: Metadata) -> None:
        for sink in self._metadata_sinks:
            try:
                sink(metadata)
            except Exception:
                log.exception("camera %s: a sink of metadata failed", self.id, extra={"camera": self.id})

    def _on_packet(self, packet: Packet) -> None:
        if packet.is_video:
            self._last_video_s = self._clock.monotonic()
            if packet.is_keyframe:
                self._last_keyframe_s = self._last_video_s
            if log.isEnabledFor(logging.DEBUG):
                kind = "keyframe" if packet.is_keyframe else "frame"
                log.debug(
                    "camera %s: %s of %d bytes at %d",
                    self.id,
                    kind,
                    len(packet.data),
                    packet.pts_90k,
                    extra={"camera": self.id},
                )
        info_changed = packet.info is not self.hub.info and packet.info != self.hub.info
        self.hub.publish(packet)
        if self.session.state is not SessionState.LIVE and packet.is_video and packet.is_keyframe:
            self.session.first_frame(self._last_video_s)
            video = packet.info.video
            log.info(
                "camera %s: live, %s %dx%d", self.id, video.codec, video.width, video.height, extra={"camera": self.id}
            )
            info_changed = True
        if packet.is_video and packet.is_keyframe:
            self._notify()
        if info_changed:
            self._changed()

    async def _feed_callback(self, callback: FrameCallback) -> None:
        reader = self.jpeg.subscribe(self.settings.frame_rate, self.settings.frame_width)
        try:
            while True:
                frame = await reader.get()
                try:
                    result = callback(frame)
                    if asyncio.iscoroutine(result):
                        await result
                except Exception:
                    log.exception("camera %s: the frame callback failed", self.id, extra={"camera": self.id})
        finally:
            reader.close()

    def _changed(self) -> None:
        self._notify()
        self._on_change(self)

    def _notify(self) -> None:
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()


def _retry_policy(settings: CameraSettings) -> RetryPolicy:
    return RetryPolicy(
        attempts=settings.connection_retry_attempts,
        delay_s=settings.connection_retry_delay,
        persistent=settings.start is StartMode.ALWAYS or settings.record is not RecordMode.NEVER,
    )
