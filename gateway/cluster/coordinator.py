"""Coordinator: which cameras this node captures. Sans-IO; time is an argument, in seconds of a monotonic clock.

Theory of operation. All nodes share a store (:mod:`gateway.cluster.store`). Each renews its lease there every
:data:`~gateway.cluster.model.HEARTBEAT_S` and reads with it who else is alive and who owns which camera. From that
alone each node decides: it claims a camera that nobody alive owns and for which it is the first choice. The store
decides between two that claim at once.

Rules:

1. A camera stays with its owner. A node that joins takes over only what nobody alive owns.
2. An owner that does not reach the store goes on (:meth:`Coordinator.is_provisional`). It yields as soon as it learns
   of a higher epoch.
3. Where the first choice does not claim, the next ones do, :data:`NEXT_CHOICE_S` after each other.
4. A hand-over is make-before-break: the owner names a successor, the successor begins to capture and claims the camera
   when it can be seen, and then the owner yields. One that takes longer than :data:`HAND_OVER_MAX_S` ends without:
   a node that drains gives the camera up, any other keeps it.
5. A node that reaches the store again claims nothing for :data:`RETURN_S`: the owners may have been cut off with it,
   and need as long to come back. One that has just started claims nothing for :data:`JOIN_S`, so
   that nodes that start together share the cameras; a worker, until it sees all the others, but no longer than
   :data:`WORKERS_JOIN_S`.
6. Workers of one machine share the cameras evenly (:class:`~gateway.cluster.placement.EvenPlacement`), and hand one
   after the other over to a worker that was started again, :data:`EVEN_AFTER_S` after they first saw it.
7. Nothing is decided on an old answer: not on one that took longer than
   :data:`~gateway.cluster.model.REQUEST_MAX_S`, and not on one from before a later one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.cluster.actions import Action, Claim, HandOver, Own, Prepare, Release, Renew, Request, Yield
from gateway.cluster.model import EXPIRY_S, HEARTBEAT_S, REQUEST_MAX_S, Node, Owner, View
from gateway.cluster.placement import EvenPlacement, is_eligible, ranked

NEXT_CHOICE_S = 1.0
"""How long the next choice waits for the one before it, which may be paused and not expired yet."""

JOIN_S = 2 * HEARTBEAT_S
"""After it, the node has seen all that have started in the same second."""

WORKERS_JOIN_S = 15.0
"""How long a start of all workers may take on a machine that is busy."""

EVEN_AFTER_S = 3.0
"""A worker that ends again and again does not get cameras each time."""

RETURN_S = REQUEST_MAX_S + HEARTBEAT_S
"""A node that waits for an answer that does not come asks again so late."""

HAND_OVER_S = 0.5
"""Hand-overs begin at least so long after each other. Each of them makes a camera send twice for a moment."""

HAND_OVER_MAX_S = 10.0
"""A GOP of a camera with a smart codec is as long."""

STEP_S = 0.25

NEWS_S = 0.1
"""After a renewal, news are followed by another one so much later at the earliest: a node that is lost makes many."""

REQUESTS_MAX = 64
"""Requests without an answer. Others wait until there are fewer."""


@dataclass(slots=True)
class _HandingOver:
    to_id: str
    since_s: float


class Coordinator:
    """See the module. :meth:`step` every :attr:`wait_s` and after each answer; do what it returns, in order."""

    def __init__(self, node: Node, workers: int | None = None) -> None:
        self._node = node
        self._workers = workers
        """How many there are on this machine; ``None``: the nodes are machines."""
        self._even: EvenPlacement | None = None
        """Of the view, for workers."""
        self._first_seen_s: dict[str, float] = {}
        self._is_joining = True
        self._owned: dict[str, int] = {}
        self._preparing: dict[str, bool] = {}
        """The cameras that are handed over to this node, and whether they can be seen."""
        self._handing_over: dict[str, _HandingOver] = {}
        self._unowned_since_s: dict[str, float] = {}
        self._seen: dict[str, int] = {}
        """The highest epoch of each camera that this node has heard of."""
        self._view = View()
        self._view_s: float | None = None
        """When the view was asked for."""
        self._claims_from_s = float("-inf")
        """Rule 5."""
        self._pending: dict[int, tuple[Request, float]] = {}
        self._number = 0
        self._renewed_s: float | None = None
        """When the last renewal was asked for, answered or not."""
        self._has_news = False
        self._handed_over_s: float | None = None
        self._moving: set[str] = set()
        """Cameras of a rebalance that this node has not handed over yet."""
        self._rebalances = 0
        self._orders: list[Action] = []

    # --- what others ask

    @property
    def node(self) -> Node:
        """This node, as the others see it."""
        return self._node

    @property
    def view(self) -> View:
        """The newest that is known of the cluster."""
        return self._view

    @property
    def owned(self) -> Mapping[str, int]:
        """The cameras of this node, with the epoch of each."""
        return self._owned

    @property
    def is_drained(self) -> bool:
        """Whether a drain has nothing left to do."""
        return self._node.is_draining and not self._owned

    @property
    def wait_s(self) -> float:
        """How long until the next step at most."""
        return NEWS_S if self._has_news else STEP_S

    def is_provisional(self, now_s: float) -> bool:
        """Whether the others may think that this node is dead, so that its cameras may have another owner."""
        return self._view_s is None or now_s - self._view_s >= EXPIRY_S

    # --- what happens

    def drain(self) -> None:
        """Hand all cameras over and take none. It may be called again."""
        if not self._node.is_draining:
            self._node = replace(self._node, is_draining=True)
            self._renewed_s = None  # the others should know at once

    def news(self) -> None:
        """Another node has changed something in the store: it is read at once."""
        self._has_news = True

    def rebalance(self) -> None:
        """Hand over the cameras for which another node is the first choice."""
        self._moving = set(self._owned)

    def prepared(self, camera_id: str) -> None:
        """A camera of a :class:`~gateway.cluster.actions.Prepare` can be seen."""
        if camera_id in self._preparing:
            self._preparing[camera_id] = True

    def answered(self, number: int, answer: View | int | bool | None, now_s: float) -> None:
        """The answer of a request. One to a request that is too old, or that has one already, is ignored."""
        request, sent_s = self._pending.pop(number, (None, 0.0))
        if request is None or now_s - sent_s > REQUEST_MAX_S:
            return
        match request, answer:
            case Renew(), View():
                self._apply(answer, sent_s)
            case Claim(), int() if answer > self._seen.get(request.camera_id, 0):
                self._own(request.camera_id, answer)
            case Release(), True if self._owned.get(request.camera_id) == request.epoch:
                self._seen[request.camera_id] = request.epoch + 1
                self._yield(request.camera_id, "no other node took it over in time")

    def failed(self, number: int) -> None:
        """A request has failed; whether it had an effect is not known."""
        self._pending.pop(number, None)

    def step(self, now_s: float) -> list[Action]:
        """What is to be done now."""
        for number, (_, sent_s) in tuple(self._pending.items()):
            if now_s - sent_s > REQUEST_MAX_S:
                del self._pending[number]
        is_renewing = any(isinstance(request, Renew) for request, _ in self._pending.values())
        every_s = NEWS_S if self._has_news else HEARTBEAT_S
        if not is_renewing and (self._renewed_s is None or now_s - self._renewed_s >= every_s):
            self._renewed_s, self._has_news = now_s, False
            self._ask(Renew(self._next(), self._node), now_s)
        if self._view_s is not None and now_s - self._view_s <= REQUEST_MAX_S:
            self._decide(now_s)
        return self.take()

    def take(self) -> list[Action]:
        """What is to be done now, without a new decision."""
        actions, self._orders = self._orders, []
        return actions

    # --- decisions

    def _decide(self, now_s: float) -> None:
        busy = {request.camera_id for request, _ in self._pending.values() if not isinstance(request, Renew)}
        for camera_id, sites in self._view.cameras.items():
            if len(self._pending) >= REQUESTS_MAX:
                return
            if camera_id in busy:
                continue
            if camera_id in self._owned:
                self._consider_leaving(camera_id, sites, now_s)
            elif self._preparing.get(camera_id) or self._is_due(camera_id, sites, now_s):
                self._ask(Claim(self._next(), camera_id, self._node.id, self._seen.get(camera_id, 0)), now_s)

    def _is_due(self, camera_id: str, sites: frozenset[str], now_s: float) -> bool:
        """Rules 1 and 3."""
        if self._view.is_owned(camera_id) or not is_eligible(self._node, sites):
            self._unowned_since_s.pop(camera_id, None)
            return False
        since_s = self._unowned_since_s.setdefault(camera_id, now_s)
        choices = self._choices(camera_id, sites)
        successor_id = self._view.owner(camera_id).successor_id
        if successor_id in choices:
            choices.remove(successor_id)
            choices.insert(0, successor_id)
        waited_s = now_s - max(since_s, self._claims_from_s)
        return self._node.id in choices and waited_s >= choices.index(self._node.id) * NEXT_CHOICE_S

    def _choices(self, camera_id: str, sites: frozenset[str]) -> list[str]:
        if self._even is not None:
            return [node.id for node in self._even.ranked(camera_id)]
        return [node.id for node in ranked(self._view.nodes.values(), camera_id, sites)]

    def _is_moving(self, camera_id: str, to_id: str, now_s: float) -> bool:
        """Whether a camera goes to another node that is its first choice now."""
        if self._even is None:
            return camera_id in self._moving
        return not self._handing_over and now_s - self._first_seen_s.get(to_id, now_s) >= EVEN_AFTER_S

    def _consider_leaving(self, camera_id: str, sites: frozenset[str], now_s: float) -> None:
        """Rule 4."""
        must_leave = not is_eligible(self._node, sites)
        choices = self._choices(camera_id, sites)
        handing_over = self._handing_over.get(camera_id)
        if handing_over is not None:
            is_late = now_s - handing_over.since_s >= HAND_OVER_MAX_S
            if is_late and must_leave:
                self._ask(Release(self._next(), camera_id, self._node.id, self._owned[camera_id]), now_s)
            elif is_late or handing_over.to_id not in choices:
                self._set_successor(camera_id, None, now_s)
            return
        if (
            not choices
            or choices[0] == self._node.id
            or not (must_leave or self._is_moving(camera_id, choices[0], now_s))
        ):
            self._moving.discard(camera_id)
        elif self._handed_over_s is None or now_s - self._handed_over_s >= HAND_OVER_S:
            self._moving.discard(camera_id)
            self._handed_over_s = now_s
            self._set_successor(camera_id, choices[0], now_s)

    def _set_successor(self, camera_id: str, successor_id: str | None, now_s: float) -> None:
        self._handing_over.pop(camera_id, None)
        if successor_id is not None:
            self._handing_over[camera_id] = _HandingOver(successor_id, now_s)
        self._ask(HandOver(self._next(), camera_id, self._node.id, self._owned[camera_id], successor_id), now_s)

    def _apply(self, view: View, sent_s: float) -> None:
        """Take over what the store says."""
        if self._view_s is not None and sent_s < self._view_s:
            return
        if self._view_s is None:
            self._claims_from_s = sent_s + (JOIN_S if self._workers is None else WORKERS_JOIN_S)
        elif sent_s - self._view_s >= EXPIRY_S:
            self._claims_from_s = sent_s + RETURN_S
        if self._workers is not None and self._is_joining and len(view.nodes) >= self._workers:
            self._is_joining = False
            self._claims_from_s = sent_s
        self._view, self._view_s = view, sent_s
        if self._workers is not None:
            self._even = EvenPlacement(view)
            self._first_seen_s = {node_id: self._first_seen_s.get(node_id, sent_s) for node_id in view.nodes}
        asked = view.nodes.get(self._node.id)  # None: its lease has ended before the view was read
        if asked is not None and asked.is_drain_wanted:
            self.drain()
        if asked is not None and asked.rebalances > self._rebalances:
            self._rebalances = asked.rebalances
            self.rebalance()
        for camera_id in [*self._owned, *self._preparing]:
            if camera_id not in view.cameras:
                self._yield(camera_id, "it is no longer a camera of the cluster")
        for camera_id, owner in view.owners.items():
            if camera_id in view.cameras and owner.epoch >= self._seen.get(camera_id, 0):
                self._apply_owner(camera_id, owner, sent_s)
        for camera_id in tuple(self._unowned_since_s):
            if camera_id not in view.cameras:
                del self._unowned_since_s[camera_id]

    def _apply_owner(self, camera_id: str, owner: Owner, sent_s: float) -> None:
        self._seen[camera_id] = owner.epoch
        if owner.node_id == self._node.id:
            # The answer to the claim may have been lost, and so may the request of a hand-over.
            self._own(camera_id, owner.epoch)
            handing_over = self._handing_over.get(camera_id)
            if handing_over is not None and handing_over.since_s < sent_s and owner.successor_id != handing_over.to_id:
                del self._handing_over[camera_id]
            return
        if camera_id in self._owned:
            self._yield(camera_id, f"its epoch is {owner.epoch} now")
        if owner.successor_id == self._node.id and not self._node.is_draining:
            if camera_id not in self._preparing:
                self._preparing[camera_id] = False
                self._orders.append(Prepare(camera_id))
        elif camera_id in self._preparing:
            self._yield(camera_id, "the hand-over to this node was called off")

    def _own(self, camera_id: str, epoch: int) -> None:
        self._preparing.pop(camera_id, None)
        self._unowned_since_s.pop(camera_id, None)
        self._seen[camera_id] = epoch
        if self._owned.get(camera_id) != epoch:
            self._owned[camera_id] = epoch
            self._handing_over.pop(camera_id, None)
            self._orders.append(Own(camera_id, epoch))

    def _yield(self, camera_id: str, reason: str) -> None:
        is_owned, is_preparing = self._owned.pop(camera_id, None), self._preparing.pop(camera_id, None)
        self._handing_over.pop(camera_id, None)
        if is_owned is not None or is_preparing is not None:
            self._orders.append(Yield(camera_id, reason))

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _ask(self, request: Request, now_s: float) -> None:
        self._pending[request.number] = request, now_s
        self._orders.append(request)
