"""What a :class:`~gateway.cluster.coordinator.Coordinator` wants done.

A *request* goes to the store. Its answer comes back with its ``number``, or never. An *order* is for the node itself.
"""

from dataclasses import dataclass

from gateway.cluster.model import Node


@dataclass(frozen=True, slots=True)
class Renew:
    """Renew the lease of the node, and read the :class:`~gateway.cluster.model.View`. The answer is that."""

    number: int
    node: Node


@dataclass(frozen=True, slots=True)
class Claim:
    """Own a camera that no living node owns, or that is handed over to this one, while its epoch is still ``epoch``.

    The answer is the new epoch, ``epoch + 1``, or ``None`` where the claim is refused.
    """

    number: int
    camera_id: str
    node_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class HandOver:
    """Name the successor of an owner, or none any more. The answer is whether the node owns the camera still."""

    number: int
    camera_id: str
    node_id: str
    epoch: int
    successor_id: str | None


@dataclass(frozen=True, slots=True)
class Release:
    """Give a camera up. The answer is whether the node owned it still."""

    number: int
    camera_id: str
    node_id: str
    epoch: int


Request = Renew | Claim | HandOver | Release


@dataclass(frozen=True, slots=True)
class Prepare:
    """Begin to capture a camera that another node hands over. Tell ``prepared`` when it can be seen."""

    camera_id: str


@dataclass(frozen=True, slots=True)
class Own:
    """Capture a camera, and write with this epoch."""

    camera_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Yield:
    """Stop capturing a camera."""

    camera_id: str
    reason: str


Order = Prepare | Own | Yield

Action = Request | Order
