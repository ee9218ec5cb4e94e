"""What the nodes of a cluster know of each other, and the times by which they judge.

Times are in seconds. Those of leases are by the clock of the database, the only one that all nodes share.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

HEARTBEAT_S = 1.0
"""A node renews its lease so often."""

EXPIRY_S = 4.0
"""A node that has not renewed its lease for so long is dead to the others. Three renewals may be lost before."""

REQUEST_MAX_S = 2.0
"""An answer of the database that comes later is ignored: it describes a cluster that may have changed. Shorter than
:data:`EXPIRY_S`, so that no answer from before an expiry counts after it."""


class KeyName(StrEnum):
    """What a random text is for that all nodes share."""

    NODES = "nodes"
    """Requests between nodes."""
    URLS = "urls"
    """Signed URLs, where ``AUTH_SIGNING_KEY`` is not set: one that a node signed opens the same at every node."""


@dataclass(frozen=True, slots=True)
class Node:
    """One process of a cluster.

    ``id`` is of this process alone, so that a process that is started again does not take the place of one that still
    runs. ``name`` stays over restarts, and decides the placement. ``weight`` is its share of the cameras, compared with
    the other nodes. A node without ``sites`` serves cameras without ``sites``.
    """

    id: str
    name: str
    url: str = ""
    sites: frozenset[str] = frozenset()
    weight: float = 1.0
    is_draining: bool = False
    is_drain_wanted: bool = False
    """Whether somebody has asked the node in the store to drain. The node itself does not write it."""
    rebalances: int = 0
    """How often somebody has asked the node to rebalance, as ``is_drain_wanted``."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Which node captures a camera.

    ``epoch`` rises with each claim and each release, and never falls: what carries a lower one is of a former owner.
    ``node_id`` is ``None`` after a release. ``successor_id``: the node that the camera is handed over to.
    """

    epoch: int = 0
    node_id: str | None = None
    successor_id: str | None = None


NOBODY = Owner()


@dataclass(frozen=True, slots=True)
class View:
    """The cluster at one moment, as the database has it.

    ``nodes``: those whose lease has not expired, by id. ``cameras``: the sites of each camera; a camera without sites
    may be captured by every node. ``owners``: a camera that nobody has ever claimed is not in it. ``revision`` is
    higher after each change of a camera.
    """

    nodes: Mapping[str, Node] = field(default_factory=dict)
    cameras: Mapping[str, frozenset[str]] = field(default_factory=dict)
    owners: Mapping[str, Owner] = field(default_factory=dict)
    revision: int = 0

    def owner(self, camera_id: str) -> Owner:
        return self.owners.get(camera_id, NOBODY)

    def is_owned(self, camera_id: str) -> bool:
        """Whether a living node owns the camera."""
        return self.owner(camera_id).node_id in self.nodes
