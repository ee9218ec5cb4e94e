"""Nodes of a cluster in one process: coordinators, their links to the store, and time that tests move."""

import random
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

from gateway.cluster.actions import Own, Prepare, Request, Yield
from gateway.cluster.coordinator import Coordinator
from gateway.cluster.model import NOBODY, Node
from gateway.cluster.placement import is_eligible
from gateway.cluster.store import ask
from hls.cluster.recordings import RecordedFile
from tests.support.cluster_store import MemoryStore

TICK_S = 0.25

MADE_S = 10.0
"""After it, no answer of a store is under way that knew a camera otherwise."""


@dataclass
class Link:
    """Between a node and the store. ``loss``: of requests and of answers, each."""

    is_up: bool = True
    delay_s: float = 0.0
    loss: float = 0.0

    @property
    def is_good(self) -> bool:
        return self.is_up and not self.delay_s and not self.loss


@dataclass
class SimulatedNode:
    """A node as its process would run it. It records one file for each camera and epoch."""

    coordinator: Coordinator
    clock_ahead_s: float
    link: Link = field(default_factory=Link)
    is_paused: bool = False
    is_dead: bool = False
    sees_pictures: bool = True
    captured: dict[str, int | None] = field(default_factory=dict)
    """With the epoch; ``None`` while a hand-over to this node is prepared."""
    began_s: dict[str, float] = field(default_factory=dict)
    to_store: list[tuple[float, Request]] = field(default_factory=list)
    answers: list[tuple[float, int, object]] = field(default_factory=list)
    rows: dict[tuple[str, str], tuple[int, int, int]] = field(default_factory=dict)
    """Of the index, not written yet: by camera and file, the epoch and the span in ms."""
    settled_s: float = 0.0
    """Since when its link and its state are as they are."""

    @property
    def node(self) -> Node:
        return self.coordinator.node

    @property
    def is_running(self) -> bool:
        return not self.is_paused and not self.is_dead

    @property
    def is_good(self) -> bool:
        return self.is_running and self.link.is_good

    @property
    def is_gone(self) -> bool:
        """The store hears nothing of it."""
        return self.is_paused or self.is_dead or not self.link.is_up


