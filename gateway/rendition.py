"""Rendition: one stream of a camera, its capture and its viewers.

Theory of operation. A camera has a main stream and may have a sub stream, smaller, of the same picture. Each is a
rendition with a connection, packets, state and viewers of its own. A *viewer* holds a rendition while it watches
(:meth:`Rendition.hold`). While there is a hold, a command, or a setting that says "always", one task drives the
:class:`~gateway.session.CaptureSession`: it makes an attempt when one is due, and publishes the run's packets to the
:class:`~gateway.hub.PacketHub`.

Rules:

1. After the last viewer has left, the capture goes on for ``CAPTURE_LINGER`` seconds, since most viewers come back.
2. No error leaves this object: it becomes the session's state and error message.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from gateway.camera_settings import CameraSettings, RecordMode, RenditionName, StartMode
from gateway.capture.engine import CaptureSource, CheckAddress, EngineFactory
from gateway.capture_runs import CaptureRuns
from gateway.clock import CLOCK_RATE, Clock, to_rfc3339
from gateway.config.field import Applies, names_changed
from gateway.errors import CameraEndedError, CameraUnauthorizedError, CaptureError, UnavailableError
from gateway.hub import PacketHub
from gateway.jpeg.feed import JpegFeed
from gateway.jpeg.frame_bytes import FrameBytes
from gateway.media import Metadata, Packet
from gateway.port_probe import when_reachable
from gateway.session import CaptureSession, FrameCallback, RetryPolicy, SessionState
from gateway.status import StreamMeter, StreamStatus

log = logging.getLogger(__name__)


class _Holdable(Protocol):
    def end_hold(self, kind: str) -> None: ...


Held = TypeVar("Held", bound=_Holdable)


class Hold(Generic[Held]):
    """Keeps a rendition captured, or a transcode going, for one viewer, until it is released. Twice is harmless."""

    def __init__(self, rendition: Held, kind: str) -> None:
        self.rendition = rendition
        self.kind = kind
        self._is_released = False

    def release(self) -> None:
        """The viewer left."""
        if not self._is_released:
            self._is_released = True
            self.rendition.end_hold(self.kind)


@dataclass(frozen=True, slots=True)
class CameraLinks:
    """What a rendition needs of its camera. All functions are called on the event loop and must not block.

    ``is_commanded`` tells whether a client has commanded the capture. ``on_change`` is called on each change of the
    state or the stream. ``check_address`` and ``check_referred`` are called at the beginning of each run, and return
    the checks of :class:`~gateway.capture.engine.CaptureSource`. ``metadata_sink`` returns the one for the next run.
    """

    is_commanded: Callable[[], bool]
    on_change: Callable[[], None]
    check_address: Callable[[], CheckAddress | None]
    check_referred: Callable[[], CheckAddress | None]
    metadata_sink: Callable[[], Callable[[Metadata], None] | None]


class Rendition:
    """See the module. Lives on the event loop; made and closed by :class:`~gateway.camera.Camera`."""

    def __init__(
        self,
        camera_id: str,
        name: RenditionName,
        settings: CameraSettings,
        engine_factory: EngineFactory,
        clock: Clock,
        links: CameraLinks,
    ) -> None:
        self.camera_id = camera_id
        self.name = name
        self.label = camera_id if name is RenditionName.MAIN else f"{camera_id} (sub stream)"
        """For messages."""
        self.settings = settings
        self.hub = PacketHub(camera_id)
        self.jpeg = JpegFeed(self.hub, camera_id, clock)
        self.session = CaptureSession(settings.public_url, _retry_policy(settings))
        self.runs = CaptureRuns(clock, self._on_packet, self._on_run_end)
        self._engine_factory = engine_factory
        self._clock = clock
        self._links = links
        self._meter = StreamMeter()
        self.hub.attach(self._meter.on_packet)
        self._holds: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._callback_task: asyncio.Task[None] | None = None
        self._progress = asyncio.Event()
        """Set, and replaced, on each change that :meth:`wait_for_keyframe` waits for."""
        self._retry_now = asyncio.Event()
        self._last_keyframe_s: float | None = None
        self._last_bitrate_bps: int | None = None
        self._always = False
        self._closed = False
        self._is_cancelled = False

    # --- viewers

    @property
    def is_wanted(self) -> bool:
        """Whether a command, a viewer or a setting wants this rendition captured."""
        return not self._closed and (self._always or self._links.is_commanded() or self._holds.total() > 0)

    @property
    def is_closed(self) -> bool:
        """Whether it was removed."""
        return self._closed

    @property
    def viewers(self) -> Mapping[str, int]:
        """How many viewers there are, by transport."""
        return {kind: count for kind, count in sorted(self._holds.items()) if count and kind}

    @property
    def bitrate_bps(self) -> int | None:
        """The measured bitrate, or that of the last run while there is none; ``None``: it was never measured."""
        return self._meter.bitrate_bps or self._last_bitrate_bps

    def hold(self, kind: str) -> "Hold[Rendition]":
        """Keep the rendition captured for a viewer on the transport ``kind``, until the hold is released.

        An empty ``kind`` is for what counts as no viewer: one that watches another rendition, and waits for this one.
        """
        self._holds[kind] += 1
        if not self.session.policy.persistent:
            self.try_again()
        self.update()
        self._changed()
        return Hold(self, kind)

    def end_hold(self, kind: str) -> None:
        """End one hold. Called by :meth:`Hold.release`."""
        self._holds[kind] -= 1
        self.update()
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
                why = self.error_message or "its first frame is not there yet"
                raise UnavailableError(f"camera {self.label} is {self.session.state}: {why}", retry_after_s=2) from None

    # --- status

    @property
    def error_message(self) -> str | None:
        """Why there is no video, as a sentence; ``None`` while the camera is live, and while it is just connecting."""
        if self.session.state is SessionState.LIVE:
            return None
        return self.runs.problem or self.session.error_message

    def status(self) -> StreamStatus:
        """The stream now."""
        info = self.hub.info
        is_live = self.session.state is SessionState.LIVE
        return StreamStatus(
            state=self.session.state,
            is_active=self.session.is_active,
            rtsp_url=self.session.rtsp_url,
            error_message=self.error_message,
            down_since=self._down_since(),
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
            packets_dropped=self.runs.handover_dropped + self.hub.packets_dropped,
        )

    def _down_since(self) -> str | None:
        since_s = self.session.down_since_s
        if since_s is None:
            return None
        return to_rfc3339(self._clock.wall_90k() - round((self._clock.monotonic() - since_s) * CLOCK_RATE))

    def set_frame_callback(self, callback: FrameCallback | None) -> None:
        """Call ``callback`` with each JPEG frame (``FRAME_RATE``, ``FRAME_WIDTH``) while this is captured."""
        self.session.frame_callback = callback
        if self._callback_task is not None:
            self._callback_task.cancel()
            self._callback_task = None
        if callback is not None and self._task is not None:
            self._callback_task = asyncio.create_task(self._feed_callback(callback), name=f"frames-{self.camera_id}")

    # --- life cycle

    def begin(self) -> None:
        """Apply the settings: a rendition that is always on, or always recorded, is captured from now on."""
        self._always = self.settings.start is StartMode.ALWAYS or self.settings.record is RecordMode.ALWAYS
        self.update()

    def reconfigure(self, settings: CameraSettings, engine_factory: EngineFactory) -> None:
        """Continue with other settings. Viewers stay. A new run begins only where a setting requires it."""
        before, self.settings = self.settings, settings
        self._engine_factory = engine_factory
        self.session.reconfigure(settings.public_url, _retry_policy(settings))
        if names_changed(before, settings, Applies.RUN):
            if self._task is not None:
                log.info("camera %s: restarts with other settings", self.label, extra={"camera": self.camera_id})
                # A task that has not run yet never reaches its own call of update() at its end.
                self._task.add_done_callback(lambda _: self.update())
                self._cancel(self._task)
            else:
                # What had failed may work with these settings.
                self.session.stop()
        if (before.frame_rate, before.frame_width) != (settings.frame_rate, settings.frame_width):
            self.set_frame_callback(self.session.frame_callback)
        self.begin()
        self._changed()

    def update(self) -> None:
        """Start the capture if it is wanted and does not run; let it end after the linger if it is not wanted."""
        if self.is_wanted:
            self._cancel_linger()
            if self._task is None or self._task.done():
                self.session.start(self._clock.monotonic())
                self._is_cancelled = False
                self._task = asyncio.create_task(self._drive(), name=f"capture-{self.camera_id}")
                self.set_frame_callback(self.session.frame_callback)
                self._changed()
        elif self._task is not None and self._linger is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._linger = loop.call_later(self.settings.capture_linger, self._linger_over)

    def try_again(self) -> None:
        """Make an attempt at once where the capture has failed: it may work now."""
        if self.session.state is SessionState.FAILED:
            self.session.start(self._clock.monotonic())
            self._retry_now.set()

    async def stop(self) -> None:
        """End the capture now, without the linger. Returns when it has ended."""
        self._cancel_linger()
        task = self._task
        if task is not None:
            self._cancel(task)
            await asyncio.wait([task])
            if self._task is task:
                # It was cancelled before its first step, and so has not cleaned up; see the end of _drive().
                self._task = None
                self.session.stop()
                self.update()
        if self._callback_task is not None:
            self._callback_task.cancel()
            await asyncio.wait([self._callback_task])
            self._callback_task = None

    async def aclose(self) -> None:
        """Stop and release everything. The rendition cannot be started again."""
        self._closed = True
        await self.stop()
        await self.jpeg.aclose()

    def _cancel_linger(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    def _linger_over(self) -> None:
        self._linger = None
        if not self.is_wanted and self._task is not None:
            self._cancel(self._task)

    def _cancel(self, task: "asyncio.Task[None]") -> None:
        self._is_cancelled = True
        task.cancel()

    async def _drive(self) -> None:
        """Make attempts until the capture is not wanted any more or the session gives up."""
        error: CaptureError | None = None
        try:
            while self.session.attempt_at is not None:
                await self._wait_until_due(self.session.attempt_at, error)
                self.session.attempt()
                try:
                    await self.runs.pull(self._source, self._engine_factory)
                    error = CameraEndedError("the camera ended the stream")
                except CaptureError as raised:
                    error = raised
                self.session.lost(
                    self._clock.monotonic(),
                    str(error),
                    error.retry_after_s,
                    is_final=isinstance(error, CameraUnauthorizedError),
                    is_watched=self._holds.total() > 0,
                )
                level = logging.ERROR if self.session.state is SessionState.FAILED else logging.WARNING
                extra = {"camera": self.camera_id}
                log.log(level, "camera %s: %s: %s", self.label, self.session.state, error, extra=extra)
                if error.__cause__ is not None:
                    log.debug("camera %s: the cause", self.label, exc_info=error.__cause__, extra=extra)
                self._changed()
        except asyncio.CancelledError:
            # Not by this class: the event loop ends, and takes no new tasks.
            self._closed = self._closed or not self._is_cancelled
            self.session.stop()
            log.info("camera %s: stopped", self.label, extra={"camera": self.camera_id})
        finally:
            self._task = None
            if self._callback_task is not None and not self.session.is_active:
                self._callback_task.cancel()
                self._callback_task = None
            self._changed()
            if self.session.state is SessionState.STOPPED:
                # A client or viewer may have come while the run was ending.
                self.update()

    async def _wait_until_due(self, attempt_at: float, error: CaptureError | None) -> None:
        self._retry_now.clear()
        name = f"port-probe-{self.camera_id}"
        port_probe = asyncio.create_task(when_reachable(error, self._retry_now.set), name=name)
        try:
            # Not wait_for: Python 3.11's may swallow a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, attempt_at - self._clock.monotonic())):
                    await self._retry_now.wait()
        finally:
            port_probe.cancel()

    def _source(self, run: int) -> CaptureSource:
        return CaptureSource(
            camera_id=self.camera_id,
            url=self.settings.url.get_secret_value(),
            timeout_s=self.settings.timeout_s,
            buffer_size=self.settings.capture_buffer_size,
            run=run,
            check_address=self._links.check_address(),
            check_referred=self._links.check_referred(),
            tls_verify=self.settings.capture_tls_verify,
            tls_ca_file=self.settings.capture_tls_ca_file,
            on_metadata=self._links.metadata_sink(),
            is_watched=self._is_watched,
        )

    def _is_watched(self) -> bool:
        """Whether a viewer, a frame callback or the first picture waits for the next frame."""
        is_live = self.session.state is SessionState.LIVE
        return not is_live or self._holds.total() > 0 or self.session.frame_callback is not None

    def _on_run_end(self) -> None:
        self.hub.end_run()
        self._last_bitrate_bps = self.bitrate_bps
        self._meter.reset()

    def _on_packet(self, packet: Packet) -> None:
        if packet.is_video:
            if packet.is_keyframe:
                self._last_keyframe_s = self.runs.last_video_s
            if log.isEnabledFor(logging.DEBUG):
                kind = "keyframe" if packet.is_keyframe else "frame"
                log.debug(
                    "camera %s: %s of %d bytes at %d",
                    self.label,
                    kind,
                    len(packet.data),
                    packet.pts_90k,
                    extra={"camera": self.camera_id},
                )
        info_changed = packet.info is not self.hub.info and packet.info != self.hub.info
        self.hub.publish(packet)
        if self.session.state is not SessionState.LIVE and packet.is_video and packet.is_keyframe:
            self.session.first_frame(self.runs.last_video_s)
            video = packet.info.video
            extra = {"camera": self.camera_id}
            log.info("camera %s: live, %s %dx%d", self.label, video.codec, video.width, video.height, extra=extra)
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
                    result = callback(FrameBytes(frame))
                    if asyncio.iscoroutine(result):
                        await result
                except Exception:
                    extra = {"camera": self.camera_id}
                    log.exception("camera %s: the frame callback failed", self.camera_id, extra=extra)
        finally:
            reader.close()

    def _changed(self) -> None:
        self._notify()
        self._links.on_change()

    def _notify(self) -> None:
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()


def _retry_policy(settings: CameraSettings) -> RetryPolicy:
    return RetryPolicy(
        attempts=settings.connection_retry_attempts,
        delay_s=settings.connection_retry_delay,
        persistent=settings.start is StartMode.ALWAYS or settings.record is not RecordMode.NEVER,
    )
