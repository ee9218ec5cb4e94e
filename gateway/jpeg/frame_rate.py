"""FrameRateLimiter: selects frames, so that a stream has at most a given frame rate. Sans-IO."""

from gateway.clock import CLOCK_RATE, seconds_90k


class FrameRateLimiter:
    """Selects the frames of a camera that make a stream of ``frame_rate``.

    A frame is due when its capture time reaches the stream's next time, less a small tolerance for jitter. So 10 of 30
    frames a second are every third one, and 10 of 15 are two of three.
    """

    def __init__(self, frame_rate: float) -> None:
        self._interval_90k = max(1, round(CLOCK_RATE / frame_rate))
        self._due_90k: int | None = None

    def is_due(self, captured_at_90k: int) -> bool:
        """Whether a frame of this capture time would be selected."""
        due_90k = self._due_90k
        if due_90k is None or self._is_discontinuous(captured_at_90k, due_90k):
            return True
        return captured_at_90k >= due_90k - min(self._interval_90k // 8, seconds_90k(0.005))

    def take(self, captured_at_90k: int) -> bool:
        """Whether this frame is selected. Call it once for each frame, in order."""
        if not self.is_due(captured_at_90k):
            return False
        interval_90k = self._interval_90k
        due_90k = self._due_90k
        if due_90k is None or self._is_discontinuous(captured_at_90k, due_90k):
            self._due_90k = captured_at_90k + interval_90k
            return True
        # Never more than one interval behind: missed frames are not made up for.
        self._due_90k = max(due_90k + interval_90k, captured_at_90k - interval_90k + 1)
        return True

    def _is_discontinuous(self, captured_at_90k: int, due_90k: int) -> bool:
        """Whether the clock was set back or the camera was away. Selection then starts again."""
        return abs(captured_at_90k - due_90k) > 4 * self._interval_90k + CLOCK_RATE
