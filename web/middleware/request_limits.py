"""RequestLimits: how many requests one client may have open, and how long a request may take.

Rules:

1. One client (:mod:`web.auth.counted_as`) has at most ``CONNECTIONS_PER_ADDRESS`` requests open at a time, streams
   included. Another is answered 429. So this comes after the authentication.
2. A request that may change something is answered 408 after :data:`UNSAFE_TIMEOUT_S`, however slowly its body arrives.
   GET, HEAD and OPTIONS are excepted, since streams and long polling last. What they send as a body is not waited for.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable

from aiohttp import hdrs, web

from web.auth.counted_as import counted_as, is_limited
from web.auth.rate_limiter import TooManyError
from web.auth.requests import grant_of
from web.settings import Settings

SAFE_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
"""Methods that change nothing (RFC 9110 §9.2.1)."""

SOCKET_IO = "/socket.io/"

UNSAFE_TIMEOUT_S = 30.0
"""Including the time for the body. Three times what a camera may take to answer."""


class RequestLimits:
    """See the module. ``refused`` counts refused requests by reason."""

    def __init__(
        self, settings: Settings, refused: Counter[str], *, unsafe_timeout_s: float = UNSAFE_TIMEOUT_S
    ) -> None:
        self._unsafe_timeout_s = unsafe_timeout_s
        self._open: Counter[str] = Counter()
        self._refused = refused
        self.reload(settings)

    def reload(self, settings: Settings) -> None:
        """Apply another limit from now on."""
        self._limit = settings.connections_per_address

    def count(self, request: web.Request) -> "OpenRequest":
        """Count a request while the context that this returns is entered.

        Raises :class:`~web.auth.rate_limiter.TooManyError`.
        """
        grant = grant_of(request)
        client = counted_as(grant, request.remote or "")
        if self._open[client] >= self._limit and is_limited(grant):
            self._refused["connections"] += 1
            raise TooManyError(
                f"{client} has {self._limit} requests open already, the limit of CONNECTIONS_PER_ADDRESS",
                retry_after_s=2,
            )
        return OpenRequest(self._open, client)

    async def within_timeout(self, answering: Awaitable[web.StreamResponse]) -> web.StreamResponse:
        """The answer of a handler (rule 2). Raises ``HTTPRequestTimeout``."""
        timeout: asyncio.Timeout | None = None
        try:
            async with asyncio.timeout(self._unsafe_timeout_s) as timeout:
                return await answering
        except TimeoutError:
            if timeout is None or not timeout.expired():
                raise
            raise web.HTTPRequestTimeout from None


class OpenRequest:
    """A request that counts for ``client``, in the body of the ``with``."""

    __slots__ = ("_client", "_counts")

    def __init__(self, counts: Counter[str], client: str) -> None:
        self._counts, self._client = counts, client

    def __enter__(self) -> None:
        self._counts[self._client] += 1

    def __exit__(self, *_: object) -> None:
        self._counts[self._client] -= 1
        if not self._counts[self._client]:
            del self._counts[self._client]
