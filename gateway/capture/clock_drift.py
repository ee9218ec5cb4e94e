"""SourceClock: a camera's clock against the arrival of its packets; replaces the clock where it runs at another rate.

Theory of operation. Delay is never negative, so the packet with the least delay of a period shows the camera's clock
best (see :mod:`gateway.capture.least_delay`). Where that least delay changes by the same rate for several periods, the
camera's clock is wrong: it stamps 25 frames a second and sends 21, or counts milliseconds where it declares 90 kHz.
From then on its time is multiplied by the measured ratio. The result has no jitter of the network, and keeps what a
camera with a variable frame rate says. It is led back, slowly, to where an exact clock would be.

Rules:

1. A healthy camera's time passes unchanged. Jitter, bursts and stalls of the network change single delays, and do not
   count: a drift is above :data:`TOLERANCE` in all of the last :data:`PERIODS` periods and has reached
   :data:`REACHED_S`, or is above :data:`LARGE` in :data:`LARGE_PERIODS`. A clock that has stood still is led back if it
   was :data:`BEHIND_S` behind in all of them, or :data:`FAR_BEHIND_S` in fewer.
2. A clock that is slow by a factor shows within a second or two, by some packets in a row that each are :data:`GROSS`
   times too slow.
3. No packet comes before its time: a clock that runs ahead is held back at :data:`AHEAD_90K`, until its drift is
   measured. Only in the first :data:`BACKLOG_S`, packets that come close together are old ones of a backlog.
4. When the clock is right again for :data:`PERIODS` periods, and led back, its time passes again, from there.
5. A jump is no drift: the timeline finds out what it is (:mod:`gateway.capture.timeline`), and the measurement begins
   anew.

Times are seconds of the monotonic clock, and 90 kHz ticks of the source. Sans-IO.
"""

from collections import deque
from itertools import pairwise
from typing import NamedTuple

from gateway.capture.least_delay import LeastDelay
from gateway.clock import CLOCK_RATE, seconds_90k

PERIOD_S = 2.0
"""Length of a period, in seconds, if it has :data:`PERIOD_PACKETS` by then."""

PERIOD_PACKETS, PERIOD_PACKETS_REPLACED = 10, 4
"""Packets of a period at least, before and after a drift was found: the least delay of a few would be chance."""

PERIOD_SLOW_S, PERIOD_PACKETS_SLOW = 10.0, 3
"""A period of a camera that sends less than a picture a second: what is chance in a delay is little of so long."""

TOLERANCE = 0.01
"""Seconds of drift a second that are not corrected: no quartz is as bad, and the capture time follows smaller ones."""

PERIODS = 4

LARGE = 0.1
LARGE_PERIODS = 2

REACHED_S = 0.3
"""By how much delay has to change before a small drift counts, in seconds: queues of a bad network grow slowly, too."""

BEHIND_S = 0.5
FAR_BEHIND_S, FAR_BEHIND_PERIODS = 1.5, 3
"""Longer than the queue of a network that is slow for a while, in seconds."""

GROSS = 6.0
GROSS_PACKETS = 15
GROSS_FEW_PACKETS = 4
GROSS_AWAY_S = 1.0
GROSS_FEWEST_PACKETS = 2
GROSS_FAR_S = 3.0
"""Rule 2: so many packets, or fewer that are as far away by then, in seconds."""

APART_S = 0.015
"""Packets closer than this came in one burst, in seconds."""

AHEAD_90K = CLOCK_RATE // 2
"""Rule 3, in ticks. The first packets of a connection may be later than the ones after them, by less than this."""

AHEAD_REPLACED_90K = CLOCK_RATE // 10
"""The same while it is led back, so that it does not overshoot. So near, either way, it has been led back."""

BACKLOG_S = 5.0
BACKLOG_MAX_S = 20.0
BACKLOG_PACKETS = 3
"""How long a proxy or a network may take to send what it has kept, in seconds, how much that may be, and what is no
chance any more."""

LEAD_BACK_S = 4.0
"""The difference to an exact clock is removed within about this time, in seconds…"""

LEAD_BACK_MAX_SLOWER, LEAD_BACK_MAX_FASTER = 0.25, 1.0
"""…but time runs slower or faster by these shares at most."""


