"""ClusterStore: the port to what all nodes share. Its adapters decide between nodes that ask at once.

Each method is one transaction, and by the clock of the store. Blocking; one thread at a time. Every method raises
:class:`~gateway.errors.StorageError` if the store is away; whether the request had an effect is not known then.
"""

from typing import Protocol

from gateway.cluster.actions import Claim, HandOver, Release, Renew, Request
from gateway.cluster.model import Node, View


class ClusterStore(Protocol):
    """See the module, and :mod:`gateway.cluster.actions`."""

    def renew(self, node: Node) -> View:
        """The node is alive for :data:`~gateway.cluster.model.EXPIRY_S` from now on. Returns all that are known."""
        ...

    def claim(self, camera_id: str, node_id: str, epoch: int) -> int | None:
        """Own a camera with the epoch after ``epoch``. Returns that.

        ``None``, and nothing changes, unless the camera exists, the node is alive, the camera's epoch is ``epoch``, and
        the camera has no owner, one that is not alive, or one that hands it over to this node.
        """
        ...

    def hand_over(self, camera_id: str, node_id: str, epoch: int, successor_id: str | None) -> bool:
        """Set the successor. False, and nothing changes, unless the node owns the camera with this epoch."""
        ...

    def release(self, camera_id: str, node_id: str, epoch: int) -> bool:
        """End the ownership, and its epoch.

        False, and nothing changes, unless the node owns the camera with this epoch.
        """
        ...

    def leave(self, node_id: str) -> None:
        """The node is no longer alive."""
        ...


def ask(store: ClusterStore, request: Request) -> View | int | bool | None:
    """Make a request of a coordinator; returns the answer for it."""
    match request:
        case Renew():
            return store.renew(request.node)
        case Claim():
            return store.claim(request.camera_id, request.node_id, request.epoch)
        case HandOver():
            return store.hand_over(request.camera_id, request.node_id, request.epoch, request.successor_id)
        case Release():
            return store.release(request.camera_id, request.node_id, request.epoch)
