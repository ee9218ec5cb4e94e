"""LiveService: the live streams of all cameras, and the requests that wait for their next part.

Theory of operation. Each camera has one :class:`LiveStream`. It is a sink of the camera's hub, so its
:class:`~hls.live.window.LiveWindow` is fed while the camera is captured, with or without viewers: a playlist is
available at once. Requests keep the camera captured. HLS has no connection, so the camera is released ``HOLD_S`` after
the last request.

Rules:

1. One hold and one timer per camera, whatever the number of viewers. Gaps are computed on request, and by the timer
   while a request waits.
2. Every wait ends: after ``READY_S`` for a camera that is starting, after three target durations for a blocking reload
   or a hinted part (rfc8216bis §6.2.5.2). Then :class:`~gateway.errors.UnavailableError` is raised.
3. A change wakes all waiting requests, and each checks its own condition. The playlist is rendered once for all.
4. A playlist's target durations never change, but a camera may be reconfigured. A window without a request in
   ``RENEW_S`` is replaced when the camera's next run or stream begins, or its GOPs have become longer than the target
   duration. The numbers continue.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

from gateway.camera import Camera, Hold
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import NotFoundError, UnavailableError
from gateway.media import Packet, StreamInfo
from gateway.service import CaptureService
from gateway.session import SessionState
from hls.live.counters import LiveCounters
from hls.live.playlist import Rendered
from hls.live.window import LiveWindow

HOLD_S = 10.0
"""Longer than a player's pause between two requests: a target duration, or a stalled connection."""

READY_S = 10.0
"""A camera needs a second to connect and a GOP for its first segment. After this long the viewer gets an error."""

RENEW_S = 60.0
"""A player without a request for a minute has ended, or will start again."""

T = TypeVar("T")


