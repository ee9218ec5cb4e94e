"""HttpConnection: one TCP connection of the HTTP server, with timeouts for every request head.

aiohttp limits the size of a request head and the time between requests, but not the time that a head takes: a client
could keep a connection open for ever by sending a byte a minute. nginx calls this limit ``client_header_timeout``.

Rules:

1. The first head is complete :data:`HEADER_TIMEOUT_S` after the connection was opened, each later one as long after its
   first byte. Otherwise the connection is closed.
2. Between two requests a connection is kept for :data:`KEEP_ALIVE_S`, which aiohttp measures. It closes a connection
   then also in the middle of a head.
3. When thousands of idle connections close at once, :data:`CLOSES_PER_TICK` are released in a turn of the event loop,
   so that viewers do not wait for all of them.
4. The connection is counted by the :class:`~web.middleware.connection_limiter.ConnectionLimiter` until it is lost.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable

from aiohttp import web

from web.auth.requests import CredentialNote
from web.middleware.connection_limiter import ConnectionLimiter, Use

HEADER_TIMEOUT_S = 15.0
"""A browser opens connections in advance and leaves them idle. It opens closed ones again when it needs them."""

KEEP_ALIVE_S = 75.0
"""nginx's default. It has to be longer than that of a proxy for its connections here, 60 s in nginx."""


CLOSES_PER_TICK = 16
"""Releasing one ends a task, some 100 µs."""


class ClosedConnections:
    """The idle connections of a listener that are closed and not released yet (rule 3)."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[web.RequestHandler, Exception | None]] = deque()

    def release(self, handler: web.RequestHandler, error: Exception | None) -> None:
        """Let aiohttp's protocol release one of them, in this turn of the event loop or a later one."""
        self._waiting.append((handler, error))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._release_some)

    def _release_some(self) -> None:
        for _ in range(min(CLOSES_PER_TICK, len(self._waiting))):
            handler, error = self._waiting.popleft()
            handler.connection_lost(error)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._release_some)


class HttpConnection(CredentialNote, asyncio.Protocol):
    """See the module. Stands between the transport and aiohttp's protocol, which ``make_handler`` makes."""

    def __init__(
        self,
        network: str,
        make_handler: Callable[[], web.RequestHandler],
        limiter: ConnectionLimiter,
        refused: Counter[str],
        closed: ClosedConnections,
        header_timeout_s: float,
    ) -> None:
        self.network = network
        self._make_handler = make_handler
        self._limiter = limiter
        self._refused = refused
        self._closed = closed
        self._header_timeout_s = header_timeout_s
        self._handler: web.RequestHandler | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._idle_since_s = time.monotonic()
        limiter.add(self)

    @property
    def use(self) -> tuple[Use, float]:
        """See :class:`~web.middleware.connection_limiter.LimitedConnection`."""
        handler = self._handler
        if handler is None:
            use = Use.BUSY
        elif not has_requested(handler):
            use = Use.UNUSED
        elif not is_answering(handler):
            use = Use.BETWEEN_REQUESTS
        else:
            use = Use.WITHOUT_CREDENTIAL if self.lacks_credential else Use.BUSY
        return use, self._idle_since_s

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._handler = self._make_handler()
        self._start_timer()
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        handler = self._handler
        if handler is None:
            return
        self._idle_since_s = time.monotonic()
        handler.data_received(data)
        if not waits_for_head(handler):
            self._stop_timer()
        elif self._timer is None:
            self._start_timer()

    def eof_received(self) -> None:
        if self._handler is not None:
            self._handler.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._limiter.remove(self)
        self._stop_timer()
        handler, self._handler = self._handler, None
        if handler is None:
            return
        if not waits_for_head(handler):
            handler.connection_lost(exc)
            return
        self._closed.release(handler, exc)

    def pause_writing(self) -> None:
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        if self._handler is not None:
            self._handler.resume_writing()

    def _start_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._header_timeout_s, self._on_timeout)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        self._timer = None
        self._refused["header_timeout"] += 1
        self.abort()


# What this module uses of aiohttp beyond its documented interface; tests/web/middleware/test_limits.py names it too.


def waits_for_head(handler: web.RequestHandler) -> bool:
    """Whether aiohttp's protocol has no request to answer: it waits for a complete head."""
    waiter = handler._waiter
    return (waiter is not None and not waiter.done()) or not has_requested(handler)


def has_requested(handler: web.RequestHandler) -> bool:
    """Whether a request has come on the connection."""
    return handler._request_count > 0


def is_answering(handler: web.RequestHandler) -> bool:
    """Whether a request is being answered. Then aiohttp may still read the rest of its body, for 10 s."""
    return handler._request_in_progress or bool(handler._messages)