class World:
    """See the module."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.now_s = 0.0
        self.store = MemoryStore()
        self.nodes: list[SimulatedNode] = []
        self.made_s: dict[str, float] = {}
        """When each camera was made, or its sites were changed."""
        self.holders: dict[tuple[str, int], set[str]] = defaultdict(set)
        """Every node that ever captured a camera as its owner, by epoch."""
        self.epochs: dict[str, int] = {}
        self.unowned_s: dict[str, float] = {}
        self.of_former: dict[tuple[str, str, str], tuple[int, int] | None] = {}
        """What rows of former owners have in the index."""
        self.starts = 0

    def start(
        self, name: str, clock_ahead_s: float = 0.0, sites: frozenset[str] = frozenset(), workers: int | None = None
    ) -> SimulatedNode:
        self.starts += 1
        node = Node(f"{name}#{self.starts}", name, sites=sites)
        started = SimulatedNode(Coordinator(node, workers), clock_ahead_s, settled_s=self.now_s)
        self.nodes.append(started)
        return started

    def set_camera(self, camera_id: str, sites: frozenset[str] = frozenset()) -> None:
        if self.store.cameras.get(camera_id) != sites:
            self.store.cameras[camera_id], self.made_s[camera_id] = sites, self.now_s
            self.unowned_s.pop(camera_id, None)

    def remove_camera(self, camera_id: str) -> None:
        self.store.cameras.pop(camera_id, None)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK_S)):
            self.now_s += TICK_S
            self.store.now_s += TICK_S
            for node in self.nodes:
                self._deliver(node)
            self.nodes = [each for each in self.nodes if not each.is_dead or each.to_store]
            for node in self.nodes:
                if node.is_running:
                    self._run_node(node)
            self.check()

    def owners(self, camera_id: str) -> list[str]:
        """The names of the nodes that capture a camera."""
        return [each.node.name for each in self.nodes if not each.is_dead and camera_id in each.captured]

    # --- one tick

    def _deliver(self, node: SimulatedNode) -> None:
        """Requests arrive, also of a node that was paused or killed after it had sent them."""
        arrived = [request for due_s, request in node.to_store if due_s <= self.now_s]
        node.to_store = [each for each in node.to_store if each[0] > self.now_s]
        for request in arrived:
            answer = ask(self.store, request)
            if self._passes(node.link):
                node.answers.append((self.now_s + node.link.delay_s, request.number, answer))

    def _passes(self, link: Link) -> bool:
        return link.is_up and self.random.random() >= link.loss

    def _run_node(self, node: SimulatedNode) -> None:
        # The clocks of the nodes have nothing to do with each other.
        local_s = self.now_s + 1000 * node.clock_ahead_s
        due = [each for each in node.answers if each[0] <= self.now_s]
        node.answers = [each for each in node.answers if each[0] > self.now_s]
        for _, number, answer in due:
            node.coordinator.answered(number, answer, local_s)  # type: ignore[arg-type]
        for camera_id, epoch in node.captured.items():
            if epoch is None and node.sees_pictures:
                node.coordinator.prepared(camera_id)
        for action in node.coordinator.step(local_s):
            match action:
                case Prepare():
                    node.captured[action.camera_id] = None
                    node.began_s[action.camera_id] = self.now_s
                case Own():
                    if action.camera_id not in node.captured:
                        node.began_s[action.camera_id] = self.now_s
                    node.captured[action.camera_id] = action.epoch
                    self.holders[action.camera_id, action.epoch].add(node.node.id)
                case Yield():
                    self._check_yield(node, action.camera_id)
                    del node.captured[action.camera_id]
                case _ if self._passes(node.link):
                    node.to_store.append((self.now_s + node.link.delay_s, action))
        self._record(node)

    def _record(self, node: SimulatedNode) -> None:
        for camera_id, epoch in node.captured.items():
            if epoch is not None:
                begin_s, end_s = (at_s + node.clock_ahead_s for at_s in (node.began_s[camera_id], self.now_s))
                name = f"{node.node.id}-{epoch}"
                node.rows[camera_id, name] = epoch, round(begin_s * 1000), round(end_s * 1000)
        if self._passes(node.link) and self.random.random() < 0.5:
            for (camera_id, name), (epoch, begin, end) in node.rows.items():
                file = RecordedFile(camera_id, "main", node.node.name, name, begin, end, size=0)
                self.store.record(file, epoch)
            node.rows.clear()

    # --- what must be true at every moment

    def check(self) -> None:
        for (camera_id, epoch), nodes in self.holders.items():
            assert len(nodes) == 1, f"{nodes} owned {camera_id} in epoch {epoch}"
        for camera_id, owner in self.store.owners.items():
            assert owner.epoch >= self.epochs.get(camera_id, 0), f"the epoch of {camera_id} fell"
            self.epochs[camera_id] = owner.epoch
            self._check_index(camera_id)
        for node in self.nodes:
            for camera_id, epoch in node.coordinator.owned.items():
                assert epoch <= self.epochs[camera_id], f"{node.node.id} has an epoch of {camera_id} that nobody gave"
        for camera_id in self.store.cameras:
            self._check_owned(camera_id)

    def _check_yield(self, node: SimulatedNode, camera_id: str) -> None:
        """No owner stops a capture that nobody else has begun. A camera may have been removed and set again."""
        is_owner = self.store.owners.get(camera_id, NOBODY).node_id == node.node.id
        if is_owner and node.captured[camera_id] is not None and self.now_s - self.made_s.get(camera_id, 0.0) > MADE_S:
            assert camera_id not in self.store.cameras, f"{node.node.id} yields {camera_id}, which it owns"

    def _check_index(self, camera_id: str) -> None:
        for key, row in self.store.rows.items():
            if key[0] == camera_id and row.epoch < self.epochs[camera_id]:
                was = self.of_former.setdefault(key, row.canonical)
                assert row.canonical == was, f"a former owner of {camera_id} has changed the index"
        rows = [row.canonical for key, row in self.store.rows.items() if key[0] == camera_id and row.canonical]
        rows.sort()
        for (_, end), (begin, _) in pairwise(rows):
            assert end <= begin, f"two rows of {camera_id} have the same moment: {rows}"

    def _check_owned(self, camera_id: str) -> None:
        """A camera is captured within two expiries, by its owner, where a node can, and no link is half broken."""
        owner = self.store.owners.get(camera_id, NOBODY)
        running = [each for each in self.nodes if not each.is_dead and each.captured.get(camera_id) == owner.epoch]
        if running and owner.node_id is not None:
            self.unowned_s.pop(camera_id, None)
            return
        since_s = self.unowned_s.setdefault(camera_id, self.now_s)
        settled_s = max([since_s, self.made_s[camera_id], *(each.settled_s for each in self.nodes)])
        can = any(each.is_good and is_eligible(each.node, self.store.cameras[camera_id]) for each in self.nodes)
        if can and all(each.is_good or each.is_gone for each in self.nodes):
            assert self.now_s - settled_s <= 8, f"nobody captured {camera_id} for two expiries"
