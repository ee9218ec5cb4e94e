"""GuessThrottle: wrong guesses cost time, and tokens that are known to be right never do.

A wrong token is answered after a delay that doubles with each wrong one from the same address and is a little random,
so that it says nothing about the comparison. Only so many answers wait at a time. While that many do, another token is
not looked at, and told so at once: right or wrong, it learns nothing. Else whoever sends guesses beyond the waiting
ones would be told of a right one as fast as they can send.

Tokens that were right from the same address lately are excepted, so that nobody who is in is kept out by others at
their address. Who comes there anew meanwhile comes again in some seconds.
"""

import asyncio
import hashlib
import ipaddress
import logging
import random
from collections import OrderedDict
from functools import lru_cache

from gateway.clock import Clock
from gateway.errors import UnavailableError

log = logging.getLogger(__name__)

DELAY_MIN_S = 0.1
DELAY_MAX_S = 3.0
FORGET_S = 600.0
"""An address that made no mistake for so long begins anew."""

ADDRESSES_MAX = 4096
"""Addresses that are remembered; the one that was wrong longest ago is forgotten for another."""

WAITING_MAX = 2048
"""An attacker needs as many addresses as this has eights to keep newcomers out elsewhere."""

WAITING_PER_ADDRESS_MAX = 8

KNOWN_MAX = 4096
"""Tokens at addresses that are remembered to be right, by their hashes; the one unused for longest is forgotten."""


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
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self.wrong = 0
        """Wrong guesses there ever were."""

    def check(self, address: str, token: str) -> None:
        """Raises :class:`TooManyError` where a token is not to be looked at now."""
        guesses = self._guesses.get(network_of(address))
        is_crowded = self._waiting >= WAITING_MAX or (
            guesses is not None and guesses.waiting >= WAITING_PER_ADDRESS_MAX
        )
        if is_crowded and _digest(address, token) not in self._known:
            raise self._too_many()

    def remember(self, address: str, token: str) -> None:
        """A token is right."""
        digest = _digest(address, token)
        self._known[digest] = None
        self._known.move_to_end(digest)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

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
            raise self._too_many()
        guesses.waiting += 1
        self._waiting += 1
        try:
            await asyncio.sleep(delay_s)
        finally:
            guesses.waiting -= 1
            self._waiting -= 1

    def _too_many(self) -> TooManyError:
        return TooManyError(
            "too many wrong tokens came from this address, and no other is looked at now; try again in some seconds",
            retry_after_s=max(1, round(self._delay_max_s)),
        )


def _digest(address: str, token: str) -> bytes:
    return hashlib.sha256(f"{network_of(address)} {token}".encode(errors="surrogateescape")).digest()


@lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """What one client has: an IPv4 address (in whatever notation, 6to4 among them), or a /64 of IPv6."""
    try:
        ip = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        if ip.sixtofour is not None:
            return str(ip.sixtofour)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
