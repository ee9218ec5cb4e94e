"""Listener: the listening socket, with a limit of connections and a header timeout.

It takes the place of aiohttp's ``TCPSite``, which would create aiohttp's own protocol for each connection.
"""

import asyncio
from collections import Counter
from typing import Any

from aiohttp import web

from web.middleware.connection_limiter import ConnectionLimiter
from web.middleware.header_timeout import HEADER_TIMEOUT_S, HeaderTimeoutProtocol
from web.settings import Settings

BACKLOG = 128


class Listener:
    """See the module. The runner is set up; close the listener before the runner is cleaned up."""

    def __init__(
        self,
        runner: web.AppRunner,
        settings: Settings,
        refused: Counter[str],
        *,
        header_timeout_s: float = HEADER_TIMEOUT_S,
    ) -> None:
        assert runner.server is not None
        self._http = runner.server
        self._settings = settings
        self._header_timeout_s = header_timeout_s
        self._refused = refused
        self._limiter = ConnectionLimiter(self._http, settings, refused)
        self._server: asyncio.Server | None = None

    def reload(self, settings: Settings) -> None:
        """Apply another limit, and trust other proxies, for new connections."""
        self._limiter.reload(settings)

    async def start(self) -> None:
        """Listen on ``HOST`` and ``PORT``. Raises ``OSError``."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: HeaderTimeoutProtocol(self._http(), self._limiter, self._refused, self._header_timeout_s),
            self._settings.host,
            self._settings.port,
            backlog=BACKLOG,
        )

    @property
    def address(self) -> tuple[str, int]:
        """The address and port that it listens on."""
        assert self._server is not None
        name: tuple[Any, ...] = self._server.sockets[0].getsockname()
        return name[0], name[1]

    def close(self) -> None:
        """Accept no more connections. Open ones are the runner's to close."""
        if self._server is not None:
            self._server.close()
