"""LiveStream: the live stream of a rendition, and the requests that wait for its next part.

Theory of operation. A stream is a sink of its rendition's hub, so its
:class:`~hls.live.window.LiveWindow` is fed while the camera is captured, with or without viewers: a playlist is
available at once. Requests keep the camera captured. HLS has no connection, so the camera is released ``HOLD_S`` after
the last request.

Rules:

1. One hold and one timer per rendition, whatever the number of viewers.
2. Every wait ends: after ``READY_S`` for a camera that is starting, after three target durations for a blocking reload
   or a hinted part (rfc8216bis §6.2.5.2). Then :class:`~gateway.errors.UnavailableError` is raised.
3. Requests that wait for the same thing wait together (:mod:`hls.live.waits`). The playlist is rendered once for all.
4. A playlist's target durations never change, but a camera may be reconfigured. A window without a request in
   ``RENEW_S`` is replaced when the camera's next run or stream begins, or its GOPs have become known, or
   longer than the target duration. The numbers continue.
5. While the camera is away, the playlist stands still. A player that was there before continues with it when the camera
   is back: its blocking reloads wait, and so does a plain reload, which is then answered with the playlist as it is,
   because ffmpeg ends at a 503. A new player gets the multivariant playlist when there is live video.
6. Both renditions are variants of one multivariant playlist (:mod:`hls.live.multivariant`), and each media playlist
   reports the other. That of the sub stream starts it as that of an on-demand camera does.
7. A playlist is *abandoned* when it stands still and there was no request for ``HOLD_S``. Then nobody gets it before
   there is live video, and its segments are discarded when their lifetime is over.
8. Where players are when the gateway stops, its next process goes on with the playlist (:mod:`hls.live.window_state`).
   For them it is as if the camera had been away.
9. A stream without sound has silence in its playlist where the camera's other stream has sound, so that players can
   change from one to the other. It is not added while players have the playlist: not for a minute after a request.
10. Where another node of a cluster captures the camera, there is no window: that node has it. When this node begins to
   capture it, a window with higher numbers begins.
11. The camera's recording gets the samples of the same parts, also if the playlist fails.
"""

import asyncio
from collections.abc import Callable, Hashable

from gateway.camera_settings import RenditionName
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import NegotiationError, NotFoundError, UnavailableError
from gateway.hold import Hold
from gateway.media import AudioInfo, Packet, StreamInfo
from gateway.rendition import Rendition
from hls.live.counters import LiveCounters
from hls.live.discontinuities import DiscontinuityNumbers
from hls.live.playlist import LIVE_NAME, SUB_LIVE_NAME, Rendered, Variant, rendition_report
from hls.live.waits import Waits
from hls.live.window import LiveWindow
from hls.live.window_state import WindowState
from hls.mp4.fragments import VIDEO_CODECS, refusal
from hls.parts.part import PartSamples
from hls.parts.source import RecordedParts, SamplesSink

HOLD_S = 10.0
"""Longer than a player's pause between two requests: a target duration, or a stalled connection."""

READY_S = 10.0
"""A camera needs a second to connect and a GOP for its first segment. After this long the viewer gets an error."""

RENEW_S = 60.0
"""A player without a request for a minute has ended, or will start again."""


