"""Pace: some of a camera's pictures, so that they make a lower rate."""

from gateway.clock import CLOCK_RATE, seconds_90k


class Pace:
    """Which pictures of a camera make a stream of ``frame_rate``. Sans-IO.

    A picture is due once its capture time is within half an interval of the time that the rate asks for, so that 10 out
    of 30 a second is every third, and 10 out of 15 is two out of three.
    """

    def __init__(self, frame_rate: float) -> None:
        self._interval_90k = max(1, round(CLOCK_RATE / frame_rate))
        self._due_90k: int | None = None

    def is_due(self, captured_at_90k: int) -> bool:
        """Whether a picture of this time would be one of the stream."""
        due_90k = self._due_90k
        if due_90k is None or self._is_broken(captured_at_90k, due_90k):
            return True
        return captured_at_90k >= due_90k - min(self._interval_90k // 8, seconds_90k(0.005))

    def take(self, captured_at_90k: int) -> bool:
        """Whether this picture is one of the stream. Call it once per picture, in order."""
        if not self.is_due(captured_at_90k):
            return False
        interval_90k = self._interval_90k
        due_90k = self._due_90k
        if due_90k is None or self._is_broken(captured_at_90k, due_90k):
            self._due_90k = captured_at_90k + interval_90k
            return True
        # Never more than one interval behind: what was missed is not made up for.
        self._due_90k = max(due_90k + interval_90k, captured_at_90k - interval_90k + 1)
        return True

    def _is_broken(self, captured_at_90k: int, due_90k: int) -> bool:
        """A clock that was set back, or a camera that was away, begins a new pace."""
        return abs(captured_at_90k - due_90k) > 4 * self._interval_90k + CLOCK_RATE
