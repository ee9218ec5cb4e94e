"""GuessThrottle: wrong guesses cost time, right tokens never do.

A wrong token is answered after a delay that doubles with each wrong one from the same address and is a little random,
so that it says nothing about the comparison. Only so many answers wait at a time; beyond that a wrong guess is
answered at once, and tells that there are too many. Whoever has the right token is let in at once, whatever others at
the same address do: a token has 16 characters at least, and no rate of guessing finds it.
"""

import asyncio
import ipaddress
import logging
import random
from collections import OrderedDict

from gateway.clock import Clock
from gateway.errors import UnavailableError

log = logging.getLogger(__name__)

DELAY_MIN_S = 0.1
DELAY_MAX_S = 3.0
FORGET_S = 600.0
"""An address that made no mistake for so long begins anew."""

ADDRESSES_MAX = 4096
"""Addresses that are remembered; the one that was wrong longest ago is forgotten for another."""

WAITING_MAX = 256
WAITING_PER_ADDRESS_MAX = 8


class TooManyError(UnavailableError):
    """More than one client has a right to at a time."""

    code = "too_many"
    status = 429


class _Guesses:
    def __init__(self) -> None:
        self.wrong = 0
        self.waiting = 0
        self.last_at_s = 0.0


class GuessThrottle:
    """See the module."""

    def __init__(self, clock: Clock, *, delay_max_s: float = DELAY_MAX_S) -> None:
        self._clock = clock
        self._delay_max_s = delay_max_s
        self._guesses: OrderedDict[str, _Guesses] = OrderedDict()
        self._waiting = 0
        self.wrong = 0
        """Wrong guesses there ever were."""

    def note(self, address: str) -> float:
        """A wrong guess; returns for how long its answer is to wait, in seconds."""
        key, now_s = network_of(address), self._clock.monotonic()
        self.wrong += 1
        guesses = self._guesses.pop(key, None)
        if guesses is None or now_s - guesses.last_at_s > FORGET_S:
            guesses = _Guesses()
        self._guesses[key] = guesses
        if len(self._guesses) > ADDRESSES_MAX:
            self._guesses.popitem(last=False)
        guesses.wrong += 1
        guesses.last_at_s = now_s
        # At the powers of two: a storm of guesses is no storm of lines.
        if guesses.wrong & (guesses.wrong - 1) == 0:
            log.warning("wrong token from %s (%d so far)", address, guesses.wrong)
        delay_s = min(self._delay_max_s, DELAY_MIN_S * 2.0 ** min(guesses.wrong - 1, 16))
        return delay_s * random.uniform(0.75, 1.0)  # noqa: S311  (noise, not a secret)

    async def punish(self, address: str) -> None:
        """Note a wrong guess and let it wait. Raises :class:`TooManyError` where too many wait already."""
        delay_s = self.note(address)
        guesses = self._guesses[network_of(address)]
        if guesses.waiting >= WAITING_PER_ADDRESS_MAX or self._waiting >= WAITING_MAX:
            raise TooManyError("too many wrong tokens at a time", retry_after_s=max(1, round(self._delay_max_s)))
        guesses.waiting += 1
        self._waiting += 1
        try:
            await asyncio.sleep(delay_s)
        finally:
            guesses.waiting -= 1
            self._waiting -= 1


def network_of(address: str) -> str:
    """What one client has: an IPv4 address, or a /64 of IPv6."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
