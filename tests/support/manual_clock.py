"""A clock that stands still until a test advances it."""

from gateway.clock import CLOCK_RATE


class ManualClock:
    """``now`` is seconds, for both clocks."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall_90k(self) -> int:
        return round(self.now * CLOCK_RATE)
