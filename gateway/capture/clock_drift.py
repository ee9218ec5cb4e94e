"""SourceClock: a camera's clock against the arrival of its packets; replaces the clock where it runs at another rate.

Theory of operation. Delay is never negative, so the packet with the least delay of a period shows the camera's clock
best (see :mod:`gateway.capture.timeline`). Where that least delay changes by the same rate for several periods, the
camera's clock is wrong: it stamps 25 frames a second and sends 21, or counts milliseconds where it declares 90 kHz.
From then on its time is multiplied by the measured ratio. The result has no jitter of the network, and keeps what a
camera with a variable frame rate says. It is led back, slowly, to where an exact clock would be.

Rules:

1. A healthy camera's time passes unchanged. Jitter, bursts and stalls of the network change single delays, and do not
   count: a drift is above :data:`TOLERANCE` in all of the last :data:`PERIODS` periods and has reached
   :data:`REACHED_S`, or is above :data:`LARGE` in :data:`LARGE_PERIODS`.
2. A clock that is wrong by a factor shows within a second or two, by some packets in a row that each are :data:`GROSS`
   times too slow or too fast. The old packets of a backlog are too fast as well, but they come close together, and
   their frames are not long.
3. When the clock is right again for :data:`PERIODS` periods, its time passes again, from where it was led to.
4. A jump is no drift: the measurement begins anew.

Times are seconds of the monotonic clock, and 90 kHz ticks of the source. Sans-IO.
"""

from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from gateway.clock import CLOCK_RATE

PERIOD_S = 2.0
"""Length of a period, in seconds, if it has :data:`PERIOD_PACKETS` by then."""

PERIOD_PACKETS, PERIOD_PACKETS_REPLACED = 20, 4
"""Packets of a period at least, before and after a drift was found: the least delay of a few would be chance."""

TOLERANCE = 0.01
"""Seconds of drift a second that are not corrected: no quartz is as bad, and the capture time follows smaller ones."""

PERIODS = 4

LARGE = 0.1
LARGE_PERIODS = 2

REACHED_S = 0.3
"""By how much delay has to change before a small drift counts, in seconds: queues of a bad network grow slowly, too."""

GROSS = 6.0
GROSS_PACKETS = 15
GROSS_FEW_PACKETS = 4
GROSS_AWAY_S = 1.0
"""Rule 2: so many packets, or fewer that are as far away by then, in seconds."""

GROSS_FRAME_S = 0.15
"""Too fast is only what claims frames of this length, in seconds."""

APART_S = 0.015
"""Packets closer than this came in one burst, in seconds."""

JUMP_S = 3.0

LEAD_BACK_S = 4.0
"""The difference to an exact clock is removed within about this time, in seconds…"""

LEAD_BACK_MAX_SLOWER, LEAD_BACK_MAX_FASTER = 0.25, 1.0
"""…but time runs slower or faster by these shares at most."""


@dataclass(frozen=True, slots=True)
class _Point:
    """A packet's arrival in seconds, and its source time in ticks."""

    arrived_s: float
    source_90k: int

    @property
    def delay_s(self) -> float:
        return self.arrived_s - self.source_90k / CLOCK_RATE


