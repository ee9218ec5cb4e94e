"""HeaderTimeoutProtocol: where a connection waits until it has said what it wants.

aiohttp bounds the size of a request's head, and the time between requests, but not the time that the first head takes:
a stranger could hold a connection open for ever by sending nothing, or a byte a minute.

Rules:

1. The head of the first request is here within :data:`HEAD_S`, or the connection is cut. After it, the connection is
   aiohttp's own, without anything in between.
2. One address has ``CONNECTIONS_PER_ADDRESS`` connections at most; another is cut at once. A proxy of
   ``TRUSTED_PROXIES`` is not counted: whom it forwards for is (:mod:`web.middleware.security`).
"""

import asyncio
import logging

from aiohttp import web

from web.auth.client_network import client_network
from web.middleware.security import is_in
from web.settings import Settings

log = logging.getLogger(__name__)

HEAD_S = 15.0
"""A browser connects ahead of need and then waits; whatever it loses, it connects again."""

END_OF_HEAD = b"\r\n\r\n"

BACKLOG = 128


class LimitedSite(web.BaseSite):
    """Listens, with a :class:`HeaderTimeoutProtocol` for each connection."""

    def __init__(self, runner: web.AppRunner, settings: Settings, *, head_s: float = HEAD_S) -> None:
        super().__init__(runner, backlog=BACKLOG)
        self._settings = settings
        self._head_s = head_s
        self._crowd = ConnectionLimiter(runner, settings)

    def reload(self, settings: Settings) -> None:
        """Let another limit and other proxies be in force for whoever connects from now on."""
        self._crowd.reload(settings)

    @property
    def name(self) -> str:
        """What is listened on, for the log."""
        return f"http://{self._settings.host}:{self._settings.port}"

    async def start(self) -> None:
        """Listen. Raises ``OSError``."""
        await super().start()
        server = self._runner.server
        assert server is not None
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: HeaderTimeoutProtocol(server(), self._crowd, self._head_s),
            self._settings.host,
            self._settings.port,
            backlog=self._backlog,
        )


class ConnectionLimiter:
    """Who is connected; rule 2."""

    def __init__(self, runner: web.AppRunner, settings: Settings) -> None:
        self._runner = runner
        self.refused = 0
        """Connections that were one too many."""
        self.reload(settings)

    def reload(self, settings: Settings) -> None:
        """Let another limit and other proxies be in force."""
        self._limit = settings.connections_per_address
        self._proxies = settings.trusted_proxies

    def has_room(self, address: str) -> bool:
        """Whether there may be one more from ``address``."""
        server = self._runner.server
        if server is None or is_in(address, self._proxies):
            return True
        network = client_network(address)
        peers = (each.transport for each in server.connections if each.transport is not None)
        if sum(client_network(peer_of(peer)) == network for peer in peers) < self._limit:
            return True
        self.refused += 1
        # At the powers of two: a storm of connections is no storm of lines.
        if self.refused & (self.refused - 1) == 0:
            log.warning("too many connections from %s (%d refused so far)", network, self.refused)
        return False


class HeaderTimeoutProtocol(asyncio.Protocol):
    """One connection until its first request's head is whole; see the module."""

    def __init__(self, inner: asyncio.Protocol, crowd: ConnectionLimiter, head_s: float) -> None:
        self._inner = inner
        self._crowd = crowd
        self._head_s = head_s
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._crowd.has_room(peer_of(transport)):
            transport.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(self._head_s, transport.abort)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._timer is None or self._transport is None:
            return
        seen = self._tail + data
        self._tail = seen[-len(END_OF_HEAD) + 1 :]
        if END_OF_HEAD in seen:
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


def peer_of(transport: asyncio.BaseTransport) -> str:
    """The address at the other end."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""
