"""HeaderTimeoutProtocol: close a connection that does not send a complete request head in time.

aiohttp limits the size of a request head, and the time between requests, but not the time that the first head takes: a
client could keep a connection open for ever by sending nothing, or a byte a minute. nginx calls this limit
``client_header_timeout``.

The protocol stands between the transport and aiohttp's own protocol until the first head is complete. After that the
transport calls aiohttp's protocol directly.
"""

import asyncio
from collections import Counter

from web.middleware.connection_limiter import ConnectionLimiter, peer_address

HEADER_TIMEOUT_S = 15.0
"""A browser opens connections in advance and leaves them idle. It opens closed ones again when it needs them."""

END_OF_HEAD = b"\r\n\r\n"


class HeaderTimeoutProtocol(asyncio.Protocol):
    """One connection until its first request head is complete. Aborts it at once if ``limiter`` refuses it."""

    def __init__(
        self, inner: asyncio.Protocol, limiter: ConnectionLimiter, refused: Counter[str], timeout_s: float
    ) -> None:
        self._inner = inner
        self._limiter = limiter
        self._refused = refused
        self._timeout_s = timeout_s
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._limiter.accepts(peer_address(transport)):
            transport.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._on_timeout, transport)
        self._inner.connection_made(transport)

    def _on_timeout(self, transport: asyncio.Transport) -> None:
        self._refused["header_timeout"] += 1
        transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._timer is None or self._transport is None:
            return
        received = self._tail + data
        self._tail = received[-len(END_OF_HEAD) + 1 :]
        if END_OF_HEAD in received:
            self._timer.cancel()
            self._transport.set_protocol(self._inner)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._timer is not None else None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
