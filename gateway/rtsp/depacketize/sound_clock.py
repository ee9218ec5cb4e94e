"""SoundClock: the times of sound whose RTP clock is another than its description says.

A frame of sound says itself how long it lasts: by its samples. Where each packet is longer or shorter on the camera's
RTP clock, by the same factor, the description has the wrong clock rate: AAC of 16 kHz with a clock of 48 kHz is common.
Then the times are scaled by that factor.
"""

from fractions import Fraction

TRIAL = 6
"""Packets in a row with the same factor before it is used: a sixth of a second to a second of sound."""

EXACT = Fraction(1, 100)
"""Two factors that differ by less are the same."""

WRONG = Fraction(3, 100)
"""A factor that differs from 1 by less is the drift of a quartz: 44.1 and 48 kHz differ by 8 %."""

FACTOR_MAX = 48
"""The largest ratio of two clock rates in use: 384,000 and 8,000."""


class SoundClock:
    """See the module. One track's."""

    __slots__ = ("_factor", "_is_plain", "_last", "_time", "_trial", "_trial_factor")

    def __init__(self) -> None:
        self._factor = Fraction(1)
        self._is_plain = True
        """Whether both factors are 1."""
        self._last: tuple[int, int] | None = None
        """Timestamp and duration of the packet before."""
        self._time: Fraction | int = 0
        self._trial = 0
        self._trial_factor = Fraction(1)

    def time(self, timestamp: int, duration: int, *, lost: int) -> int:
        """The time of a packet in the described clock, of which its sound lasts ``duration`` ticks."""
        if self._last is None:
            self._time = timestamp
        elif (step := timestamp - self._last[0]) == self._last[1] and self._is_plain:
            # Nearly every packet: a fraction would cost more than all else of it.
            self._time += step
        else:
            if step > 0 and self._last[1] > 0 and not lost:
                self._learn(Fraction(step, self._last[1]))
            self._time += step / self._factor
        self._last = (timestamp, duration)
        return round(self._time)

    def _learn(self, factor: Fraction) -> None:
        if abs(factor - self._trial_factor) > EXACT * self._trial_factor:
            self._trial_factor, self._trial = factor, 0
        self._trial += 1
        if self._trial == TRIAL:
            is_wrong = abs(factor - 1) > WRONG and Fraction(1, FACTOR_MAX) <= factor <= FACTOR_MAX
            self._factor = self._trial_factor if is_wrong else Fraction(1)
        self._is_plain = self._factor == 1 == self._trial_factor