class LiveStream:
    """One camera's live window and its viewers; see the module."""

    def __init__(self, camera: Camera, clock: Clock = SYSTEM_CLOCK, numbers_90k: Callable[[], int] = lambda: 0) -> None:
        self.camera = camera
        self.counters = LiveCounters()
        # A clock that was set back, over a restart, must not set the numbers back.
        self.window = LiveWindow(max(clock.wall_90k(), numbers_90k()), counters=self.counters)
        self._clock = clock
        self._waiters: set[asyncio.Future[None]] = set()
        self._hold: Hold | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last_request_s = float("-inf")
        self._run: int | None = None
        self._info: StreamInfo | None = None
        self._closed = False
        self._detach = camera.hub.attach(self._on_packet)

    @property
    def live_edge(self) -> tuple[int, int, int] | None:
        """Media sequence number, part index and time of capture (90 kHz) of the newest part."""
        return self.window.live_edge

    # --- requests

    async def multivariant_playlist(self) -> Rendered:
        """The multivariant playlist. Raises :class:`~gateway.errors.UnavailableError` if there is no video soon."""
        await self._wait_for(lambda: self.window.is_playable or None, READY_S, is_first=True)
        return self.window.multivariant_playlist()

    async def media_playlist(self, msn: int | None = None, part: int | None = None, *, delta: bool = False) -> Rendered:
        """The media playlist, as soon as it has the requested part.

        Raises :class:`~gateway.errors.BadRequestError` and :class:`~gateway.errors.UnavailableError`.
        """
        if self.window.targets is None:
            await self._wait_for(lambda: self.window.targets, READY_S, is_first=True)
        if msn is not None:
            wanted = msn
            await self._wait_for(lambda: self.window.has(wanted, part) or None, self._blocking_timeout_s())
        else:
            self._on_request()
        return self.window.media_playlist(delta=delta)

    async def media(self, name: str) -> bytes | memoryview:
        """An init segment, a segment or a part. A hinted part is returned when it is complete.

        Raises :class:`~gateway.errors.NotFoundError` and :class:`~gateway.errors.UnavailableError`.
        """
        data = self.window.media(name)
        if data is not None:
            self._on_request()
            return data
        if self.window.targets is not None and self.window.is_hinted(name):
            await self._wait_for(lambda: None if self.window.is_hinted(name) else True, self._blocking_timeout_s())
            data = self.window.media(name)
        if data is None:
            raise NotFoundError(f"camera {self.camera.id} has no {name}; reload the playlist")
        return data

    # --- lifetime

    def close(self) -> None:
        """Release the camera, and fail the requests that wait."""
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
        is_due = is_new or (packet.is_keyframe and packet.is_video and self.window.is_target_too_short)
        if is_due and self.window.targets is not None and now_s - self._last_request_s > RENEW_S:
            self.window = LiveWindow(self._clock.wall_90k(), after=self.window, counters=self.counters)
        version = self.window.version
        self.window.feed(packet, now_s)
        if self.window.version != version:
            self._wake()

    def _on_request(self) -> None:
        self._last_request_s = self._clock.monotonic()
        version = self.window.version
        self.window.advance(self._last_request_s)
        if self.window.version != version:
            self._wake()
        if self._hold is None and not self._closed:
            self._hold = self.camera.hold("hls")
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now_s = self._clock.monotonic()
        due_s = self._last_request_s + HOLD_S
        if self._waiters:
            due_s = min(self.window.due_s, now_s + HOLD_S)
        self._timer = asyncio.get_running_loop().call_later(max(0.0, due_s - now_s), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now_s = self._clock.monotonic()
        if self._waiters:
            self._last_request_s = now_s
            version = self.window.version
            self.window.advance(now_s)
            if self.window.version != version:
                self._wake()
            self._schedule()
        elif now_s >= self._last_request_s + HOLD_S:
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

    def _blocking_timeout_s(self) -> float:
        """Three target durations (§6.2.5.2)."""
        assert self.window.targets is not None
        return 3.0 * self.window.targets.target_duration_s

    async def _wait_for(self, probe: Callable[[], T | None], timeout_s: float, *, is_first: bool = False) -> T:
        """Wait until ``probe`` returns something.

        A player's first request (``is_first``) fails at once if the camera has failed. Later requests get gaps, so that
        the player continues when the camera is back.
        """
        self._on_request()
        loop = asyncio.get_running_loop()
        deadline_s = self._clock.monotonic() + timeout_s
        while (found := probe()) is None:
            remaining_s = deadline_s - self._clock.monotonic()
            has_failed = is_first and self.window.is_stalled and self.camera.session.state is SessionState.FAILED
            if self._closed or remaining_s <= 0 or has_failed:
                status = self.camera.status()
                why = f": {status.error_message}" if status.error_message else ""
                raise UnavailableError(
                    f"camera {self.camera.id} is {status.state} and has no video at present{why}", retry_after_s=2
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
        self._on_request()
        return found


class LiveService:
    """The live streams of all cameras, by camera id. ``numbers_90k``: a time that never goes back, 0 if unknown."""

    def __init__(
        self, service: CaptureService, *, clock: Clock = SYSTEM_CLOCK, numbers_90k: Callable[[], int] = lambda: 0
    ) -> None:
        self._service = service
        self._clock = clock
        self._numbers_90k = numbers_90k
        self._streams: dict[str, LiveStream] = {}

    @property
    def streams(self) -> Mapping[str, LiveStream]:
        """The streams of the cameras that have one, by camera id."""
        return self._streams

    def add_camera(self, camera: Camera) -> LiveStream:
        """Start the live stream of ``camera``."""
        stream = self._streams[camera.id] = LiveStream(camera, self._clock, self._numbers_90k)
        return stream

    def stream(self, camera_id: str) -> LiveStream:
        """A camera's live stream. Raises :class:`~gateway.errors.NotFoundError`."""
        stream = self._streams.get(camera_id)
        if stream is None:
            # Raises the error for an unknown camera.
            stream = self.add_camera(self._service.camera(camera_id))
        return stream

    async def remove_camera(self, camera_id: str) -> None:
        """Close the stream of a camera that was removed."""
        stream = self._streams.pop(camera_id, None)
        if stream is not None:
            stream.close()

    async def close(self) -> None:
        """Close all streams."""
        for camera_id in tuple(self._streams):
            await self.remove_camera(camera_id)
