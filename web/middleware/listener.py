"""Listener: the listening socket, with limits of connections and timeouts of request heads.

It takes the place of aiohttp's ``TCPSite``, which would create aiohttp's own protocol for each connection.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Sequence, Sized

from aiohttp import web

from gateway.client_address import client_network
from gateway.tcp_server import TcpServer
from web.descriptors import connections_limit
from web.middleware.connection import HEADER_TIMEOUT_S, ClosedConnections, HttpConnection
from web.middleware.connection_limiter import ConnectionLimiter
from web.settings import Settings


class Listener:
    """See the module. The runner is set up; close the listener before the runner is cleaned up.

    ``cameras`` are those that need descriptors too (:mod:`web.descriptors`).
    """

    def __init__(
        self,
        runner: web.AppRunner,
        settings: Settings,
        refused: Counter[str],
        *,
        cameras: Sized = (),
        header_timeout_s: float = HEADER_TIMEOUT_S,
    ) -> None:
        assert runner.server is not None
        self._http = runner.server
        self._settings = settings
        self._header_timeout_s = header_timeout_s
        self._refused = refused
        self._limiter = ConnectionLimiter(settings, refused, lambda: connections_limit(len(cameras)))
        self._closed = ClosedConnections()
        self._server = TcpServer("HTTP", self._make_protocol)

    def reload(self, settings: Settings) -> None:
        """Apply other limits, and trust other proxies, for new connections."""
        self._limiter.reload(settings)

    async def start(self, inherited: Sequence[socket.socket] = ()) -> None:
        """Listen on ``HOST`` and ``PORT``, or on sockets that another process opened. Raises ``OSError``."""
        if inherited:
            self._server.adopt(inherited)
            return
        await self._server.start(self._settings.host, self._settings.port)

    @property
    def address(self) -> tuple[str, int]:
        """The address and port that it listens on."""
        return self._server.address

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._limiter)

    @property
    def accept_failures(self) -> int:
        """How often a connection could not be accepted for want of descriptors."""
        return self._server.accept_failures

    def close(self) -> None:
        """Accept no more connections. Open ones are the runner's to close."""
        self._server.close()

    def _make_protocol(self, address: str) -> asyncio.Protocol | None:
        if not self._limiter.accepts(address):
            return None
        return HttpConnection(
            client_network(address), self._http, self._limiter, self._refused, self._closed, self._header_timeout_s
        )
