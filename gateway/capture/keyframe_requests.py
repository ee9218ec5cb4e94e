"""KeyframeRequests: when a camera is asked for a keyframe, by RTCP. Sans-IO; times are monotonic seconds.

Most cameras send a keyframe every second or two, and nobody asks. Some begin a session in the middle of a long GOP, and
some send none before they are asked (encoders made for video calls).
"""

ASK_AFTER_S = 2.0
"""How long a keyframe is awaited before the camera is asked: the usual GOP."""

REOPEN_AFTER_S = 20.0
"""After this long in vain the session is opened again, once: cameras that ignore RTCP often begin with a keyframe."""


class KeyframeRequests:
    """See the module. Each request waits twice as long as the one before it."""

    def __init__(self) -> None:
        self.count = 0
        """Requests so far: the number of the next Full Intra Request (RFC 5104 §4.3.1.1)."""
        self._since: float | None = None
        self._due_at = 0.0
        self._wait_s = ASK_AFTER_S

    def is_due(self, wanted_since: float | None, now: float) -> bool:
        """Whether to ask now. ``wanted_since`` is when the wait for a keyframe began, ``None`` while there is none."""
        if wanted_since is None:
            self._since = None
            return False
        if wanted_since != self._since:
            self._since, self._wait_s = wanted_since, ASK_AFTER_S
            self._due_at = wanted_since + ASK_AFTER_S
        if now < self._due_at:
            return False
        self.count += 1
        self._wait_s *= 2
        self._due_at = now + self._wait_s
        return True