class LiveStream:
    """One rendition's live window and its viewers; see the module."""

    def __init__(
        self,
        rendition: Rendition,
        clock: Clock = SYSTEM_CLOCK,
        numbers_90k: Callable[[], int] = lambda: 0,
        discontinuities: DiscontinuityNumbers | None = None,
        kept: WindowState | None = None,
        epoch_of: Callable[[], int] = lambda: 0,
    ) -> None:
        self.rendition = rendition
        self._epoch_of = epoch_of
        self._is_own = rendition.is_own
        self._epoch = epoch_of() if self._is_own else 0
        self.other: LiveStream | None = None
        """That of the camera's other rendition."""
        self.counters = LiveCounters()
        self._clock = clock
        self._discontinuities = discontinuities if discontinuities is not None else DiscontinuityNumbers()
        # A clock that was set back, over a restart, must not set the numbers back.
        self.window = self._new_window(max(clock.wall_90k(), numbers_90k()), state=kept)
        self._variant: Variant | None = None
        """The newest that was known."""
        self._waits = Waits()
        self._hold: Hold[Rendition] | None = None
        self._is_abandoned = False
        """Rule 7."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_s = 0.0
        self._last_request_s = self._last_playlist_s = float("-inf")
        self._run: int | None = None
        self._info: StreamInfo | None = None
        self._url = rendition.settings.url
        """That of which the newest packet is."""
        self._closed = False
        self._recorded = RecordedParts()
        if kept is not None:
            # As if there had just been a request: a player is about to make one.
            self._last_request_s = self._last_playlist_s = clock.monotonic()
            self._schedule(self._last_request_s + HOLD_S)
        self._detach = rendition.hub.attach(self._on_packet)

    @property
    def kept(self) -> WindowState | None:
        """What the next process needs to go on, where players are; ``None`` without one."""
        if self._hold is None:
            return None
        self.end_run()
        return self.window.state(self._clock.monotonic())

    @property
    def live_edge(self) -> tuple[int, int, int] | None:
        """Media sequence number, part index and time of capture (90 kHz) of the newest part."""
        return self.window.live_edge

    # --- the camera's recording, as hls.parts.source.PartSource

    def attach(self, sink: SamplesSink) -> Callable[[], None]:
        """Give ``sink``, the camera's recording, the samples of all parts from the current GOP on."""
        return self._recorded.attach(sink, self.rendition.hub.gop, self._clock.monotonic())

    def end_run(self) -> None:
        """The camera is lost: complete the open part."""
        self._recorded.end_run()
        version = self.window.version
        self.window.end_run()
        if self.window.version != version:
            self._waits.wake()

    def open_samples(self) -> PartSamples | None:
        """The frames that no part has yet."""
        return self._recorded.open_samples()

    # --- requests

    @property
    def variant(self) -> Variant | None:
        """What the stream is, or was when it was last captured; ``None`` before the first segment."""
        self._variant = self.window.variant() or self._variant
        return self._variant

    @property
    def is_outdated(self) -> bool:
        """Whether its URL was changed since it was last captured, so that :attr:`variant` is of another stream."""
        return self._url != self.rendition.settings.url

    @property
    def is_watched(self) -> bool:
        """Whether a player may have its playlist."""
        return self._clock.monotonic() - self._last_playlist_s <= RENEW_S

    @property
    def is_closed(self) -> bool:
        """Whether its camera or stream was removed."""
        return self._closed

    @property
    def refusal(self) -> str | None:
        """Why its video cannot be in a playlist; ``None``: it can, as far as known."""
        info = self.rendition.hub.info
        return refusal(info, self.rendition.label, "HLS") if info is not None else None

    def owner_changed(self) -> None:
        """This node captures the camera now, or another one does: rule 10. Requests that wait end in vain."""
        if self._is_own == self.rendition.is_own:
            return
        self._is_own = self.rendition.is_own
        if self._is_own:
            self._epoch = self._epoch_of()
        self.window, self._variant = self._new_window(self._clock.wall_90k(), after=self.window), None
        self._is_abandoned = False
        if self._is_own:
            # What is relayed until then begins the window, so that no picture lacks where the camera is handed over.
            for packet in tuple(self.rendition.hub.gop):
                self._on_packet(packet)
        self._waits.end_all()

    def request(self) -> None:
        """Keep the camera captured for a while, as a request does."""
        self._on_request()

    async def wait_until_playable(self, timeout_s: float) -> bool:
        """Wait for what a new player needs. Returns whether it is there."""
        return self.window.is_playable or await self._wait("playable", lambda: self.window.is_playable, timeout_s)

    async def media_playlist(self, msn: int | None = None, part: int | None = None, *, delta: bool = False) -> Rendered:
        """The media playlist, as soon as it has the requested part.

        Raises ``BadRequestError``, ``UnavailableError`` and ``NegotiationError``.
        """
        self._check_codec()
        self._on_request()
        self._last_playlist_s = self._last_request_s
        if self._is_abandoned or self.window.targets is None:
            await self._require("playlist", self._has_playlist, READY_S, is_first=True)
        if msn is not None:
            wanted = msn
            if not self.window.has(wanted, part):
                await self._require((wanted, part), lambda: self.window.has(wanted, part), self._blocking_timeout_s())
        elif self.window.is_stalled:
            seen = self.window, self.window.version
            await self._wait(seen, lambda: (self.window, self.window.version) != seen, self._blocking_timeout_s())
        if self.window.targets is None:  # it was replaced meanwhile, by rule 10
            raise self._unavailable()
        return self.window.media_playlist(delta=delta, report=self._report())

    async def media(self, name: str) -> bytes | memoryview:
        """An init segment, a segment or a part. A hinted part is returned when it is complete.

        Raises :class:`~gateway.errors.NotFoundError` and :class:`~gateway.errors.UnavailableError`.
        """
        self._on_request()
        data = self.window.media(name)
        if data is None and self.window.targets is not None and self.window.is_hinted(name):
            await self._require(name, lambda: not self.window.is_hinted(name), self._blocking_timeout_s())
            data = self.window.media(name)
        if data is None:
            raise NotFoundError(f"camera {self.rendition.label} has no {name}; reload the playlist")
        return data

    def _check_codec(self) -> None:
        if self.refusal is not None:
            raise NegotiationError(self.refusal, ("webrtc", "mjpeg"))

    def _has_playlist(self) -> bool:
        return self.window.targets is not None and not self._is_abandoned

    def _report(self) -> str:
        """The line that reports the other rendition's playlist."""
        edge = self.other.live_edge if self.other is not None else None
        if edge is None:
            return ""
        uri = SUB_LIVE_NAME if self.rendition.name is RenditionName.MAIN else f"../{LIVE_NAME}"
        return rendition_report(uri, edge[0], edge[1])

    def _wanted_sound(self) -> AudioInfo | None:
        """Rule 9."""
        return self.other.window.sound if self.other is not None and not self.is_watched else None

    def _target_of_other_s(self) -> int:
        """The variants of one multivariant playlist have one target duration (RFC 8216 §6.2.4)."""
        targets = self.other.window.targets if self.other is not None else None
        return targets.target_duration_s if targets is not None else 0

    # --- lifetime

    def close(self) -> None:
        """Release the camera, and fail the requests that wait."""
        self._closed = True
        self._detach()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._release()
        self._waits.end_all()

    def _new_window(
        self, wall_90k: int, after: LiveWindow | None = None, state: WindowState | None = None
    ) -> LiveWindow:
        return LiveWindow(
            wall_90k,
            first_discontinuity=self._discontinuities.first(wall_90k, self._epoch),
            after=after,
            counters=self.counters,
            least_target_s=self._target_of_other_s,
            is_heard=lambda: self._hold is not None or self._recorded.has_sink,
            sound_may_wait=lambda: self._hold is None,
            is_awaited=lambda: self._hold is not None,
            wanted_sound=self._wanted_sound,
            state=state,
            epoch=self._epoch,
        )

    def _on_packet(self, packet: Packet) -> None:
        if not self._is_own:
            return
        is_new = packet.run != self._run or (packet.info is not self._info and packet.info != self._info)
        self._run, self._info = packet.run, packet.info
        now_s = self._clock.monotonic()
        if self.is_outdated:
            self._url = self.rendition.settings.url
            if not self.is_watched:
                self.window, self._variant = self._new_window(self._clock.wall_90k(), after=self.window), None
                self._is_abandoned = False
        is_due = is_new or (packet.is_keyframe and packet.is_video and self.window.has_better_targets)
        if is_due and self.window.targets is not None and now_s - self._last_request_s > RENEW_S:
            self._variant = self.window.variant() or self._variant
            self.window = self._new_window(self._clock.wall_90k(), after=self.window)
            self._is_abandoned = False
        if packet.info.video.codec not in VIDEO_CODECS:
            return
        version = self.window.version
        try:
            self.window.feed(packet, now_s)
        finally:
            self._recorded.feed(packet, now_s, self.window.segmenter)
        if self.window.version != version:
            self._discontinuities.note(self.window.newest_discontinuity, self._epoch)
            if not self.window.is_stalled:
                self._is_abandoned = False
            self._waits.wake()

    def _on_request(self) -> None:
        now_s = self._clock.monotonic()
        is_alone = now_s >= self._last_request_s + HOLD_S
        self._last_request_s = now_s
        self.window.advance(now_s)
        if self._closed:
            return
        if self._hold is None:
            self._is_abandoned = is_alone and self.window.targets is not None and self.window.is_stalled
            self._hold = self.rendition.hold("hls")
        self._schedule(now_s + HOLD_S)

    def _schedule(self, due_s: float) -> None:
        """Call :meth:`_on_timer` at ``due_s`` at the latest. It finds out itself what is due."""
        if self._timer is not None:
            if self._timer_due_s <= due_s:
                return
            self._timer.cancel()
        delay_s = max(0.0, due_s - self._clock.monotonic())
        self._timer_due_s = due_s
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now_s = self._clock.monotonic()
        self.window.advance(now_s)
        self._waits.end_overdue(now_s)
        if self._waits:
            self._last_request_s = now_s
            self._schedule(min(now_s + HOLD_S, *self._waits.deadlines_s))
        elif now_s < self._last_request_s + HOLD_S:
            self._schedule(self._last_request_s + HOLD_S)
        else:
            self._release()
            if self.window.is_stalled and now_s > self._last_request_s + self.window.lifetime_s:
                self.window.clear()
            else:
                self._schedule(now_s + RENEW_S)

    def _release(self) -> None:
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.release()

    def _blocking_timeout_s(self) -> float:
        """Three target durations (§6.2.5.2)."""
        assert self.window.targets is not None
        return 3.0 * self.window.targets.target_duration_s

    async def _wait(self, what: Hashable, is_ready: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until ``is_ready``; whether it is. ``what`` is the same for requests with the same condition."""
        if self._closed:
            return False
        deadline_s = self._clock.monotonic() + timeout_s
        self._schedule(deadline_s)
        try:
            return await self._waits.wait(what, is_ready, deadline_s)
        finally:
            self._last_request_s = self._clock.monotonic()

    async def _require(
        self, what: Hashable, is_ready: Callable[[], bool], timeout_s: float, *, is_first: bool = False
    ) -> None:
        """Wait until ``is_ready``. Raises :class:`~gateway.errors.UnavailableError` after ``timeout_s``.

        A new player's request (``is_first``) fails at once if the camera has failed.
        """
        is_hopeless = is_first and self.rendition.is_hopeless
        if is_hopeless or not await self._wait(what, is_ready, timeout_s):
            raise self._unavailable()

    def _unavailable(self) -> UnavailableError:
        session = self.rendition.session
        why = f": {self.rendition.error_message}" if self.rendition.error_message else ""
        return UnavailableError(
            f"camera {self.rendition.label} is {session.state} and has no video at present{why}", retry_after_s=2
        )
