"""Placement: which nodes a camera belongs to. Every node comes to the same answer without asking.

Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights by Schindelhauer and Schomaker 2005): each pair of
node and camera has a pseudo-random score, and the nodes with the highest scores are first. A node that leaves moves
its own cameras only. A node has a share of the cameras in proportion to its weight.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable

from gateway.cluster.model import Node, View


def score(node: Node, camera_id: str) -> float:
    """``-weight / ln(u)``, ``u`` uniform in (0, 1) by the hash of both names."""
    digest = hashlib.blake2b(f"{node.name}\n{camera_id}".encode(), digest_size=8).digest()
    uniform = (int.from_bytes(digest, "big") + 0.5) / 2**64
    # Rounded up to 1, the logarithm would be 0.
    return -node.weight / math.log(min(uniform, 1 - 2**-53))


def is_eligible(node: Node, sites: frozenset[str]) -> bool:
    """Whether a node may begin to capture a camera of these sites."""
    return not node.is_draining and (not sites or bool(sites & node.sites))


def ranked(nodes: Iterable[Node], camera_id: str, sites: frozenset[str]) -> list[Node]:
    """The nodes that may capture a camera, the first choice first."""
    eligible = [node for node in nodes if is_eligible(node, sites)]
    return sorted(eligible, key=lambda node: (-score(node, camera_id), node.id))


class EvenPlacement:
    """For few nodes that are alike, the workers of one machine: each has as many cameras as any other, or one more.

    Hashing leaves one of two nodes with 13 of 20 cameras in a fifth of all cases. This counts who owns what, or is
    handed it, and gives each camera that nobody owns to the node that has the fewest then.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._cameras: Counter[str] = Counter()
        self._unowned: dict[str, str] = {}
        for camera_id in view.cameras:
            if view.is_owned(camera_id):
                self._cameras[self._holder_id(camera_id)] += 1
        for camera_id in sorted(each for each in view.cameras if not view.is_owned(each)):
            choices = self.ranked(camera_id)
            if choices:
                self._unowned[camera_id] = choices[0].id
                self._cameras[choices[0].id] += 1

    def ranked(self, camera_id: str) -> list[Node]:
        """As :func:`ranked`. An owner is first unless another node has two cameras less."""
        holder_id = self._unowned.get(camera_id) or self._holder_id(camera_id)
        eligible = [node for node in self._view.nodes.values() if is_eligible(node, self._view.cameras[camera_id])]

        def order(node: Node) -> tuple[int, bool, float, str]:
            others = self._cameras[node.id] - (node.id == holder_id)
            return others, node.id != holder_id, -score(node, camera_id), node.id

        return sorted(eligible, key=order)

    def _holder_id(self, camera_id: str) -> str:
        """The owner, or who takes over from it."""
        owner = self._view.owner(camera_id)
        return (owner.successor_id if owner.successor_id in self._view.nodes else owner.node_id) or ""
