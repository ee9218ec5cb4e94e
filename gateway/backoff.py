"""Backoff: how long to wait before the next attempt, after how many failed ones. Sans-IO.

The first ``attempts`` come ``delay_s`` apart, as ``CONNECTION_RETRY_ATTEMPTS`` and ``CONNECTION_RETRY_DELAY`` say.
After them the wait doubles each time up to :data:`DELAY_MAX_S`, and is jittered downwards, so that a thousand
gateways do not come back to a restarted event service in the same second.
"""

import random
from collections.abc import Callable

DELAY_MAX_S = 30.0
"""What somebody who has just repaired the other end is ready to wait."""

STEADY_S = 5.0
"""A connection that lasted this long was a good one. A shorter one counts as a failed attempt."""


class Backoff:
    """See the module. ``failures`` counts the attempts since the last good connection."""

    def __init__(self, attempts: int, delay_s: float, jitter: Callable[[], float] = random.random) -> None:
        self.failures = 0
        self._attempts = attempts
        self._delay_s = delay_s
        self._jitter = jitter

    @property
    def is_exhausted_now(self) -> bool:
        """Whether it is this failure that used up the attempts: the moment to say so."""
        return self.failures == max(1, self._attempts)

    def failed(self) -> float:
        """Count a failure. Returns the wait before the next attempt, in seconds."""
        self.failures += 1
        beyond = self.failures - max(1, self._attempts)
        if beyond < 0:
            return min(self._delay_s, DELAY_MAX_S)
        # 2**16 times any delay is beyond the maximum; larger powers would overflow one day.
        longest_s = min(DELAY_MAX_S, self._delay_s * 2.0 ** min(beyond, 16))
        return longest_s * (0.5 + 0.5 * self._jitter())

    def ended(self, lasted_s: float) -> float:
        """A connection is over that lasted ``lasted_s``. Returns the wait before the next attempt, in seconds."""
        if lasted_s < STEADY_S:
            return self.failed()
        self.failures = 0
        return min(self._delay_s, DELAY_MAX_S) * self._jitter()
