"""LeastDelay: the delay of the least delayed packets of a stream, which shows best what its times mean. Sans-IO.

Delay is never negative, and the network changes it with every packet. So the least one counts. It falls to a less
delayed packet, and rises by at most :data:`MAX_RISE_PPM` towards the least one of the last :data:`WINDOW_90K`: a stall
of the network does not move it. Only when every packet of a whole window is later by more than :data:`LOST_90K` it is
wrong, and begins anew.
"""

from collections import deque

from gateway.clock import CLOCK_RATE

MAX_RISE_PPM = 500
"""How fast it may rise: 0.5 ms a second. A bad quartz needs a tenth of that; no viewer notices it."""

WINDOW_90K = 10 * CLOCK_RATE
"""Several GOPs and TCP stalls, in ticks."""

LOST_90K = 2 * CLOCK_RATE
"""A delay that is off by more than this for a whole window, in ticks, is wrong. A slow rise would take too long."""


class LeastDelay:
    """See the module. Times and delays are 90 kHz ticks, each of a clock of the caller's choice."""

    __slots__ = ("_moved_at_90k", "_recent", "value_90k")

    def __init__(self) -> None:
        self.value_90k: int | None = None
        """The least delay; ``None`` before the first packet."""
        self._recent: deque[tuple[int, int]] = deque()
        """Time and delay of packets of the window, rising in both, so that the first is the least delayed."""
        self._moved_at_90k = 0

    def learn(self, at_90k: int, delay_90k: int, *, may_begin_anew: bool = True, may_fall: bool = True) -> None:
        """Take the delay of the packet at ``at_90k``. Without ``may_fall`` it falls as slowly as it rises."""
        recent = self._recent
        while recent and recent[-1][1] >= delay_90k:
            recent.pop()
        recent.append((at_90k, delay_90k))
        is_whole_window = recent[0][0] < at_90k - WINDOW_90K
        while recent[0][0] < at_90k - WINDOW_90K:
            recent.popleft()
        least_90k, now_90k = recent[0][1], self.value_90k
        is_lost = may_begin_anew and is_whole_window and now_90k is not None and least_90k > now_90k + LOST_90K
        if now_90k is None or is_lost or (may_fall and delay_90k <= now_90k):
            self.value_90k, self._moved_at_90k = least_90k, at_90k
            return
        # Below one tick, the time since the last move is kept: otherwise short frames would never add up to one.
        room_90k = (at_90k - self._moved_at_90k) * MAX_RISE_PPM // 1_000_000
        if room_90k > 0:
            self._moved_at_90k = at_90k
            self.value_90k = now_90k + max(-room_90k, min(room_90k, least_90k - now_90k))

    def set(self, at_90k: int, value_90k: int) -> None:
        """It is known, and does not have to be learned."""
        self.value_90k, self._moved_at_90k = value_90k, at_90k
        self._recent.clear()

    def shift(self, by_90k: int) -> None:
        """All delays have changed by this: one of the two clocks was set."""
        if self.value_90k is not None:
            self.value_90k += by_90k
        self._recent = deque((at_90k, delay_90k + by_90k) for at_90k, delay_90k in self._recent)
