"""The wall clock and the monotonic clock behind one port, so that tests can set the time.

Wall-clock time is an integer of 90 kHz ticks since the Unix epoch (``*_90k``). Monotonic time is in float seconds from
an arbitrary start. It may stand still while the host sleeps; the boot clock does not.
"""

import time
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

CLOCK_RATE = 90_000
"""Ticks a second of every integer time in liveedge: the RTP clock of all video (RFC 6184 §8.2.1)."""


class Clock(Protocol):
    """The port. The composition root injects it."""

    def wall_90k(self) -> int:
        """Now, in 90 kHz ticks since the Unix epoch (UTC)."""
        ...

    def monotonic(self) -> float:
        """Now, in seconds from an arbitrary start; never steps."""
        ...


@runtime_checkable
class BootClock(Protocol):
    """A clock that also knows the time since the host was booted."""

    def boot_s(self) -> float:
        """Now, in seconds from an arbitrary start; never steps, and goes on while the host sleeps."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall_90k(self) -> int:
        return time.time_ns() * 9 // 100_000

    def monotonic(self) -> float:
        return time.monotonic()

    def boot_s(self) -> float:
        # CLOCK_BOOTTIME is Linux's; macOS's CLOCK_MONOTONIC goes on during sleep by itself.
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


SYSTEM_CLOCK = SystemClock()


def boot_seconds(clock: Clock) -> float:
    """``boot_s`` of a clock that has it, else its monotonic time."""
    return clock.boot_s() if isinstance(clock, BootClock) else clock.monotonic()


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
