"""A store of a cluster in memory, by the same rules as the one in PostgreSQL, and with a clock that tests set."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gateway.cluster.model import EXPIRY_S, NOBODY, Node, Owner, View
from hls.cluster.recordings import RecordedFile


@dataclass(frozen=True)
class Row:
    """A recorded file in the index: what the file has, and the span of it that no other row has."""

    epoch: int
    span: tuple[int, int]
    canonical: tuple[int, int] | None


class MemoryStore:
    """See the module. ``now_s`` is the clock of the store."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.nodes: dict[str, tuple[Node, float]] = {}
        """Every node, and when its lease expires."""
        self.cameras: dict[str, frozenset[str]] = {}
        self.owners: dict[str, Owner] = {}
        self.revision = 0
        self.rows: dict[tuple[str, str, str], Row] = {}
        """The index, by camera, name of the node, and name of the file."""

    def is_alive(self, node_id: str | None) -> bool:
        return node_id in self.nodes and self.nodes[node_id][1] > self.now_s

    def renew(self, node: Node) -> View:
        node = replace(node, rebalances=self.nodes[node.id][0].rebalances if node.id in self.nodes else 0)
        self.nodes[node.id] = node, self.now_s + EXPIRY_S
        alive = {node_id: each for node_id, (each, _) in self.nodes.items() if self.is_alive(node_id)}
        owners = {key: self.owners[key] for key in self.owners if key in self.cameras}
        return View(alive, dict(self.cameras), owners, self.revision)

    def claim(self, camera_id: str, node_id: str, epoch: int) -> int | None:
        owner = self.owners.get(camera_id, NOBODY)
        if camera_id not in self.cameras or not self.is_alive(node_id) or owner.epoch != epoch:
            return None
        if self.is_alive(owner.node_id) and owner.successor_id != node_id:
            return None
        self.owners[camera_id] = Owner(epoch + 1, node_id)
        return epoch + 1

    def hand_over(self, camera_id: str, node_id: str, epoch: int, successor_id: str | None) -> bool:
        owner = self.owners.get(camera_id, NOBODY)
        if (owner.node_id, owner.epoch) != (node_id, epoch):
            return False
        self.owners[camera_id] = replace(owner, successor_id=successor_id)
        return True

    def release(self, camera_id: str, node_id: str, epoch: int) -> bool:
        owner = self.owners.get(camera_id, NOBODY)
        if (owner.node_id, owner.epoch) != (node_id, epoch):
            return False
        self.owners[camera_id] = Owner(epoch + 1)
        return True

    def leave(self, node_id: str) -> None:
        self.nodes.pop(node_id, None)

    def set_camera(self, camera_id: str, sites: Iterable[str] = ()) -> None:
        self.cameras[camera_id] = frozenset(sites)
        self.revision += 1

    def remove_camera(self, camera_id: str) -> None:
        self.cameras.pop(camera_id, None)
        self.revision += 1

    def record(self, file: RecordedFile, epoch: int) -> bool:
        key = file.camera_id, file.node_name, file.name
        span, before = (file.start_90k, file.end_90k), self.rows.get(key)
        if file.camera_id not in self.owners or self.owners[file.camera_id].epoch != epoch:
            begin, end = before.canonical if before and before.canonical else (0, 0)
            end = min(end, span[1])
            kept = (begin, end) if begin < end else None
            self.rows[key] = Row(before.epoch if before else epoch, span, kept)
            return False
        others = [row.canonical for other, row in self.rows.items() if other[0] == file.camera_id and other != key]
        self.rows[key] = Row(epoch, span, without(span, (each for each in others if each is not None)))
        return True

    def want_rebalance(self) -> int:
        alive = [node_id for node_id in self.nodes if self.is_alive(node_id)]
        for node_id in alive:
            node, expires_s = self.nodes[node_id]
            self.nodes[node_id] = replace(node, rebalances=node.rebalances + 1), expires_s
        return len(alive)

    def tick(self, now_s: float) -> None:
        """Set the clock."""
        self.now_s = now_s


def without(span: tuple[int, int], others: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
    """What of a span comes after those that began before it, and before those that begin after it."""
    begin, end = span
    for other_begin, other_end in others:
        if other_begin <= span[0]:
            begin = max(begin, other_end)
        else:
            end = min(end, other_begin)
    return (begin, end) if begin < end else None
