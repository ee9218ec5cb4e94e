"""RateTrial: which of two sample rates AAC has, where its frames can be decoded with both. Sans-IO.

Theory of operation. 44.1 and 48 kHz have the same tables, so no decoder tells them apart, and neither do timestamps
that advance by 1024 a frame, whatever the clock. Where description and RTP clock say different rates, what is left is
how fast the frames come. Delay is never negative (see :mod:`gateway.capture.clock_drift`): with the right rate, the
least delay of the second half of the trial is that of the first one, with the wrong one it changes by 8 % of the time.

Rules:

1. Timestamps that all advance as the description's rate demands confirm it with the second arrival.
2. Otherwise frames are measured for :data:`TRIAL_S`. They are not heard: the pitch of what was heard would change.
"""

from gateway.codec import aac

TRIAL_S = 3.0
"""Two least delays are then 1.5 s apart, in which the wrong rate makes 130 ms, and the network some ten."""

EXACT = 0.01
"""Two rates that differ by less are the same."""


def rival(rate_hz: int, clock_rate: int) -> int | None:
    """The RTP clock, where frames of ``rate_hz`` may be of that rate; ``None`` where it is no other one like it."""
    is_alike = any(rate_hz in rates and clock_rate in rates for rates in aac.RATES_WITH_SAME_TABLES)
    return clock_rate if is_alike and clock_rate != rate_hz else None


class RateTrial:
    """See the module. ``declared_hz`` is what the description says, and ``clock_rate`` the other rate."""

    def __init__(self, declared_hz: int, clock_rate: int) -> None:
        self._declared_hz = declared_hz
        self._clock_rate = clock_rate
        self._frames = 0
        self._began_s: float | None = None
        self._newest: int | None = None
        self._is_exact = True
        """Whether the timestamps are those of the declared rate."""
        self._delays: list[tuple[float, int]] = []
        """When the frames of each packet came, and how many there were before them."""

    def rate_hz(self, timestamp: int, now_s: float) -> int | None:
        """Take a frame; the rate, as soon as it is known."""
        if self._began_s is None:
            self._began_s = now_s
        if self._newest is not None:
            # Inside a packet they always do. The clock is measured only later, which makes them right, too.
            step_hz = 1024 * self._clock_rate / max(1, timestamp - self._newest)
            self._is_exact = self._is_exact and abs(step_hz / self._declared_hz - 1) < EXACT
        self._newest = timestamp
        if not self._delays or self._delays[-1][0] != now_s:
            self._delays.append((now_s, self._frames))
            if len(self._delays) > 1 and self._is_exact:
                return self._declared_hz
        self._frames += 1
        if now_s - self._began_s < TRIAL_S:
            return None
        return min((self._declared_hz, self._clock_rate), key=self._drift_s)

    def _drift_s(self, rate_hz: int) -> float:
        """By how much the least delay changes from one half to the other."""
        assert self._began_s is not None
        middle_s = self._began_s + TRIAL_S / 2
        delays = [(at_s, at_s - frames * 1024 / rate_hz) for at_s, frames in self._delays]
        first = min((delay_s for at_s, delay_s in delays if at_s < middle_s), default=0.0)
        second = min((delay_s for at_s, delay_s in delays if at_s >= middle_s), default=0.0)
        return abs(second - first)
