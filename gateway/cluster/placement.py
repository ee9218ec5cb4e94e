"""Placement: which nodes a camera belongs to. Every node comes to the same answer without asking.

Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights by Schindelhauer and Schomaker 2005): each pair of
node and camera has a pseudo-random score, and the nodes with the highest scores are first. A node that leaves moves
its own cameras only. A node has a share of the cameras in proportion to its weight.
"""

import hashlib
import math
from collections.abc import Iterable

from gateway.cluster.model import Node


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
