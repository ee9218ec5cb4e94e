"""AllEvents: the events of all nodes of a cluster, or of all workers, as one list and one log of changes.

Theory of operation. An event is in the index of the node that captured its camera when it happened, beside the
recordings that it covers. This node has its own, and asks the others for theirs (:mod:`~.node_events`). It follows the
log of each other node with one request that waits there, and keeps the newest changes (:mod:`~.event_logs`): however
many clients hear of changes here, each node is asked once.

Rules:

1. A list has the events of all nodes that answer, in one order (:mod:`~.event_pages`), and names those that do not.
2. An event is made at the node that captures its camera. It is changed and deleted where it is: a change is worked out
   here, and written there unless the event has changed meanwhile; then it is worked out again.
3. An event that no node has does not exist, unless a node is away that may have it.
4. Other nodes are answered from the events of this one alone.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from gateway.cluster.model import Node
from gateway.errors import ConflictError, LiveedgeError, NodeAwayError, NotFoundError
from gateway.event import Event, EventChange, EventFilter, EventOrder, EventPage, IdempotencyKey, parse_cursor
from hls.events.service import EventService
from web.cluster.event_logs import EventLogs, NodeLog, read_positions
from web.cluster.event_pages import merge_pages
from web.cluster.node_events import WAIT_S, NodeEvents
from web.cluster.nodes import ClusterNodes
from web.cluster.service import Cluster

FOLLOW_S = 1.0
"""How often is looked for nodes that are new, and how long after a failure one is asked again."""

TRIES_MAX = 5
"""How often a change is worked out for an event that others change at the same time."""


class AllEvents:
    """See the module. Implements :class:`signaling.event_store.EventStore`. Lives on the event loop."""

    def __init__(self, own: EventService, cluster: Cluster, nodes: ClusterNodes, there: NodeEvents) -> None:
        self.own = own
        self._cluster = cluster
        self._nodes = nodes
        self._there = there
        self._logs = EventLogs(cluster.coordinator.node.name)
        self._news = asyncio.Event()
        """Set, and replaced, when another node has told of something."""
        self._following: dict[str, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow the other nodes."""
        self._task = asyncio.create_task(self._follow(), name="cluster-events")

    async def close(self) -> None:
        """Stop."""
        tasks = [*([self._task] if self._task is not None else []), *self._following.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # --- lists

    async def page(self, wanted: EventFilter, order: EventOrder, limit: int, cursor: str | None = None) -> EventPage:
        """As of the port (rule 1)."""
        if cursor:
            parse_cursor(cursor)
        await self._nodes.known()
        nodes = self._nodes.others()

        async def there(node: Node) -> EventPage | None:
            try:
                return await self._there.page(node, wanted, order, limit, cursor)
            except LiveedgeError:
                return None

        asked = asyncio.gather(*(there(node) for node in nodes))
        try:
            own = await self.own.page(wanted, order, limit, cursor)
        except BaseException:
            asked.cancel()
            raise
        pages = await asked
        silent = [node.name for node, page in zip(nodes, pages, strict=True) if page is None]
        return merge_pages([own, *filter(None, pages)], order, limit, [*silent, *self._nodes.absent()])

    async def has_camera(self, camera_id: str) -> bool:
        """Whether there is an event of a camera, which may have been removed."""
        if await self.own.has_camera(camera_id):
            return True
        return bool((await self.page(EventFilter(frozenset({camera_id})), EventOrder.NEWEST, 1)).events)

    # --- one event

    async def get(self, event_id: str) -> Event | None:
        """As of the port. Raises :class:`~gateway.errors.NodeAwayError` by rule 3."""
        found = await self.find(event_id)
        return found[1] if found is not None else None

    async def find(self, event_id: str) -> tuple[Node | None, Event] | None:
        """An event, and the node that has it; ``None`` in its place for this one. Raises as :meth:`get`."""
        if (own := await self.own.get(event_id)) is not None:
            return None, own
        await self._nodes.known()
        nodes = self._nodes.others()
        answers = await asyncio.gather(*(self._there.get(node, event_id) for node in nodes), return_exceptions=True)
        silent = []
        for node, answer in zip(nodes, answers, strict=True):
            if isinstance(answer, Event):
                return node, answer
            if isinstance(answer, LiveedgeError):
                silent.append(node.name)
            elif answer is not None:
                raise answer
        if silent := [*silent, *self._nodes.lost()]:
            raise NodeAwayError(
                silent[0], f"the node {silent[0]} of the cluster is away, which may have this event: ask again later"
            )
        return None

    async def create(self, event: Event, key: IdempotencyKey | None = None) -> tuple[Event, bool]:
        """As of the port (rule 2)."""
        owner = self._nodes.owner(event.camera_id)
        return await (self.own.create(event, key) if owner is None else self._there.create(owner, event, key))

    async def update(self, event_id: str, apply: Callable[[Event], Event]) -> Event:
        """As of the port (rule 2)."""
        for _ in range(TRIES_MAX):
            node, event = await self._require(event_id)
            if node is None:
                return await self.own.update(event_id, apply)
            changed = apply(event)
            if changed == event:
                return event
            try:
                return await self._there.replace(node, event, changed)
            except ConflictError:
                continue
        raise ConflictError("others change this event all the time: read it, and send the change again")

    async def delete(self, event_id: str) -> None:
        """Delete an event. Raises ``NotFoundError``, ``StorageError`` and ``UnavailableError``."""
        node, _ = await self._require(event_id)
        await (self.own.delete(event_id) if node is None else self._there.delete(node, event_id))

    async def _require(self, event_id: str) -> tuple[Node | None, Event]:
        found = await self.find(event_id)
        if found is None:
            raise NotFoundError("there is no such event; it may have been deleted")
        return found

    # --- changes

    @property
    def is_closed(self) -> bool:
        """Whether there will be no more changes."""
        return self.own.is_closed

    @property
    def position(self) -> str:
        """Where the logs of all nodes end now, as far as is known here."""
        return self._logs.position(self.own.position)

    def position_after(self, position: str, change: EventChange) -> str:
        """The place after the next change of one of the nodes."""
        return self._logs.position_after(position, change)

    async def changes_after(self, position: str) -> list[EventChange] | None:
        """The next changes of all nodes after a place; ``None`` if a log does not go back so far."""
        positions = read_positions(position)
        own = await self.own.changes_after(positions.get(self._logs.own_name, ""))
        if own is None:
            return None
        changes = [replace(change, node=self._logs.own_name) for change in own]
        for name, log in tuple(self._logs.of.items()):
            there = positions.get(name)
            if there is None:
                return None
            found = log.after(there) if log.after(there) is not None else await self._older(name, there)
            if found is None:
                return None
            changes += found
        return changes

    async def _older(self, name: str, position: str) -> list[EventChange] | None:
        """What is not in memory any more."""
        node = self._nodes.named(name)
        if node is None:
            return None
        try:
            return (await self._there.changes(node, position))[1]
        except LiveedgeError:
            return None

    async def wait_for_change(self, position: str, timeout_s: float) -> None:
        """Wait until a log goes on after a place, for ``timeout_s`` at most."""
        if self.is_closed or self._logs.is_ahead_of(position):
            return
        own = read_positions(position).get(self._logs.own_name, "")
        waiting = [
            asyncio.create_task(self.own.wait_for_change(own, timeout_s)),
            asyncio.create_task(self._news.wait()),
        ]
        try:
            await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    # --- the other nodes

    async def _follow(self) -> None:
        while True:
            for node in self._nodes.others():
                task = self._following.get(node.name)
                if task is None or task.done():
                    self._following[node.name] = asyncio.create_task(self._read(node), name="cluster-events-of-node")
            await asyncio.sleep(FOLLOW_S)

    async def _read(self, node: Node) -> None:
        """Follow the log of a node until it does not answer."""
        try:
            while node in self._nodes.others():
                log = self._logs.of.get(node.name)
                position, changes = await self._there.changes(node, log.position if log else None, WAIT_S if log else 0)
                if log is None:
                    self._logs.of[node.name] = NodeLog(position)
                elif changes == []:
                    continue
                else:
                    log.add(position, changes)
                self._news.set()
                self._news = asyncio.Event()
        except LiveedgeError:
            pass  # it is asked again when it is alive
        except Exception as error:
            self._cluster.faults.add(f"the events of the node {node.name} could not be followed", error)
