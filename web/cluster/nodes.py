"""ClusterNodes: which other nodes are asked for what they have, and which are away."""

import asyncio
from collections.abc import Collection

from gateway.cluster.model import Node
from web.cluster.forwarding import Forwarding
from web.cluster.peers import Peers
from web.cluster.service import Cluster

POLL_S = 0.05
POLLS_MAX = 40
"""The database has told of the other nodes by then, unless it does not answer."""

KNOWN_S = 30.0
"""So long a node that is not alive any more is known here, until the database has told that it is away
(:mod:`~.absent_nodes`)."""


SEEN_S = 60.0
"""The time at which a node was alive last is that of the database, to ten seconds. Clocks of nodes may differ."""

AWAY = "Liveedge-Away"
"""The field of an answer that names the nodes of a cluster that are away and may have more."""


def away_header(names: Collection[str]) -> dict[str, str]:
    """The field :data:`AWAY`, if there are any."""
    return {AWAY: ", ".join(sorted(names))} if names else {}


class ClusterNodes:
    """See the module."""

    def __init__(self, cluster: Cluster, peers: Peers, forwarding: Forwarding) -> None:
        self._cluster = cluster
        self._peers = peers
        self._forwarding = forwarding

    async def known(self) -> None:
        """Wait until this node knows the others: after its start, :data:`POLLS_MAX` times at most."""
        for _ in range(POLLS_MAX):
            if self._cluster.coordinator.view.nodes:
                break
            await asyncio.sleep(POLL_S)

    def others(self) -> list[Node]:
        """The other nodes that are alive, by name; of one that was started again, the new process."""
        own = self._cluster.coordinator.node
        names = sorted({node.name for node in self._cluster.coordinator.view.nodes.values()} - {own.name})
        return [node for name in names if (node := self._forwarding.named(name)) is not None]

    def named(self, name: str) -> Node | None:
        """Another node that is alive."""
        return next((node for node in self.others() if node.name == name), None)

    def owner(self, camera_id: str) -> Node | None:
        """The node that captures a camera; ``None``: this one, or none that is alive."""
        view = self._cluster.coordinator.view
        node_id = view.owner(camera_id).node_id
        if self._cluster.captures(camera_id) or node_id not in view.nodes:
            return None
        return self._forwarding.node(node_id)

    def absent(self) -> list[str]:
        """The names of the nodes that are not alive: they may have more than is answered."""
        return self._away(with_ended=True)

    def lost(self) -> list[str]:
        """As :meth:`absent`, without those that ended in order."""
        return self._away(with_ended=False)

    def lost_after(self, since_s: float) -> set[str]:
        """Those of :meth:`lost` that were alive after a time, Unix seconds, as far as it is known."""
        seen_s = {node.name: node.seen_at.timestamp() for node in self._cluster.absent}
        return {name for name in self.lost() if seen_s.get(name, since_s) + SEEN_S >= since_s}

    def _away(self, *, with_ended: bool) -> list[str]:
        alive = {node.name for node in self._cluster.coordinator.view.nodes.values()}
        ended = {node.name for node in self._cluster.absent if node.has_left}
        known = {node.name for node in self._cluster.absent} | self._peers.alive_within(KNOWN_S)
        return sorted(known - alive - {self._cluster.coordinator.node.name} - (set() if with_ended else ended))
