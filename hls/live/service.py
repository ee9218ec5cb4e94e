"""LiveService: the live windows of all cameras, and what their viewers wait for.

Theory of operation. Each camera has one :class:`LiveStream`. It is a sink of the camera's hub, so that its
:class:`~hls.live.window.LiveWindow` is fed while the camera is captured, watched or not: a playlist is there at once. A
viewer's requests keep the camera captured; HLS has no connection, so a camera is let go ``HOLD_S`` after the last one.

Rules:

1. One hold and one timer a camera, however many watch. Silence is worked out when somebody asks, and while somebody
   waits by that same timer.
2. Every wait has an end: ``READY_S`` for a camera that is coming up, three target durations for a blocking reload or a
   hinted part (rfc8216bis §6.2.5.2), then :class:`~gateway.errors.UnavailableError`.
3. A change wakes all who wait, each to look for itself; what they then get is rendered once.
4. The plan of a playlist is for life, and a camera may be set up anew. A window that nobody has asked for in
   ``RENEW_S`` is replaced when the camera's next run or stream begins, or its GOPs outgrew the target duration; its
   numbers go on.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from gateway.camera import Camera, Hold
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import NotFoundError, UnavailableError
from gateway.media import Packet, StreamInfo
from gateway.service import CaptureService
from gateway.session import SessionState
from hls.live.playlist import Rendered
from hls.live.window import LiveWindow

HOLD_S = 10.0
"""Longer than a player's pause between two requests: a target duration, or a stalled connection."""

READY_S = 10.0
"""A camera takes a second to open and a GOP to have a segment; longer, and the viewer had better be told."""

RENEW_S = 60.0
"""A player that has not asked for a minute has ended, or begins anew."""

T = TypeVar("T")


