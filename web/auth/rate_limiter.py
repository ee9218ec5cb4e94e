"""AuthRateLimiter: delay wrong tokens, and never delay a token that was right lately.

Rules:

1. The answer to a wrong token is delayed. The delay doubles with each wrong token from the same client network, and is
   a little random, so that its length says nothing about the comparison.
2. A network has at most :data:`DELAYED_PER_NETWORK_MAX` delays at a time. Until one of them is over, also if its client
   has left meanwhile, a new token from there is not compared and is refused at once, right or wrong. Otherwise a client
   that sends more guesses, or does not wait for the answer, would learn about a right one as fast as it can send.
3. A token that was right from the same network lately is always compared, so that a client that is in cannot be locked
   out by others at its address. What is signed cannot be guessed, and is always verified
   (:mod:`web.auth.authenticator`). Another new client there has to try again some seconds later.
4. A token that was right until now, or that was wrong before, is not a guess. From the same network it is refused at
   once and counts for nothing. So players whose token has ended learn it at once, and do not use up the delays of their
   network.
5. What one network does keeps no other out. When :data:`ANSWERS_MAX` answers wait, further ones are sent at once.
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

ANSWERS_MAX = 2048
"""Answers that wait. A waiting one costs some kilobytes; the delay of its network does not depend on it."""

DELAYED_PER_NETWORK_MAX = 8

KNOWN_MAX = 4096
"""Right tokens that are remembered, as hashes with their network, and as many wrong ones. Beyond it, the least recently
used is forgotten."""


class TooManyError(UnavailableError):
    """429: a client exceeds its limit."""

    code = "too_many"
    status = 429


class _Failures:
    def __init__(self) -> None:
        self.count = 0
        self.delayed_until_s: list[float] = []
        self.last_at_s = 0.0


class AuthRateLimiter:
    """See the module."""

    def __init__(self, clock: Clock, *, delay_max_s: float = DELAY_MAX_S) -> None:
        self._clock = clock
        self._delay_max_s = delay_max_s
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._answers = 0
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self.failures = 0
        """Wrong tokens since the start, without repeated ones."""

    def may_compare(self, address: str, token: str) -> bool:
        """Whether a token may be compared now (rules 2 to 4)."""
        digest = _digest(address, token)
        return (
            digest in self._right
            or digest in self._wrong
            or self._delays(client_network(address)) < DELAYED_PER_NETWORK_MAX
        )

    def record_success(self, address: str, token: str) -> None:
        """Remember that a token is right."""
        _remember(self._right, _digest(address, token))

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

    async def delay_failure(self, address: str, token: str) -> None:
        """Count a wrong token and wait before its answer. Raises :class:`TooManyError` if too many wait already.

        Returns at once for a token that is not a guess (rule 4).
        """
        digest = _digest(address, token)
        if digest in self._right or digest in self._wrong:
            self._right.pop(digest, None)
            _remember(self._wrong, digest)
            return
        delay_s = self.record_failure(address)
        network = client_network(address)
        if self._delays(network) >= DELAYED_PER_NETWORK_MAX:
            raise self.too_many()
        self._failures[network].delayed_until_s.append(self._clock.monotonic() + delay_s)
        if self._answers >= ANSWERS_MAX:
            raise self.too_many()
        _remember(self._wrong, digest)
        self._answers += 1
        try:
            await asyncio.sleep(delay_s)
        finally:
            self._answers -= 1

    def too_many(self) -> TooManyError:
        """The refusal of a token that may not be compared."""
        return TooManyError(
            "too many wrong tokens came from this address, and no token is checked now; try again in some seconds",
            retry_after_s=max(1, round(self._delay_max_s)),
        )

    def _delays(self, network: str) -> int:
        """How many delays of a network are not over."""
        failures = self._failures.get(network)
        if failures is None:
            return 0
        now_s = self._clock.monotonic()
        failures.delayed_until_s = [each for each in failures.delayed_until_s if each > now_s]
        return len(failures.delayed_until_s)


def _remember(digests: OrderedDict[bytes, None], digest: bytes) -> None:
    digests[digest] = None
    digests.move_to_end(digest)
    if len(digests) > KNOWN_MAX:
        digests.popitem(last=False)


def _digest(address: str, token: str) -> bytes:
    return hashlib.sha256(f"{client_network(address)} {token}".encode(errors="surrogateescape")).digest()
