"""ConnectionLimiter: how many TCP connections there are, in all and of one client.

Rules:

1. One client (:func:`~gateway.client_address.client_network`) has at most ``CONNECTIONS_PER_ADDRESS`` connections, and
   at most half of all. A proxy of ``TRUSTED_PROXIES`` is not counted so; :mod:`web.middleware.request_limits` counts
   the clients behind it.
2. There are at most as many connections as descriptors allow (:mod:`web.descriptors`).
3. At a limit, connections that do nothing give way to the new one: those without any request first, then those between
   two requests (also while a body that nobody waits for does not come), then those whose request has no credential, the
   longest idle first. At the limit of all, those of the client with the most. So nobody can keep others out with
   connections that do nothing, or that wait for what needs no credential.
4. If all are busy, the client with the most loses its newest one to a client that has fewer. A proxy of
   ``TRUSTED_PROXIES`` has many clients and loses none so. Otherwise the new one is refused.
"""

import logging
from collections import Counter
from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from gateway.client_address import client_network, is_in_networks
from web.settings import Settings

log = logging.getLogger(__name__)

EVICTED_SHARE = 16
"""One in so many of a client's connections gives way at a time, so that a flood does not cost a search for each."""


class Use(IntEnum):
    """What a connection is used for at the moment. The lowest gives way first."""

    UNUSED = 0
    """No request has come on it."""
    BETWEEN_REQUESTS = 1
    WITHOUT_CREDENTIAL = 2
    """Its request is not answered yet, and needs a credential that it has not shown; or needs none."""
    BUSY = 3


class LimitedConnection(Protocol):
    """A connection as the limiter sees it."""

    network: str

    @property
    def use(self) -> tuple[Use, float]:
        """Its use, and since when (monotonic seconds). Orders connections, the first to give way first."""

    def abort(self) -> None:
        """Close it at once."""


class ConnectionLimiter:
    """See the module. ``refused`` counts refused and evicted ones by reason. ``limit`` returns that of rule 2."""

    def __init__(self, settings: Settings, refused: Counter[str], limit: Callable[[], int]) -> None:
        self._refused = refused
        self._limit = limit
        self._groups: dict[str, set[LimitedConnection]] = {}
        self._proxy_networks: set[str] = set()
        """Networks of :attr:`_groups` in which a proxy of ``TRUSTED_PROXIES`` is."""
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
        network, is_proxy = client_network(address), is_in_networks(address, self._proxies)
        limit = min(self._limit(), self._in_all or self._limit())
        own = len(self._groups.get(network, ()))
        if own >= min(self._per_client, max(1, limit // 2)) and not is_proxy:
            if self._evict(network, Use.WITHOUT_CREDENTIAL):
                return True
            self._refused["connections"] += 1
            log.warning("too many connections from %s", network, extra={"client": network})
            return False
        if self._count >= limit and not self._make_room(0 if is_proxy else own):
            self._refused["connections"] += 1
            log.warning("too many connections: %d are open, and all are busy", self._count)
            return False
        if is_proxy:
            self._proxy_networks.add(network)
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
            self._proxy_networks.discard(connection.network)

    def _make_room(self, own: int) -> bool:
        """Close a connection for a client that has ``own`` (rules 3 and 4). Returns whether there was one."""
        largest = sorted(self._groups, key=lambda each: len(self._groups[each]), reverse=True)
        clients = [each for each in largest if each not in self._proxy_networks]
        if any(self._evict(each, Use.BETWEEN_REQUESTS) for each in largest):
            return True
        if any(self._evict(each, Use.WITHOUT_CREDENTIAL) for each in clients):
            return True
        if not clients or len(self._groups[clients[0]]) <= own + 1:
            return False
        self._close(max(self._groups[clients[0]], key=lambda each: each.use[1]))
        return True

    def _evict(self, network: str, last: Use) -> bool:
        """Close connections of a client with a use up to ``last`` (rule 3). Returns whether there was one."""
        uses = [(connection.use, connection) for connection in self._groups.get(network, ())]
        idle = sorted(((use, each) for use, each in uses if use[0] <= last), key=lambda item: item[0])
        for _, connection in idle[: max(1, len(idle) // EVICTED_SHARE)]:
            self._close(connection)
        return bool(idle)

    def _close(self, connection: LimitedConnection) -> None:
        self._refused["evicted"] += 1
        self.remove(connection)
        connection.abort()