class LiveStream:
    """One camera's live window and its viewers; see the module."""

    def __init__(self, camera: Camera, clock: Clock = SYSTEM_CLOCK) -> None:
        self.camera = camera
        self.live = LiveWindow(clock.wall_90k())
        self._clock = clock
        self._waiters: set[asyncio.Future[None]] = set()
        self._hold: Hold | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._asked_at_s = float("-inf")
        self._run: int | None = None
        self._info: StreamInfo | None = None
        self._closed = False
        self._detach = camera.hub.attach(self._on_packet)

    @property
    def live_edge(self) -> tuple[int, int, int] | None:
        """Media sequence number, part index and time of capture (90 kHz) of the newest part."""
        return self.live.live_edge

    # --- what viewers ask for

    async def multivariant_playlist(self) -> Rendered:
        """The entry. Raises :class:`~gateway.errors.UnavailableError` if the camera has no pictures soon."""
        await self._until(lambda: self.live.is_playable or None, READY_S, is_entry=True)
        return self.live.multivariant_playlist()

    async def media_playlist(self, msn: int | None = None, part: int | None = None, *, delta: bool = False) -> Rendered:
        """The playlist, as soon as it has what is asked for.

        Raises :class:`~gateway.errors.BadRequestError` and :class:`~gateway.errors.UnavailableError`.
        """
        if self.live.plan is None:
            await self._until(lambda: self.live.plan, READY_S, is_entry=True)
        assert self.live.plan is not None
        if msn is not None:
            wanted = msn
            await self._until(
                lambda: self.live.has(wanted, part) or None, self._patience_s(self.live.plan.target_duration_s)
            )
        else:
            self._touch()
        return self.live.media_playlist(delta=delta)

    async def media(self, name: str) -> bytes | memoryview:
        """An init segment, a segment or a part; a hinted part when it is whole.

        Raises :class:`~gateway.errors.NotFoundError` and :class:`~gateway.errors.UnavailableError`.
        """
        data = self.live.media(name)
        if data is not None:
            self._touch()
            return data
        if self.live.plan is not None and self.live.is_hinted(name):
            await self._until(
                lambda: None if self.live.is_hinted(name) else True, self._patience_s(self.live.plan.target_duration_s)
            )
            data = self.live.media(name)
        if data is None:
            raise NotFoundError(f"camera {self.camera.id} has no {name}; reload the playlist for what there is")
        return data

    # --- its life

    def close(self) -> None:
        """Let go of the camera, and send everybody who waits away."""
        self._closed = True
        self._detach()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._release()
        self._wake()

    def _on_packet(self, packet: Packet) -> None:
        is_new = packet.run != self._run or (packet.info is not self._info and packet.info != self._info)
        self._run, self._info = packet.run, packet.info
        now_s = self._clock.monotonic()
        is_due = is_new or (packet.is_keyframe and packet.is_video and self.live.is_outgrown)
        if is_due and self.live.plan is not None and now_s - self._asked_at_s > RENEW_S:
            self.live = LiveWindow(self._clock.wall_90k(), after=self.live)
        version = self.live.version
        self.live.feed(packet, now_s)
        if self.live.version != version:
            self._wake()

    def _touch(self) -> None:
        """A viewer was here."""
        self._asked_at_s = self._clock.monotonic()
        version = self.live.version
        self.live.advance(self._asked_at_s)
        if self.live.version != version:
            self._wake()
        if self._hold is None and not self._closed:
            self._hold = self.camera.hold("hls")
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now_s = self._clock.monotonic()
        due_s = self._asked_at_s + HOLD_S
        if self._waiters:
            due_s = min(self.live.due_s, now_s + HOLD_S)
        self._timer = asyncio.get_running_loop().call_later(max(0.0, due_s - now_s), self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        now_s = self._clock.monotonic()
        if self._waiters:
            self._asked_at_s = now_s
            version = self.live.version
            self.live.advance(now_s)
            if self.live.version != version:
                self._wake()
            self._schedule()
        elif now_s >= self._asked_at_s + HOLD_S:
            self._release()
        else:
            self._schedule()

    def _release(self) -> None:
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.release()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _patience_s(self, target_duration_s: int) -> float:
        return 3.0 * target_duration_s

    async def _until(self, look: Callable[[], T | None], timeout_s: float, *, is_entry: bool = False) -> T:
        """Wait until ``look`` finds something.

        Whoever enters is told of a camera that has failed; whoever is in goes on with gaps, and so sees it come back.
        """
        self._touch()
        loop = asyncio.get_running_loop()
        deadline_s = self._clock.monotonic() + timeout_s
        while (found := look()) is None:
            remaining_s = deadline_s - self._clock.monotonic()
            has_failed = is_entry and self.live.is_silent and self.camera.session.state is SessionState.FAILED
            if self._closed or remaining_s <= 0 or has_failed:
                status = self.camera.status()
                why = f": {status.error_message}" if status.error_message else ""
                raise UnavailableError(
                    f"camera {self.camera.id} is {status.state} and has no pictures at present{why}", retry_after_s=2
                )
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiters.add(waiter)
            if len(self._waiters) == 1:
                self._schedule()
            try:
                await asyncio.wait({waiter}, timeout=remaining_s)
            finally:
                self._waiters.discard(waiter)
                waiter.cancel()
        self._touch()
        return found


class LiveService:
    """The windows of all cameras, by id."""

    def __init__(self, service: CaptureService, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._service = service
        self._clock = clock
        self._windows: dict[str, LiveStream] = {}

    def open(self, camera: Camera) -> LiveStream:
        """Begin to keep a window of ``camera``."""
        window = self._windows[camera.id] = LiveStream(camera, self._clock)
        return window

    def window(self, camera_id: str) -> LiveStream:
        """A camera's window. Raises :class:`~gateway.errors.NotFoundError`."""
        window = self._windows.get(camera_id)
        if window is None:
            # The service knows how to say what there is instead.
            window = self.open(self._service.camera(camera_id))
        return window

    async def forget(self, camera_id: str) -> None:
        """End the window of a camera that was removed."""
        window = self._windows.pop(camera_id, None)
        if window is not None:
            window.close()

    async def close(self) -> None:
        """End all windows."""
        for camera_id in tuple(self._windows):
            await self.forget(camera_id)
