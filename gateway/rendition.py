"""Rendition: one stream of a camera, its capture and its viewers.

Theory of operation. A camera has a main stream and may have a sub stream, smaller, of the same picture. Each is a
rendition with a connection, packets, state and viewers of its own. A *viewer* holds a rendition while it watches
(:meth:`Rendition.hold`). While there is a hold, a command, or a setting that says "always", one task drives the
:class:`~gateway.session.CaptureSession` (:mod:`gateway.capture_task`): it makes an attempt when one is due. The packets
of each run are published to the :class:`~gateway.hub.PacketHub`.

Rules:

1. After the last viewer has left, the capture goes on for ``CAPTURE_LINGER`` seconds, since most viewers come back.
2. A viewer that has another stream and waits for this one keeps it captured too, but begins no attempt before that is
   due: a camera that refuses credentials must not be asked again and again.
3. No error leaves this object: it becomes the session's state and error message.
4. A paused camera is captured for nobody. Viewers, commands and settings stay as they are, and count again when it is
   resumed.
5. What another node of a cluster captures is relayed from there, for viewers and commands only. Where that node is
   lost, or this one captures the camera now, viewers stay and go on with the next run. Where the camera is handed over,
   the next run takes over (:mod:`gateway.take_over`), if it can be at the same picture: nothing lacks.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from gateway.camera_links import CameraLinks
from gateway.camera_settings import CameraSettings, RecordMode, RenditionName, StartMode
from gateway.capture.engine import CaptureSource, EngineFactory
from gateway.capture.publish_point import PublishPoint
from gateway.capture_attempts import CaptureAttempts, retry_policy
from gateway.capture_runs import CaptureRuns
from gateway.capture_task import CaptureTask
from gateway.clock import Clock
from gateway.config.field import Applies, names_changed
from gateway.errors import CaptureError, UnavailableError
from gateway.hold import Hold
from gateway.hub import PacketHub
from gateway.jpeg.feed import JpegFeed
from gateway.media import Packet
from gateway.relay import RELAY_POLICY
from gateway.session import CaptureSession, SessionState
from gateway.stall_timer import StallTimer
from gateway.status import StreamStatus
from gateway.stream_meter import StreamMeter
from gateway.stream_status import stream_status
from gateway.take_over import TakeOver

log = logging.getLogger(__name__)

_LIVE = SessionState.LIVE
"""For code that runs for each packet: Python 3.11 needs 0.3 µs to find a member of an enumeration by its name."""

UNDECODABLE = (
    "the camera sends video, but its pictures cannot be decoded any more, so that there are no JPEG frames: restart the"
    " camera, or set another codec or profile in it"
)

PAUSED_CODE, UNDECODABLE_CODE = "paused", "undecodable"

PAUSED = "it is paused: resume it on the page, or PATCH it with paused = false"


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
        self.jpeg = JpegFeed(self.hub, camera_id, clock, self._changed)
        self.session = CaptureSession(settings.public_url, retry_policy(settings))
        self.runs = CaptureRuns(clock, self._on_packet, self._on_run_end, lambda: self.hub.gop)
        self.publish_point = PublishPoint(self._on_publisher)
        self._engine_factory = engine_factory
        self._clock = clock
        self._links = links
        self._meter = StreamMeter()
        self.hub.attach(self._meter.on_packet)
        self._holds: Counter[str] = Counter()
        self._progress = asyncio.Event()
        """Set, and replaced, on each change that :meth:`wait_for_keyframe` waits for."""
        self._attempts = CaptureAttempts(
            camera_id, self.label, self.session, self.runs, clock, lambda: self._holds.total() > 0
        )
        self._stalls = StallTimer(clock, self._on_silent)
        self._last_keyframe_s: float | None = None
        self._last_bitrate_bps: int | None = None
        self._always = False
        self._take_over = TakeOver(
            camera_id, self.label, self.runs, links.relay, self._source, lambda: self._engine_factory
        )
        self._capture = CaptureTask(
            camera_id,
            self.label,
            self.session,
            clock,
            is_wanted=lambda: self.is_wanted,
            linger_s=lambda: self.settings.capture_linger,
            attempt=lambda: self._attempts.run(self._source, self._take_over.next_engine, self._on_lost),
            on_change=self._changed,
            on_stop=self._stalls.stopped,
        )

    # --- viewers

    @property
    def is_wanted(self) -> bool:
        """Whether a command, a viewer or a setting wants this rendition captured."""
        is_asked_for = self._links.is_commanded() or self._holds.total() > 0 or (self._always and self.is_own)
        return is_asked_for and not self.is_closed and not self.settings.paused

    @property
    def is_own(self) -> bool:
        """Whether this process captures it, and not another node of a cluster (rule 5)."""
        return self._links.relay() is None

    @property
    def is_closed(self) -> bool:
        """Whether it was removed."""
        return self._capture.is_closed

    @property
    def is_hopeless(self) -> bool:
        """Whether a new viewer need not wait for it: it was removed, is paused, or failed."""
        return self.is_closed or self.settings.paused or self.session.state is SessionState.FAILED

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

        An empty ``kind`` is for what counts as no viewer: one that watches another rendition, and waits for this one
        (rule 2).
        """
        self._holds[kind] += 1
        if kind and not self.session.policy.persistent:
            self.try_again()
        self.update(is_asked=bool(kind))
        self._changed()
        return Hold(self, kind)

    def end_hold(self, kind: str) -> None:
        """End one hold. Called by :meth:`Hold.release`."""
        self._holds[kind] -= 1
        self.update()
        self._changed()

    @property
    def is_lost(self) -> bool:
        """Whether it gives nothing to those who want it: it is paused, or its connection has failed."""
        return self.settings.paused or self.session.state in (SessionState.RETRYING, SessionState.FAILED)

    @property
    def has_pictures(self) -> bool:
        """Whether it sends pictures now. Also while a GOP is too large to be kept for new viewers."""
        is_there = bool(self.hub.gop) or self.session.state is SessionState.LIVE
        return is_there and not self._stalls.is_silent

    @property
    def has_own_pictures(self) -> bool:
        """Whether it sends pictures now that come from the camera itself, and not from another node."""
        return self.has_pictures and self.runs.is_running and self._take_over.is_of_camera

    @property
    def is_steady(self) -> bool:
        """Whether it has pictures, and was not interrupted a moment ago: see :mod:`gateway.stall_watch`."""
        return self.has_pictures and self._stalls.is_steady

    @property
    def stalls(self) -> int:
        """How often pictures stayed out while the connection was there. Never decreases."""
        return self._stalls.stalls

    async def wait_for_keyframe(self, timeout_s: float) -> None:
        """Return as soon as a new viewer can get a keyframe. Raises :class:`~gateway.errors.UnavailableError`."""
        deadline = self._clock.monotonic() + timeout_s
        while not self.hub.gop:
            try:
                hopeless = self.is_hopeless or not self.is_wanted
                async with asyncio.timeout(0.0 if hopeless else max(0.0, deadline - self._clock.monotonic())):
                    await self._progress.wait()
            except TimeoutError:
                why = self.error_message or "its first frame is not there yet"
                raise UnavailableError(f"camera {self.label} is {self.session.state}: {why}", retry_after_s=2) from None

    # --- status

    @property
    def error_message(self) -> str | None:
        """Why there is no video, as a sentence; ``None`` while there is, and while the camera is just connecting."""
        if self.session.state is SessionState.LIVE:
            return UNDECODABLE if self.jpeg.has_fault else None
        if self.settings.paused:
            return PAUSED
        return self.runs.problem or self.session.error_message

    @property
    def error_code(self) -> str | None:
        """``error_message`` for programs."""
        if self.error_message is None:
            return None
        if self.session.state is SessionState.LIVE:
            return UNDECODABLE_CODE
        if self.settings.paused:
            return PAUSED_CODE
        return CaptureError.code if self.runs.problem else self.session.error_code

    def status(self) -> StreamStatus:
        """The stream now."""
        return stream_status(
            self.session,
            self.runs,
            self.hub,
            self._meter,
            self._clock,
            viewers=dict(self.viewers),
            error_message=self.error_message,
            error_code=self.error_code,
            last_keyframe_s=self._last_keyframe_s,
        )

    # --- life cycle

    def begin(self) -> None:
        """Apply the settings: a rendition that is always on, or always recorded, is captured from now on."""
        self._always = self.settings.start is StartMode.ALWAYS or self.settings.record is RecordMode.ALWAYS
        self.update()

    def reconfigure(self, settings: CameraSettings, engine_factory: EngineFactory) -> None:
        """Continue with other settings. Viewers stay. A new run begins only where a setting requires it."""
        before, self.settings = self.settings, settings
        self._engine_factory = engine_factory
        self._set_policy()
        if names_changed(before, settings, Applies.RUN):
            self._capture.restart()
        self.begin()
        self._changed()

    def update(self, *, is_asked: bool = True) -> None:
        """Start the capture if it is wanted and does not run; let it end after the linger if it is not wanted.

        If it ``is_asked`` for, it is tried at once, else when an attempt is due (rule 2).
        """
        self._capture.update(is_asked=is_asked)

    def try_again(self) -> None:
        """Make an attempt at once where the capture has failed: it may work now."""
        if self.session.state is SessionState.FAILED:
            self.session.start(self._clock.monotonic())
            self._attempts.now()

    async def owner_changed(self) -> None:
        """Another node captures the camera now, or this one does, or does no more (rule 5)."""
        self._set_policy()
        if not self.is_wanted:
            await self.stop()
            return
        self._take_over.owner_changed(is_live=self.session.state is SessionState.LIVE)
        if self.session.state is not SessionState.LIVE or not self.runs.is_running:
            self.try_again()
            self._attempts.now()
        self.update()

    def _set_policy(self) -> None:
        policy = retry_policy(self.settings) if self.is_own else RELAY_POLICY
        self.session.reconfigure(self.settings.public_url, policy)

    async def stop(self) -> None:
        """End the capture now, without the linger. Returns when it has ended."""
        self._take_over.cancel()
        await self._capture.stop()

    async def aclose(self) -> None:
        """Stop and release everything. The rendition cannot be started again."""
        self._take_over.cancel()
        await self._capture.aclose()
        self._stalls.close()
        await self.jpeg.aclose()

    def _on_lost(self) -> None:
        self._stalls.lost(self._clock.monotonic())
        self._changed()

    def _on_silent(self) -> None:
        log.warning("camera %s: sends no pictures at present", self.label, extra={"camera": self.camera_id})
        self._changed()

    def _on_publisher(self) -> None:
        """A program publishes it: there is something to capture now."""
        self.try_again()
        self._attempts.now()

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
            on_keyframe_wanted=self._links.on_keyframe_wanted,
            is_watched=self._is_watched,
            publish_point=self.publish_point,
        )

    def back_channel_source(self) -> CaptureSource:
        """Where a voice for the camera goes: to ``talk_url``, or else to where the camera is pulled from."""
        source, talk_url = self._source(0), self.settings.talk_url
        if talk_url is None:
            return source
        return replace(source, url=talk_url.get_secret_value(), check_address=self._links.check_referred())

    def _is_watched(self) -> bool:
        """Whether a viewer, a reader of pictures or the first picture waits for the next frame."""
        return self.session.state is not _LIVE or self._holds.total() > 0 or self.jpeg.is_decoding

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
        if self.session.state is not _LIVE and packet.is_video and packet.is_keyframe:
            self.session.first_frame(self.runs.last_video_s)
            video = packet.info.video
            extra = {"camera": self.camera_id}
            log.info("camera %s: live, %s %dx%d", self.label, video.codec, video.width, video.height, extra=extra)
            info_changed = True
        if packet.is_video:
            if packet.is_keyframe:
                self._notify()
            info_changed |= self._stalls.picture(self.runs.last_video_s)
        if info_changed:
            self._changed()

    def _changed(self) -> None:
        self._notify()
        self._links.on_change()

    def _notify(self) -> None:
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()
