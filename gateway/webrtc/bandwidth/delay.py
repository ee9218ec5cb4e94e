"""DelayDetector: whether packets wait in a queue, from when they were sent and when they arrived.

Theory of operation. The delay-based part of draft-ietf-rmcat-gcc-02 §5, with the trendline filter that replaced its
Kalman filter in libwebrtc. Each group of packets gives one sample: by how much longer it was under way than the group
before. The samples are summed up, smoothed, and a line is fitted to the last ``WINDOW`` of them. Its slope is compared
with a threshold that adapts to the noise of the network (§5.4).

What differs from the draft, because a camera's pictures are sent at once and are not spread over time:

1. A group's delay is that of its first packet. That of its last one has the time in it that the group itself takes on
   the link, so each keyframe would look like a queue.
2. Overuse needs a *standing* queue, too: no packet of the last ``STANDING_S`` was on time. The queue that a keyframe
   leaves is empty again before the next one, if the link carries the camera.
3. The line is fitted only while a queue stands: most viewers never have one, and a fit costs as much as sending a
   packet.

``now`` does not occur here: time is that of the packets.
"""

from collections import deque
from enum import Enum

BURST_S = 0.005
"""Packets sent within this are one group (§5.2)."""

WINDOW = 20
SMOOTHING = 0.9
GAIN = 4.0
SAMPLES_MAX = 60
"""Of the filter: points on the line, share of the old value, and factors of its slope. libwebrtc's."""

THRESHOLD_MS = 12.5
THRESHOLD_MIN_MS = 6.0
THRESHOLD_MAX_MS = 600.0
THRESHOLD_UP = 0.0087
THRESHOLD_DOWN = 0.039
OUTLIER_MS = 15.0
"""Of the adaptive threshold: first value, bounds, and gains (§5.4)."""

OVERUSE_S = 0.010
"""How long the slope must be above the threshold (§5.4, overuse_time_th)."""

STANDING_S = 1.0
"""A keyframe a second, or more seldom, is the rule."""

STANDING_MIN_S = 0.025
"""Less than this is the clock's and the network's noise."""

BASE_WINDOW_S = 30.0
"""How long the shortest delay is remembered, this at least and twice this at most: routes change, clocks drift."""

GAP_S = 5.0
"""After a pause this long the line begins anew."""


class Usage(Enum):
    """How the link's queue changes."""

    NORMAL = "it is steady"
    OVERUSE = "it grows"
    UNDERUSE = "it drains"


class DelayDetector:
    """See the module."""

    def __init__(self) -> None:
        self.usage = Usage.NORMAL
        self._sent_s = 0.0
        self._arrival_s = 0.0
        self._began_s: float | None = None
        self._samples = 0
        self._sum_ms = 0.0
        self._smoothed_ms = 0.0
        self._points: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self._slope = 0.0
        self._threshold_ms = THRESHOLD_MS
        self._over_s = 0.0
        self._base_s = [float("inf"), float("inf")]
        """The shortest delays of this period of ``BASE_WINDOW_S`` and of the one before."""
        self._base_began_s = 0.0
        self._recent: deque[tuple[float, float]] = deque()
        """Arrival and delay of those groups of the last ``STANDING_S`` that no later one undercuts: the first has the
        shortest delay. At most ``STANDING_S / BURST_S``."""

    @property
    def standing_s(self) -> float:
        """How long the best packet of the last ``STANDING_S`` waited in queues."""
        return self.standing(STANDING_S)

    @property
    def least_s(self) -> float:
        """The shortest way of a packet, between two clocks; infinite before there was one."""
        return min(self._base_s)

    def standing(self, seconds: float) -> float:
        """The same of a shorter time."""
        if not self._recent:
            return 0.0
        from_s = self._recent[-1][0] - seconds
        best_s = next(delay_s for arrival_s, delay_s in self._recent if arrival_s >= from_s)
        return max(0.0, best_s - self.least_s)

    def add(self, sent_s: float, arrival_s: float) -> None:
        """Take the first packet of a group. Times are of two clocks; groups come in the order of sending."""
        send_step_s = sent_s - self._sent_s
        if self._began_s is not None and send_step_s < BURST_S:
            return
        delay_s = arrival_s - sent_s
        self._note(arrival_s, delay_s)
        arrival_step_s = arrival_s - self._arrival_s
        self._sent_s, self._arrival_s = sent_s, arrival_s
        if self._began_s is None or send_step_s > GAP_S:
            self._restart(arrival_s)
            return
        self._samples += 1
        self._sum_ms += 1000 * (arrival_step_s - send_step_s)
        self._smoothed_ms = SMOOTHING * self._smoothed_ms + (1 - SMOOTHING) * self._sum_ms
        self._points.append((1000 * (arrival_s - self._began_s), self._smoothed_ms))
        if len(self._points) < WINDOW or self.standing_s < STANDING_MIN_S:
            self.usage, self._slope, self._over_s = Usage.NORMAL, 0.0, 0.0
            return
        self._detect(_slope(self._points), send_step_s, 1000 * arrival_step_s)

    def _restart(self, arrival_s: float) -> None:
        self._began_s = arrival_s
        self._samples, self._sum_ms, self._smoothed_ms, self._slope, self._over_s = 0, 0.0, 0.0, 0.0, 0.0
        self._points.clear()
        self.usage = Usage.NORMAL

    def _note(self, arrival_s: float, delay_s: float) -> None:
        if not self._base_began_s or arrival_s - self._base_began_s >= BASE_WINDOW_S:
            self._base_s = [float("inf"), self._base_s[0]]
            self._base_began_s = arrival_s
        self._base_s[0] = min(self._base_s[0], delay_s)
        while self._recent and self._recent[-1][1] >= delay_s:
            self._recent.pop()
        self._recent.append((arrival_s, delay_s))
        while self._recent[0][0] < arrival_s - STANDING_S:
            self._recent.popleft()

    def _detect(self, slope: float, step_s: float, arrival_step_ms: float) -> None:
        trend_ms = min(self._samples, SAMPLES_MAX) * slope * GAIN
        if trend_ms > self._threshold_ms:
            self._over_s += step_s
            if self._over_s > OVERUSE_S and slope >= self._slope:
                self._over_s = 0.0
                self.usage = Usage.OVERUSE
        else:
            self._over_s = 0.0
            self.usage = Usage.UNDERUSE if trend_ms < -self._threshold_ms else Usage.NORMAL
        self._slope = slope
        excess_ms = abs(trend_ms) - self._threshold_ms
        if excess_ms <= OUTLIER_MS:
            gain = THRESHOLD_DOWN if excess_ms < 0 else THRESHOLD_UP
            self._threshold_ms += gain * excess_ms * min(max(arrival_step_ms, 0.0), 100.0)
            self._threshold_ms = min(max(self._threshold_ms, THRESHOLD_MIN_MS), THRESHOLD_MAX_MS)


def _slope(points: deque[tuple[float, float]]) -> float:
    """The slope of the line of least squares; 0 if all points have one time."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    above = sum((x - mean_x) * (y - mean_y) for x, y in points)
    below = sum((x - mean_x) ** 2 for x, _ in points)
    return above / below if below else 0.0
