"""CaptureSession: one uninterrupted intention to capture a camera, as a state machine without I/O.

Rules:

1. ``start`` opens a session, ``stop`` ends it; both may be called in any state.
2. The caller makes an attempt when ``attempt_at`` is due (or earlier, where it may work), reports the first frame with
   ``first_frame`` and every unrequested end with ``lost``. Nothing here reads a clock: ``now_s`` is monotonic seconds.
3. A camera that was live for :data:`~gateway.backoff.STEADY_S` and is lost is tried again at once, and then
   ``attempts`` times in all, ``delay_s`` apart. A shorter run counts as one of those attempts, so that rule 4 applies
   to a flapping camera too.
4. When the attempts are used up, the session has failed. A persistent session, and one that somebody watches,
   continues with the growing waits of :mod:`gateway.backoff`. Any other waits until it is started again.
5. No attempt is made by itself before the camera may be tried again (``retry_after_s`` of the error): many cameras lock
   an account after five wrong passwords. Refused credentials fail the session at once (``is_final``). A start, or
   another URL, is a new intention and is tried at once. Where a viewer that has another stream waits for this one
   (``resume``), that is no new intention: the attempt is made when it is due, also of a session that had ended.

The table below is complete: an event that has no row is ignored in that state.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.backoff import STEADY_S, Backoff
from gateway.errors import redact_url


class SessionState(StrEnum):
    """The state of a capture, as APIs report it."""

    STOPPED = "stopped"
    CONNECTING = "connecting"
    LIVE = "live"
    RETRYING = "retrying"
    FAILED = "failed"


class SessionEvent(StrEnum):
    """An event. ``LOST`` and ``EXHAUSTED`` both come from :meth:`~CaptureSession.lost`; see rule 4."""

    START = "start"
    FIRST_FRAME = "first_frame"
    LOST = "lost"
    EXHAUSTED = "exhausted"
    STOP = "stop"


_S, _E = SessionState, SessionEvent

TRANSITIONS: dict[tuple[SessionState, SessionEvent], SessionState] = {
    (_S.STOPPED, _E.START): _S.CONNECTING,
    (_S.CONNECTING, _E.FIRST_FRAME): _S.LIVE,
    (_S.CONNECTING, _E.LOST): _S.RETRYING,
    (_S.CONNECTING, _E.EXHAUSTED): _S.FAILED,
    (_S.CONNECTING, _E.STOP): _S.STOPPED,
    (_S.LIVE, _E.LOST): _S.RETRYING,
    (_S.LIVE, _E.EXHAUSTED): _S.FAILED,
    (_S.LIVE, _E.STOP): _S.STOPPED,
    (_S.RETRYING, _E.FIRST_FRAME): _S.LIVE,
    (_S.RETRYING, _E.LOST): _S.RETRYING,
    (_S.RETRYING, _E.EXHAUSTED): _S.FAILED,
    (_S.RETRYING, _E.STOP): _S.STOPPED,
    (_S.FAILED, _E.START): _S.CONNECTING,
    (_S.FAILED, _E.FIRST_FRAME): _S.LIVE,
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
"""Called with each :class:`~gateway.jpeg.reader.JpegFrame`; may be a coroutine function."""


class CaptureSession:
    """One camera's capture; see the module's rules. ``rtsp_url`` is without credentials."""

    def __init__(
        self, rtsp_url: str, policy: RetryPolicy = RetryPolicy(), jitter: Callable[[], float] = random.random
    ) -> None:
        self.rtsp_url = redact_url(rtsp_url)
        self.policy = policy
        self.state = SessionState.STOPPED
        self.error_message: str | None = None
        """Why there is no video, in one sentence; ``None`` while the camera is live and after a stop."""
        self.error_code: str | None = None
        """The same for programs: reason or code of the error."""
        self.frame_callback: FrameCallback | None = None
        self.attempt_at: float | None = None
        """When the next attempt is due, in monotonic seconds; ``None`` while one runs and when none is planned."""
        self.reconnects = 0
        """How often the camera was lost after its first frame, since the process started."""
        self._backoff = Backoff(policy.attempts, policy.delay_s, jitter)
        self.down_since_s: float | None = None
        """Since when there is no video that should be there, monotonic seconds; ``None`` as for ``error_message``."""
        self._live_since: float | None = None
        self._due_s = float("-inf")
        """When an attempt may be made that nobody asks for."""

    def reconfigure(self, rtsp_url: str, policy: RetryPolicy) -> None:
        """Go on with another URL (credentials are cut out of it) and another policy."""
        self.rtsp_url = redact_url(rtsp_url)
        self.policy = policy
        self._due_s = float("-inf")
        self._backoff.retries, self._backoff.delay_s = policy.attempts, policy.delay_s

    @property
    def is_active(self) -> bool:
        """Whether the camera is captured, or will be soon."""
        return self.state in (SessionState.CONNECTING, SessionState.LIVE, SessionState.RETRYING)

    def start(self, now_s: float) -> None:
        """Begin to capture."""
        if self._move(SessionEvent.START):
            self._backoff.reset()
            self._live_since = None
            self.error_message = self.error_code = None
            self._due_s = float("-inf")
            self.attempt_at = now_s
            if self.down_since_s is None:
                self.down_since_s = now_s

    def resume(self, now_s: float) -> None:
        """Begin to capture, or try again after a failure, but not before an attempt is due (rule 5)."""
        if self.state is SessionState.FAILED:
            if self.attempt_at is None:
                self.attempt_at = max(now_s, self._due_s)
            return
        due_s = self._due_s
        self.start(now_s)
        if self.attempt_at is not None:
            self._due_s = due_s
            self.attempt_at = max(self.attempt_at, due_s)

    def attempt(self) -> None:
        """The attempt that was due is being made."""
        self.attempt_at = None

    def first_frame(self, now_s: float) -> None:
        """The first frame of a run arrived."""
        if self._move(SessionEvent.FIRST_FRAME):
            self.error_message = self.error_code = self.down_since_s = None
            self._live_since = now_s

    def lost(
        self,
        now_s: float,
        error_message: str,
        retry_after_s: float = 0.0,
        *,
        is_final: bool = False,
        is_watched: bool = False,
        error_code: str | None = None,
    ) -> None:
        """The attempt failed, or the run ended without a stop. ``retry_after_s`` as in rule 5.

        ``is_final``: another attempt would fail as well (refused credentials); the session has failed at once.
        ``is_watched``: it has viewers; see rule 4.
        """
        if self.state is SessionState.STOPPED:
            return
        steady = self._live_since is not None and now_s - self._live_since >= STEADY_S
        if self._live_since is not None:
            self.reconnects += 1
            self.down_since_s = now_s
        self._live_since = None
        if steady:
            self._backoff.reset()
        wait_s = max(self._backoff.failed(), retry_after_s)
        exhausted = is_final or self._backoff.is_exhausted or self.state is SessionState.FAILED
        self._move(SessionEvent.EXHAUSTED if exhausted else SessionEvent.LOST)
        self.error_message, self.error_code = error_message, error_code
        self._due_s = now_s + (retry_after_s if steady else wait_s)
        if not exhausted:
            self.attempt_at = now_s + (retry_after_s if steady else wait_s)
        else:
            self.attempt_at = now_s + wait_s if self.policy.persistent or is_watched else None

    def stop(self) -> None:
        """End the capture."""
        self._move(SessionEvent.STOP)
        self.attempt_at = None
        self.error_message = self.error_code = self.down_since_s = None
        self._live_since = None

    def _move(self, event: SessionEvent) -> bool:
        target = TRANSITIONS.get((self.state, event))
        if target is None:
            return False
        self.state = target
        return True
