"""AuthRateLimiter: delay wrong tokens, and never delay a token that was right lately.

The answer to a wrong token is delayed. The delay doubles with each wrong token from the same client network, and is a
little random, so that its length says nothing about the comparison. Only a limited number of answers wait at a time.
While that many wait, a new token is not compared and is refused at once, right or wrong. Otherwise a client that sends
more guesses than may wait would learn about a right one as fast as it can send.

A token that was right from the same network lately is always compared, so that a client that is in cannot be locked out
by others at its address. A new client there has to try again some seconds later.
"""

import asyncio
import hashlib
import logging
import random
from collections import OrderedDict

from gateway.client_address import client_network
from gateway.clock import Clock
from gateway.errors import UnavailableError

log = logging.getLogger(__name__)

DELAY_MIN_S = 0.1
DELAY_MAX_S = 3.0
FORGET_S = 600.0
"""The failures of a network without a wrong token for this long are forgotten."""

NETWORKS_MAX = 4096
"""Networks that are remembered. Beyond it, the one whose last wrong token is oldest is forgotten."""

WAITING_MAX = 2048
"""Answers that wait. To keep new clients out elsewhere, an attacker needs an eighth as many addresses."""

WAITING_PER_NETWORK_MAX = 8

KNOWN_MAX = 4096
"""Right tokens that are remembered, as hashes with their network. Beyond it, the least recently used is forgotten."""


class TooManyError(UnavailableError):
    """429: a client exceeds its limit."""

    code = "too_many"
    status = 429


class _Failures:
    def __init__(self) -> None:
        self.count = 0
        self.waiting = 0
        self.last_at_s = 0.0


class AuthRateLimiter:
    """See the module."""

    def __init__(self, clock: Clock, *, delay_max_s: float = DELAY_MAX_S) -> None:
        self._clock = clock
        self._delay_max_s = delay_max_s
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._waiting = 0
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self.failures = 0
        """Wrong tokens since the start."""

    def check(self, address: str, token: str) -> None:
        """Raise :class:`TooManyError` if a token may not be compared now."""
        failures = self._failures.get(client_network(address))
        is_full = self._waiting >= WAITING_MAX or (failures is not None and failures.waiting >= WAITING_PER_NETWORK_MAX)
        if is_full and _digest(address, token) not in self._known:
            raise self._too_many()

    def record_success(self, address: str, token: str) -> None:
        """Remember that a token is right."""
        digest = _digest(address, token)
        self._known[digest] = None
        self._known.move_to_end(digest)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    def record_failure(self, address: str) -> float:
        """Count a wrong token; returns the delay of its answer, in seconds."""
        key, now_s = client_network(address), self._clock.monotonic()
        self.failures += 1
        failures = self._failures.pop(key, None)
        if failures is None or now_s - failures.last_at_s > FORGET_S:
            failures = _Failures()
        self._failures[key] = failures
        if len(self._failures) > NETWORKS_MAX:
            self._failures.popitem(last=False)
        failures.count += 1
        failures.last_at_s = now_s
        log.warning("wrong token from %s", address, extra={"client": address})
        delay_s = min(self._delay_max_s, DELAY_MIN_S * 2.0 ** min(failures.count - 1, 16))
        return delay_s * random.uniform(0.75, 1.0)  # noqa: S311  (noise, not a secret)

    async def delay_failure(self, address: str) -> None:
        """Count a wrong token and wait before its answer. Raises :class:`TooManyError` if too many wait already."""
        delay_s = self.record_failure(address)
        failures = self._failures[client_network(address)]
        if failures.waiting >= WAITING_PER_NETWORK_MAX or self._waiting >= WAITING_MAX:
            raise self._too_many()
        failures.waiting += 1
        self._waiting += 1
        try:
            await asyncio.sleep(delay_s)
        finally:
            failures.waiting -= 1
            self._waiting -= 1

    def _too_many(self) -> TooManyError:
        return TooManyError(
            "too many wrong tokens came from this address, and no token is checked now; try again in some seconds",
            retry_after_s=max(1, round(self._delay_max_s)),
        )


def _digest(address: str, token: str) -> bytes:
    return hashlib.sha256(f"{client_network(address)} {token}".encode(errors="surrogateescape")).digest()
