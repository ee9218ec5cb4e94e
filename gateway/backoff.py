"""Backoff: how long to wait before the next attempt to connect, to a camera or to the event service. Sans-IO.

The first ``retries`` attempts after a failure are ``delay_s`` apart (``CONNECTION_RETRY_ATTEMPTS``,
``CONNECTION_RETRY_DELAY``). After them the wait doubles with each failure, up to :data:`DELAY_MAX_S`. These waits are
jittered downwards, so that a thousand gateways do not come back to a restarted service in the same second.
"""

import random
from collections.abc import Callable

DELAY_MAX_S = 30.0
"""After a repair, the connection is back within this time. One attempt every 30 s is no load for a camera."""

STEADY_S = 5.0
"""A connection that lasted this long was a good one: it is shorter than any camera's reboot, and longer than the runs
of a flapping camera. A shorter one counts as a failed attempt."""

_DOUBLINGS_MAX = 16
"""2^16 times any delay is above the maximum. Larger powers would overflow a float after a year of attempts."""


class Backoff:
    """See the module. ``retries`` and ``delay_s`` may be changed at any time; ``jitter`` returns 0 to 1."""

    def __init__(
        self,
        retries: int,
        delay_s: float,
        jitter: Callable[[], float] = random.random,
        longest_s: float = DELAY_MAX_S,
    ) -> None:
        self.retries = retries
        self.delay_s = delay_s
        self.longest_s = longest_s
        self.failures = 0
        """Failed attempts since the last good connection."""
        self._jitter = jitter

    @property
    def is_exhausted(self) -> bool:
        """Whether the retries are used up."""
        return self.failures > self.retries

    def failed(self) -> float:
        """Count a failed attempt. Returns the wait before the next one, in seconds."""
        self.failures += 1
        doublings = self.failures - self.retries
        if doublings <= 0:
            return self.delay_s
        longest_s = min(self.longest_s, self.delay_s * 2.0 ** min(doublings, _DOUBLINGS_MAX))
        return longest_s * (0.5 + 0.5 * self._jitter())

    def ended(self, lasted_s: float) -> float:
        """Count the end of a connection that lasted this long. Returns the wait before the next attempt, in seconds."""
        if lasted_s < STEADY_S:
            return self.failed()
        self.reset()
        return self.delay_s * self._jitter()

    def reset(self) -> None:
        """Forget all failures, after a good connection or by command."""
        self.failures = 0
