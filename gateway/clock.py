"""The two clocks, behind one port, so that the core can be tested with a clock in the hand.

Wall-clock time travels as integers of 90 kHz since the Unix epoch (``*_90k``), monotonic time as float seconds that
mean something only by their difference.
"""

import time
from datetime import UTC, datetime
from typing import Protocol

CLOCK_RATE = 90_000
"""Ticks a second of every integer time in liveedge: the RTP clock of all video (RFC 6184 §8.2.1)."""


class Clock(Protocol):
    """What the composition root injects."""

    def wall_90k(self) -> int:
        """Now, in 90 kHz ticks since the Unix epoch (UTC)."""
        ...

    def monotonic(self) -> float:
        """Now, in seconds from an arbitrary start; never steps."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall_90k(self) -> int:
        return time.time_ns() * 9 // 100_000

    def monotonic(self) -> float:
        return time.monotonic()


SYSTEM_CLOCK = SystemClock()


def seconds_90k(seconds: float) -> int:
    """Seconds as 90 kHz ticks, to the nearest."""
    return round(seconds * CLOCK_RATE)


def to_seconds(ticks_90k: int) -> float:
    """90 kHz ticks as seconds."""
    return ticks_90k / CLOCK_RATE


def to_rfc3339(ticks_90k: int) -> str:
    """A moment in 90 kHz since the Unix epoch as RFC 3339 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(ticks_90k // CLOCK_RATE, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ticks_90k % CLOCK_RATE // 90:03d}Z"
