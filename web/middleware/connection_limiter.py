"""ConnectionLimiter: one client has at most ``CONNECTIONS_PER_ADDRESS`` TCP connections open.

A proxy of ``TRUSTED_PROXIES`` is not counted; :mod:`web.middleware.request_limits` counts the clients behind it.
"""

import asyncio
import logging
from collections import Counter

from aiohttp import web

from web.auth.client_address import client_network, is_in_networks
from web.settings import Settings

log = logging.getLogger(__name__)


class ConnectionLimiter:
    """See the module. Reads the connections of ``server``; ``refused`` counts refused ones by reason."""

    def __init__(self, server: web.Server, settings: Settings, refused: Counter[str]) -> None:
        self._server = server
        self._refused = refused
        self.reload(settings)

    def reload(self, settings: Settings) -> None:
        """Apply another limit, and trust other proxies, from now on."""
        self._limit = settings.connections_per_address
        self._proxies = settings.trusted_proxies

    def accepts(self, address: str) -> bool:
        """Whether another connection from ``address`` is accepted."""
        if is_in_networks(address, self._proxies):
            return True
        network = client_network(address)
        peers = (each.transport for each in self._server.connections if each.transport is not None)
        if sum(client_network(peer_address(peer)) == network for peer in peers) < self._limit:
            return True
        self._refused["connections"] += 1
        log.warning("too many connections from %s", network, extra={"client": network})
        return False


def peer_address(transport: asyncio.BaseTransport) -> str:
    """The address of the other end of a connection; empty if it is unknown."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""
