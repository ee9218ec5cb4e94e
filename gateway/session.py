"""CaptureSession: one uninterrupted intention to capture a camera, as a state machine without I/O.

Rules:

1. ``start`` opens a session, ``stop`` ends it; both may be called in any state.
2. Whoever drives the session makes an attempt when ``attempt_at`` is due (or earlier, where there is hope), reports the
   first picture with ``picture`` and every end that was not asked for with ``lost``. Nothing here reads a clock:
   ``now_s`` is monotonic seconds.
3. A camera that was live for ``STEADY_S`` and is lost is tried again at once, and then ``attempts`` times in all,
   ``delay_s`` apart. A run that was shorter counts as one of those attempts, so that a flapping camera gets to rule 4
   too.
4. When the attempts are used up the session has failed. A persistent one goes on trying with doubling, jittered waits
   of at most ``BACKOFF_MAX_S``; any other rests until somebody starts it again.

The table below is the whole of it: an event that has no row is ignored in that state.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.errors import redact_url

STEADY_S = 5.0
"""A run of this length was a good one: shorter than any camera's reboot, longer than what a flapping one manages."""

BACKOFF_MAX_S = 30.0
"""A guard who plugs a camera back in waits no longer than this; an open every 30 s costs a camera nothing."""


class SessionState(StrEnum):
    """What people are told."""

    STOPPED = "stopped"
    CONNECTING = "connecting"
    LIVE = "live"
    RETRYING = "retrying"
    FAILED = "failed"


class SessionEvent(StrEnum):
    """What can happen. ``LOST`` and ``EXHAUSTED`` are one call, :meth:`~CaptureSession.lost`; see rule 4."""

    START = "start"
    PICTURE = "picture"
    LOST = "lost"
    EXHAUSTED = "exhausted"
    STOP = "stop"


_S, _E = SessionState, SessionEvent

TRANSITIONS: dict[tuple[SessionState, SessionEvent], SessionState] = {
    (_S.STOPPED, _E.START): _S.CONNECTING,
    (_S.CONNECTING, _E.PICTURE): _S.LIVE,
    (_S.CONNECTING, _E.LOST): _S.RETRYING,
    (_S.CONNECTING, _E.EXHAUSTED): _S.FAILED,
    (_S.CONNECTING, _E.STOP): _S.STOPPED,
    (_S.LIVE, _E.LOST): _S.RETRYING,
    (_S.LIVE, _E.EXHAUSTED): _S.FAILED,
    (_S.LIVE, _E.STOP): _S.STOPPED,
    (_S.RETRYING, _E.PICTURE): _S.LIVE,
    (_S.RETRYING, _E.LOST): _S.RETRYING,
    (_S.RETRYING, _E.EXHAUSTED): _S.FAILED,
    (_S.RETRYING, _E.STOP): _S.STOPPED,
    (_S.FAILED, _E.START): _S.CONNECTING,
    (_S.FAILED, _E.PICTURE): _S.LIVE,
    (_S.FAILED, _E.EXHAUSTED): _S.FAILED,
    (_S.FAILED, _E.STOP): _S.STOPPED,
}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``CONNECTION_RETRY_ATTEMPTS`` and ``CONNECTION_RETRY_DELAY`` (seconds); ``persistent`` as in rule 4."""

    attempts: int = 3
    delay_s: float = 2.0
    persistent: bool = False


FrameCallback = Callable[[Any], Any]
"""Called with each :class:`~gateway.jpeg.feed.JpegFrame`; may be a coroutine function."""


class CaptureSession:
    """One camera's capture; see the module's rules. ``rtsp_url`` is without credentials."""

    def __init__(
        self, rtsp_url: str, policy: RetryPolicy = RetryPolicy(), jitter: Callable[[], float] = random.random
    ) -> None:
        self.rtsp_url = redact_url(rtsp_url)
        self.policy = policy
        self.state = SessionState.STOPPED
        self.error_message: str | None = None
        """Why there is no picture, in a sentence; ``None`` while there is one and after a stop."""
        self.frame_callback: FrameCallback | None = None
        self.attempt_at: float | None = None
        """When the next attempt is due, in monotonic seconds; ``None`` while one is running or none is wanted."""
        self.reconnects = 0
        """How often the camera was lost after a picture, since the process started."""
        self._attempts_used = 0
        self._live_since: float | None = None
        self._jitter = jitter

    def reconfigure(self, rtsp_url: str, policy: RetryPolicy) -> None:
        """Go on with another URL (credentials are cut out of it) and another policy."""
        self.rtsp_url = redact_url(rtsp_url)
        self.policy = policy

    @property
    def is_active(self) -> bool:
        """Whether the camera is captured, or is about to be."""
        return self.state in (SessionState.CONNECTING, SessionState.LIVE, SessionState.RETRYING)

    def start(self, now_s: float) -> None:
        """Somebody wants pictures."""
        if self._move(SessionEvent.START):
            self._attempts_used = 0
            self._live_since = None
            self.error_message = None
            self.attempt_at = now_s

    def attempt(self) -> None:
        """The attempt that was due is being made."""
        self.attempt_at = None

    def picture(self, now_s: float) -> None:
        """The first picture of an attempt is here."""
        if self._move(SessionEvent.PICTURE):
            self.error_message = None
            self._live_since = now_s

    def lost(self, now_s: float, error_message: str) -> None:
        """The attempt or the run came to an end that nobody asked for."""
        if self.state is SessionState.STOPPED:
            return
        steady = self._live_since is not None and now_s - self._live_since >= STEADY_S
        if self._live_since is not None:
            self.reconnects += 1
        self._live_since = None
        if steady:
            self._attempts_used = 0
        exhausted = self._attempts_used >= self.policy.attempts or self.state is SessionState.FAILED
        self._move(SessionEvent.EXHAUSTED if exhausted else SessionEvent.LOST)
        self.error_message = error_message
        self._attempts_used += 1
        if not exhausted:
            self.attempt_at = now_s if steady else now_s + self.policy.delay_s
        elif self.policy.persistent:
            self.attempt_at = now_s + self._backoff_s()
        else:
            self.attempt_at = None

    def stop(self) -> None:
        """Nobody wants pictures any more."""
        self._move(SessionEvent.STOP)
        self.attempt_at = None
        self.error_message = None
        self._live_since = None

    def _move(self, event: SessionEvent) -> bool:
        target = TRANSITIONS.get((self.state, event))
        if target is None:
            return False
        self.state = target
        return True

    def _backoff_s(self) -> float:
        # The exponent is capped as well: a year of attempts must not overflow a float.
        doublings = min(self._attempts_used - self.policy.attempts, 10)
        longest = min(BACKOFF_MAX_S, self.policy.delay_s * 2.0**doublings)
        return float(longest * (0.5 + 0.5 * self._jitter()))
