"""ConnectionLimiter: how many TCP connections there are, in all and of one client.

Rules:

1. One client (:func:`~gateway.client_address.client_network`) has at most ``CONNECTIONS_PER_ADDRESS`` connections, and
   at most half of all. A proxy of ``TRUSTED_PROXIES`` is not counted so; :mod:`web.middleware.request_limits` counts
   the clients behind it.
2. There are at most as many connections as descriptors allow (:mod:`web.descriptors`).
3. At a limit, idle connections give way to the new one: those without any request first, then those between two
   requests, the longest idle first. At the limit of all, those of the client with the most. So nobody can keep others
   out with connections that do nothing. If none is idle, the new one is refused.
"""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from gateway.client_address import client_network, is_in_networks
from web.settings import Settings

log = logging.getLogger(__name__)

EVICTED_SHARE = 16
"""One in so many of a client's connections gives way at a time, so that a flood does not cost a search for each."""


class LimitedConnection(Protocol):
    """A connection as the limiter sees it."""

    network: str

    @property
    def idle_rank(self) -> tuple[bool, float] | None:
        """Orders idle connections, the first to give way first; ``None`` while a request is being answered."""

    def abort(self) -> None:
        """Close it at once."""


class ConnectionLimiter:
    """See the module. ``refused`` counts refused and evicted ones by reason. ``limit`` returns that of rule 2."""

    def __init__(self, settings: Settings, refused: Counter[str], limit: Callable[[], int]) -> None:
        self._refused = refused
        self._limit = limit
        self._groups: dict[str, set[LimitedConnection]] = {}
        self._count = 0
        self.reload(settings)

    def __len__(self) -> int:
        return self._count

    def reload(self, settings: Settings) -> None:
        """Apply other limits, and trust other proxies, from now on."""
        self._per_client = settings.connections_per_address
        self._in_all = settings.connections_max
        self._proxies = settings.trusted_proxies

    def accepts(self, address: str) -> bool:
        """Whether another connection from ``address`` is accepted. Closes others to make room."""
        network = client_network(address)
        limit = min(self._limit(), self._in_all or self._limit())
        group = self._groups.get(network, ())
        if len(group) >= min(self._per_client, max(1, limit // 2)) and not is_in_networks(address, self._proxies):
            if self._evict(network):
                return True
            self._refused["connections"] += 1
            log.warning("too many connections from %s", network, extra={"client": network})
            return False
        if self._count >= limit:
            largest = sorted(self._groups, key=lambda each: len(self._groups[each]), reverse=True)
            if any(self._evict(each) for each in largest):
                return True
            self._refused["connections"] += 1
            log.warning("too many connections: %d are open, and none is idle", self._count)
            return False
        return True

    def add(self, connection: LimitedConnection) -> None:
        """Count a connection until :meth:`remove`."""
        self._groups.setdefault(connection.network, set()).add(connection)
        self._count += 1

    def remove(self, connection: LimitedConnection) -> None:
        """The connection is closed. Twice is fine."""
        group = self._groups.get(connection.network)
        if group is None or connection not in group:
            return
        group.remove(connection)
        self._count -= 1
        if not group:
            del self._groups[connection.network]

    def _evict(self, network: str) -> bool:
        """Rule 3. Returns whether there was an idle connection."""
        ranks = [(connection.idle_rank, connection) for connection in self._groups.get(network, ())]
        idle = sorted(((rank, each) for rank, each in ranks if rank is not None), key=lambda item: item[0])
        for _, connection in idle[: max(1, len(idle) // EVICTED_SHARE)]:
            self._refused["evicted"] += 1
            self.remove(connection)
            connection.abort()
        return bool(idle)
