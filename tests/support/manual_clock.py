"""Clocks that a test sets."""

import time

from gateway.clock import CLOCK_RATE


class ManualClock:
    """A clock that stands still until a test advances ``now``. The wall clock is ``start_90k`` later."""

    def __init__(self, start_90k: int = 0) -> None:
        self.now = 0.0
        self.start_90k = start_90k

    def monotonic(self) -> float:
        return self.now

    def wall_90k(self) -> int:
        return self.start_90k + round(self.now * CLOCK_RATE)

    async def sleep(self, seconds: float) -> None:
        """Advance the clock instead of sleeping."""
        self.now += seconds


class OffsetClock:
    """The machine's clocks, ``ahead_s`` seconds ahead."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s

    def wall_90k(self) -> int:
        return round((time.time() + self.ahead_s) * CLOCK_RATE)