class SourceClock:
    """One track's; see the module."""

    def __init__(self) -> None:
        self._ratio = 1.0
        self._is_replaced = False
        self._from_90k = 0
        """The source time, and what it became, from which on the ratio holds."""
        self._to_90k = 0
        self._exact_delay_s: float | None = None
        """The delay of an exact clock: the least of the last good period, or that of the first packet."""
        self._least: deque[_Point] = deque(maxlen=PERIODS + 1)
        """The packets with the least delays, one a period."""
        self._begun: _Point | None = None
        self._candidate: _Point | None = None
        self._packets = 0
        self._last: _Point | None = None
        self._row: list[_Point] = []

    @property
    def is_replaced(self) -> bool:
        """Whether the camera's time does not pass unchanged at present."""
        return self._is_replaced

    def correct(self, source_90k: int) -> int:
        """The time to be used for this source time."""
        if self._is_replaced:
            return self._to_90k + round((source_90k - self._from_90k) * self._ratio)
        return source_90k - self._from_90k + self._to_90k

    def observe(self, source_90k: int, arrived_s: float, *, may_be_gross: bool = True) -> None:
        """Note a packet, before its time is corrected."""
        point = _Point(arrived_s, source_90k)
        last, self._last = self._last, point
        if self._exact_delay_s is None:
            self._exact_delay_s = point.delay_s
        if last is not None:
            elapsed_s = arrived_s - last.arrived_s
            ahead_s = (source_90k - last.source_90k) / CLOCK_RATE - elapsed_s
            # Behind by as long as nothing came is a slow clock; everything else of that size is a jump.
            if ahead_s > JUMP_S or ahead_s < -JUMP_S - elapsed_s:
                self._begin_anew(point)
                return
            if may_be_gross and not self._is_replaced:
                self._look_for_gross(last, point)
        if self._begun is None:
            self._begun = self._candidate = point
        assert self._candidate is not None
        self._packets += 1
        if point.delay_s < self._candidate.delay_s:
            self._candidate = point
        enough = PERIOD_PACKETS_REPLACED if self._is_replaced else PERIOD_PACKETS
        if self._packets >= enough and arrived_s - self._begun.arrived_s >= PERIOD_S:
            self._end_period(point)

    def _begin_anew(self, point: _Point) -> None:
        self._least.clear()
        self._row.clear()
        self._begun = self._candidate = point
        self._packets = 1
        # The delay of an exact clock after the jump is unknown; what the correction gave so far continues.
        self._exact_delay_s = point.arrived_s - self.correct(point.source_90k) / CLOCK_RATE
        if self._is_replaced:
            self._rebase(point, self._ratio)

    def _end_period(self, point: _Point) -> None:
        assert self._candidate is not None
        self._least.append(self._candidate)
        self._begun, self._candidate, self._packets = None, None, 0
        drifts = self._drifts()
        if self._is_replaced:
            if len(drifts) == PERIODS and all(abs(drift) < TOLERANCE for drift in drifts):
                self._rebase(point, None)
            elif len(self._least) >= 2:
                self._rebase(point, self._led_back(self._measured(), self._least[-1]))
        elif self._is_drift(drifts):
            self._rebase(point, self._led_back(self._measured(), self._least[-1]))
        elif drifts and abs(drifts[-1]) < TOLERANCE:
            self._exact_delay_s = self._delay_s(self._least[-1])

    def _drifts(self) -> list[float]:
        """Seconds of delay more a second, from period to period."""
        points = list(self._least)
        return [
            (after.delay_s - before.delay_s) / (after.arrived_s - before.arrived_s)
            for before, after in pairwise(points)
            if after.arrived_s > before.arrived_s
        ]

    def _is_drift(self, drifts: list[float]) -> bool:
        assert self._exact_delay_s is not None
        reached_s = abs(self._delay_s(self._least[-1]) - self._exact_delay_s)
        for count, limit, least_s in ((PERIODS, TOLERANCE, REACHED_S), (LARGE_PERIODS, LARGE, 0.0)):
            latest = drifts[-count:]
            if len(latest) == count and reached_s >= least_s and (min(latest) > limit or max(latest) < -limit):
                return True
        return False

    def _measured(self) -> float:
        """Real time for one unit of the source's."""
        first, last = self._least[0], self._least[-1]
        advanced_s = (last.source_90k - first.source_90k) / CLOCK_RATE
        return (last.arrived_s - first.arrived_s) / advanced_s if advanced_s > 0 else self._ratio

    def _delay_s(self, point: _Point) -> float:
        return point.arrived_s - self.correct(point.source_90k) / CLOCK_RATE

    def _led_back(self, ratio: float, latest: _Point) -> float:
        """The ratio that also removes the difference to an exact clock."""
        assert self._exact_delay_s is not None
        behind_s = self._delay_s(latest) - self._exact_delay_s
        return ratio * (1 + max(-LEAD_BACK_MAX_SLOWER, min(LEAD_BACK_MAX_FASTER, behind_s / LEAD_BACK_S)))

    def _rebase(self, point: _Point, ratio: float | None) -> None:
        """Use another ratio from here on; ``None``: the source's own time."""
        self._to_90k = self.correct(point.source_90k)
        self._from_90k = point.source_90k
        self._is_replaced = ratio is not None
        self._ratio = ratio or 1.0

    def _look_for_gross(self, last: _Point, point: _Point) -> None:
        """Rule 2."""
        elapsed_s = point.arrived_s - last.arrived_s
        advanced_s = (point.source_90k - last.source_90k) / CLOCK_RATE
        is_slow = advanced_s * GROSS < elapsed_s
        is_fast = advanced_s > elapsed_s * GROSS and advanced_s >= GROSS_FRAME_S
        row = self._row
        if elapsed_s < APART_S and (is_slow or is_fast):
            # The network put it next to the one before. It counts in the sums below.
            return
        if advanced_s <= 0 or not (is_slow or is_fast):
            row.clear()
            return
        if len(row) > 1 and (row[-1].delay_s > row[0].delay_s) != is_slow:
            row.clear()
        if len(row) > 2 * GROSS_PACKETS:
            row.clear()
        if not row:
            row.append(last)
        row.append(point)
        elapsed_s, advanced_s = point.arrived_s - row[0].arrived_s, (point.source_90k - row[0].source_90k) / CLOCK_RATE
        is_away = len(row) > GROSS_FEW_PACKETS and abs(elapsed_s - advanced_s) >= GROSS_AWAY_S
        is_all_gross = advanced_s * GROSS < elapsed_s if is_slow else advanced_s > elapsed_s * GROSS
        if not is_all_gross or (not is_away and (is_fast or len(row) <= GROSS_PACKETS)):
            return
        self._rebase(point, self._led_back(elapsed_s / advanced_s, point))
        # What was measured so far is of use no more than the row itself.
        self._least.clear()
        self._begun = self._candidate = None
        self._packets = 0
        row.clear()
