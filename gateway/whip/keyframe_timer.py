"""KeyframeTimer: when a publisher is asked for a keyframe (PLI, RFC 4585 §6.3.1). Sans-IO; times are monotonic seconds.

Browsers send keyframes when they are asked and hardly ever else. A viewer, a live segment and a recording begin with
one each.

Rules:

1. A keyframe that is missing, to begin or after a loss, is asked for at once.
2. Otherwise one is asked for when the last one is :data:`INTERVAL_S` old: a new viewer gets the GOP, and so a picture
   at once, whenever it comes. Encoders with a shorter GOP of their own are never asked.
3. A request is repeated after :data:`RETRY_S`, then after twice as long each time, up to :data:`RETRY_MAX_S`.
"""

INTERVAL_S = 2.0
"""In seconds: what live segments need (MediaMTX asks as often)."""

RETRY_S = 0.5
RETRY_MAX_S = 8.0


class KeyframeTimer:
    """See the module."""

    def __init__(self) -> None:
        self.count = 0
        """Requests so far."""
        self._keyframe_at = float("-inf")
        self._due_at = float("-inf")
        self._wait_s = RETRY_S

    def is_due(self, wanted_since: float | None, keyframe_at: float, now: float) -> bool:
        """Whether to ask now. ``wanted_since``: when a keyframe began to be missing; ``None``: none is.

        ``keyframe_at`` is when the last one came.
        """
        if keyframe_at > self._keyframe_at:
            self._keyframe_at, self._wait_s = keyframe_at, RETRY_S
            # One that was asked for twice comes twice, not more often than that.
            self._due_at = keyframe_at + RETRY_S
        if now < self._due_at or (wanted_since is None and now - keyframe_at < INTERVAL_S):
            return False
        self.count += 1
        self._due_at = now + self._wait_s
        self._wait_s = min(2 * self._wait_s, RETRY_MAX_S)
        return True