class _Point(NamedTuple):
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
        self._exact = LeastDelay()
        """The delay of an exact clock."""
        self._began_s = 0.0
        self._began_90k = 0
        self._burst = 0
        self._held_back_90k = 0
        """How far ahead it was when it was held back, in this period."""
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

    @property
    def exact_90k(self) -> int:
        """The delay of an exact clock, of the corrected time. After the first packet was observed."""
        assert self._exact.value_90k is not None
        return self._exact.value_90k

    def due_90k(self, arrived_s: float) -> int:
        """The time that an exact clock has for a packet of the least delay. After the first packet was observed."""
        return seconds_90k(arrived_s) - self.exact_90k

    def is_backlog(self, source_90k: int, arrived_s: float) -> bool:
        """Whether a packet that comes now is an old one: rule 3."""
        return self._in_burst(source_90k, arrived_s) >= BACKLOG_PACKETS and self._may_be_old(source_90k, arrived_s)

    def _may_be_old(self, source_90k: int, arrived_s: float) -> bool:
        """Whether all that came until now may be a backlog: rule 3."""
        elapsed_s = arrived_s - self._began_s
        ahead_s = (source_90k - self._began_90k) / CLOCK_RATE - elapsed_s
        return elapsed_s < BACKLOG_S and ahead_s < BACKLOG_MAX_S

    def _in_burst(self, source_90k: int, arrived_s: float) -> int:
        """How many packets have come close together, with this one."""
        last = self._last
        if last is None:
            return 0
        elapsed_s = arrived_s - last.arrived_s
        is_close = elapsed_s < APART_S and elapsed_s * GROSS < (source_90k - last.source_90k) / CLOCK_RATE
        return self._burst + 1 if is_close else 0

    def observe(self, source_90k: int, arrived_s: float, *, may_be_gross: bool = True, reorder_90k: int = 0) -> None:
        """Note a packet, before its time is corrected. ``reorder_90k``: by how much times may be out of order."""
        self._burst = burst = self._in_burst(source_90k, arrived_s)
        is_backlog = burst >= BACKLOG_PACKETS and self._may_be_old(source_90k, arrived_s)
        point = _Point(arrived_s, source_90k)
        last, self._last = self._last, point
        if last is None:
            self._began_s, self._began_90k = arrived_s, source_90k
        else:
            if not is_backlog:
                self._hold_back(last, point, reorder_90k)
            if may_be_gross and not self._is_replaced:
                self._look_for_gross(last, point)
        arrived_90k = seconds_90k(arrived_s)
        self._exact.learn(
            arrived_90k,
            arrived_90k - self.correct(source_90k),
            may_begin_anew=False,
            may_fall=is_backlog,
        )
        if self._begun is None:
            self._begun = self._candidate = point
        assert self._candidate is not None
        self._packets += 1
        if point.delay_s < self._candidate.delay_s:
            self._candidate = point
        enough = PERIOD_PACKETS_REPLACED if self._is_replaced else PERIOD_PACKETS
        lasted_s = arrived_s - self._begun.arrived_s
        if (self._packets >= enough and lasted_s >= PERIOD_S) or (
            self._packets >= PERIOD_PACKETS_SLOW and lasted_s >= PERIOD_SLOW_S
        ):
            self._end_period(point)

    def jump(self, source_90k: int, arrived_s: float, by_90k: int) -> None:
        """The source's time has jumped. What the corrected times mean has changed by ``by_90k``."""
        self._burst = self._in_burst(source_90k, arrived_s)
        self._last = point = _Point(arrived_s, source_90k)
        self._exact.shift(by_90k)
        self._least.clear()
        self._row.clear()
        self._begun = self._candidate = point
        self._packets = 1

    def _hold_back(self, last: _Point, point: _Point, reorder_90k: int) -> None:
        """Rule 3."""
        now_90k = self.correct(point.source_90k)
        ahead_90k = now_90k - self.due_90k(point.arrived_s) - reorder_90k
        too_far_90k = ahead_90k - AHEAD_90K
        if self._is_replaced:
            # It goes on, slowly, until it is that near.
            half_90k = (now_90k - self.correct(last.source_90k)) // 2
            too_far_90k = max(too_far_90k, min(ahead_90k - AHEAD_REPLACED_90K, half_90k))
        if too_far_90k > 0:
            self._to_90k -= too_far_90k
            self._held_back_90k = ahead_90k - too_far_90k

    def _end_period(self, point: _Point) -> None:
        assert self._candidate is not None
        self._least.append(self._candidate)
        self._begun, self._candidate, self._packets = None, None, 0
        drifts = self._drifts()
        if self._is_replaced:
            is_right = len(drifts) == PERIODS and all(abs(drift) < TOLERANCE for drift in drifts)
            if is_right and abs(self._behind_s(self._least[-1])) * CLOCK_RATE <= AHEAD_REPLACED_90K:
                self._rebase(point, None)
            elif len(self._least) >= 2:
                self._rebase(point, self._led_back(self._measured(), self._least[-1]))
        elif self._is_drift(drifts):
            self._rebase(point, self._led_back(self._measured(), self._least[-1]))
        elif self._stays_behind(PERIODS, BEHIND_S) or self._stays_behind(FAR_BEHIND_PERIODS, FAR_BEHIND_S):
            self._rebase(point, self._led_back(1.0, self._least[-1]))
        self._held_back_90k = 0

    def _drifts(self) -> list[float]:
        """Seconds of delay more a second, from period to period."""
        points = list(self._least)
        return [
            (after.delay_s - before.delay_s) / (after.arrived_s - before.arrived_s)
            for before, after in pairwise(points)
            if after.arrived_s > before.arrived_s
        ]

    def _is_drift(self, drifts: list[float]) -> bool:
        reached_s = abs(self._behind_s(self._least[-1]))
        for count, limit, least_s in ((PERIODS, TOLERANCE, REACHED_S), (LARGE_PERIODS, LARGE, 0.0)):
            latest = drifts[-count:]
            if len(latest) == count and reached_s >= least_s and (min(latest) > limit or max(latest) < -limit):
                return True
        return False

    def _stays_behind(self, periods: int, limit_s: float) -> bool:
        latest = list(self._least)[-periods:]
        return len(latest) == periods and all(self._behind_s(each) > limit_s for each in latest)

    def _measured(self) -> float:
        """Real time for one unit of the source's."""
        first, last = self._least[0], self._least[-1]
        advanced_s = (last.source_90k - first.source_90k) / CLOCK_RATE
        return (last.arrived_s - first.arrived_s) / advanced_s if advanced_s > 0 else self._ratio

    def _delay_90k(self, point: _Point) -> int:
        return seconds_90k(point.arrived_s) - self.correct(point.source_90k)

    def _behind_s(self, point: _Point) -> float:
        """By how much the corrected time is behind an exact clock, in this period."""
        if self._held_back_90k:
            return -self._held_back_90k / CLOCK_RATE
        return (self._delay_90k(point) - self.exact_90k) / CLOCK_RATE

    def _led_back(self, ratio: float, latest: _Point) -> float:
        """The ratio that also removes the difference to an exact clock."""
        faster = self._behind_s(latest) / LEAD_BACK_S
        return ratio * (1 + max(-LEAD_BACK_MAX_SLOWER, min(LEAD_BACK_MAX_FASTER, faster)))

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
        row = self._row
        if elapsed_s < APART_S and is_slow:
            # The network put it next to the one before. It counts in the sums below.
            return
        if advanced_s <= 0 or not is_slow or len(row) > 2 * GROSS_PACKETS:
            row.clear()
        if advanced_s <= 0 or not is_slow:
            return
        if not row:
            row.append(last)
        row.append(point)
        elapsed_s, advanced_s = point.arrived_s - row[0].arrived_s, (point.source_90k - row[0].source_90k) / CLOCK_RATE
        away_s = elapsed_s - advanced_s
        is_away = len(row) > GROSS_FEW_PACKETS and away_s >= GROSS_AWAY_S
        is_away |= len(row) > GROSS_FEWEST_PACKETS and away_s >= GROSS_FAR_S
        if advanced_s * GROSS >= elapsed_s or (not is_away and len(row) <= GROSS_PACKETS):
            return
        self._rebase(point, self._led_back(elapsed_s / advanced_s, point))
        # What was measured so far is of use no more than the row itself.
        self._least.clear()
        self._begun = self._candidate = None
        self._packets = 0
        row.clear()
