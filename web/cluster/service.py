"""Cluster: what this node knows of its cluster. It tells the gateway which cameras to capture.

Rules:

1. The gateway never waits for the database here: what is captured and recorded goes on while it is away.
2. A node captures what it owns, and what is handed over to it (:mod:`web.cluster.coordination`). No viewer makes it
   capture another camera.
3. An unexpected exception is logged at once, told as a problem, and ends none of the tasks (:mod:`web.cluster.faults`).
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.cluster.coordinator import Coordinator
from gateway.cluster.model import Node, View
from gateway.errors import LiveedgeError, SettingsError, StorageError
from hls.cluster.shared import SHARED
from web.cluster.coordination import Coordination
from web.cluster.database_thread import DatabaseThread
from web.cluster.faults import Faults
from web.cluster.namesakes import Namesakes
from web.cluster.settings import ClusterSettings
from web.cluster.status import AbsentNodeStatus, ClusterStatus, NodeStatus

if TYPE_CHECKING:
    from hls.cluster.store import PostgresStore
    from hls.cluster.uploads import AbsentNode
    from web.cluster.news import ClusterNews
    from web.cluster.shared import ClusterShared

    NewStore = Callable[[], PostgresStore]

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

FOLLOW_S = 1.0
"""How often is looked for what has changed where nothing tells it."""

Edit = Callable[[dict[str, dict[str, Any]]], dict[str, dict[str, Any]]]


class Cluster:
    """See the module. Lives on the event loop, except where a method says otherwise.

    ``owner_changed`` is called after this node began or ended to capture a camera, ``cameras_changed`` after any node
    changed the cameras.
    """

    def __init__(
        self, settings: ClusterSettings, node: Node | None = None, new_store: "NewStore | None" = None, **options: int
    ) -> None:
        self.coordinator = Coordinator(node or _node(settings), **options)
        self.has_own_cameras = True
        """Whether its database has the cameras: none of the settings."""
        self.owner_changed: Callable[[str], Awaitable[None]] = _nothing
        self.cameras_changed: Callable[[], Awaitable[None]] = _nothing_at_all
        self.faults = Faults()
        self.known_absent: Sequence[AbsentNode] = ()
        """The nodes that were not alive when that was read, see :mod:`web.cluster.absent_nodes`."""
        self.namesakes = Namesakes(self.coordinator.node)
        new_store = new_store or _in_postgres(settings)
        self._thread = DatabaseThread(new_store(), "cluster")
        self._lease_thread = DatabaseThread(new_store(), "cluster-lease")
        self._claim_thread = DatabaseThread(new_store(), "cluster-claims")
        self.coordination = Coordination(self.coordinator, self._lease_thread, self._claim_thread, self.faults)
        self.coordination.on_captured = self._follow_soon
        self.coordination.on_answer = self._compare_owners
        self.shared = _shared(settings)
        """What all nodes know besides cameras; ``None`` where the nodes are workers, which share files."""
        self.on_shared: Callable[[], None] = lambda: None
        """Called when another node may have changed that."""
        self._news = _news(settings, self._on_news)
        self.store = self._thread.store
        """For :meth:`call`."""
        self._following: asyncio.Task[None] | None = None
        self._to_follow: dict[str, None] = {}
        """Cameras whose owner has changed, in this order."""
        self._has_to_follow = asyncio.Event()
        self._revision: int | None = None
        self._owners: dict[str, str | None] = {}
        """The owner that the gateway was last told of, for each camera."""
        self.on_view: Callable[[View], None] = lambda _: None
        """Called with each view that is newer."""
        self.keys: Mapping[str, str] = {}
        """Random texts that all nodes share, by :class:`~gateway.cluster.model.KeyName`. Read by :meth:`open`."""

    # --- what others ask

    @property
    def is_ready(self) -> bool:
        """Whether the node takes new viewers: it does not drain."""
        return not self.coordinator.node.is_draining

    @property
    def absent(self) -> "Sequence[AbsentNode]":
        """The nodes that are not alive. This one is, and so are those of the newest view."""
        alive = {self.coordinator.node.name, *(node.name for node in self.coordinator.view.nodes.values())}
        return [node for node in self.known_absent if node.name not in alive]

    @property
    def is_provisional(self) -> bool:
        """As :meth:`~gateway.cluster.coordinator.Coordinator.is_provisional`, now."""
        return self.coordinator.is_provisional(time.monotonic())

    def captures(self, camera_id: str) -> bool:
        """Whether this node captures a camera: it owns it, or the camera is handed over to it."""
        return camera_id in self.coordination.captured

    def elsewhere(self, camera_id: str) -> str | None:
        """Why this node does not capture a camera; ``None``: it does."""
        if camera_id in self.coordination.captured:
            return None
        view = self.coordinator.view
        owner = view.nodes.get(view.owner(camera_id).node_id or "")
        if owner is None or owner.id == self.coordinator.node.id:
            return "no node of the cluster captures it at present"
        return f"the node {owner.name} of the cluster captures it" + (f": use {owner.url}" if owner.url else "")

    def epoch(self, camera_id: str) -> int:
        """The highest epoch of a camera that this node knows."""
        return self.coordinator.owned.get(camera_id) or self.coordinator.view.owner(camera_id).epoch

    def window_epoch(self, camera_id: str) -> int:
        """The epoch of a live window that begins now: of this node's ownership, or of one that is prepared."""
        return self.coordinator.owned.get(camera_id) or self.coordinator.view.owner(camera_id).epoch + 1

    def status(self) -> ClusterStatus:
        """The cluster, as this node knows it."""
        view = self.coordinator.view
        owners = {key: view.nodes.get(view.owner(key).node_id or "") for key in view.cameras}
        return ClusterStatus(
            node=self.coordinator.node.name,
            ready=self.is_ready,
            provisional=self.is_provisional,
            error=self.coordination.error,
            fault=self.faults.message,
            owned=dict(self.coordinator.owned),
            owners={key: owner.name if owner is not None else None for key, owner in owners.items()},
            nodes=[
                NodeStatus(
                    name=node.name,
                    url=node.url or None,
                    sites=sorted(node.sites),
                    draining=node.is_draining,
                    cameras=sum(owner is node for owner in owners.values()),
                )
                for node in sorted(view.nodes.values(), key=lambda node: node.id)
            ],
            absent=[
                AbsentNodeStatus(name=node.name, since=to_rfc3339(_ticks(node.seen_at)), left=node.has_left)
                for node in self.absent
            ],
        )

    # --- cameras

    def open(self) -> dict[str, dict[str, Any]]:
        """Connect; returns the tables of the cameras. Blocking. Raises :class:`~gateway.errors.SettingsError`."""
        try:
            for thread in self._threads:
                thread.open()
            if self.has_own_cameras:
                self.namesakes.wait(lambda name: self._thread.now(self.store.find_node, name))
            self.keys = self._thread.now(self.store.keys)
            return self._thread.now(self.store.cameras)
        except StorageError as error:
            raise SettingsError(f"the cluster cannot be joined: {error}; see CLUSTER_URL") from None

    async def cameras(self) -> dict[str, dict[str, Any]]:
        """The tables of the cameras. Raises :class:`~gateway.errors.StorageError`."""
        return await self.call(self.store.cameras)

    async def edit_cameras(self, edit: Edit) -> dict[str, dict[str, Any]]:
        """Make other tables of the present ones, while no other node does. Returns them.

        ``edit`` runs in another thread. Raises what it raises, and :class:`~gateway.errors.UnavailableError`.
        """
        edited = await self.call(self.store.edit_cameras, edit)
        self.coordination.wake()
        return edited

    async def share_cameras(self, camera_ids: Collection[str]) -> None:
        """Tell the other nodes which cameras there are, where the database has none itself."""

    # --- life cycle

    def start(self) -> None:
        """Begin to take cameras, once what captures them has started."""
        self.coordination.start()
        self._following = asyncio.create_task(self._follow(), name="cluster-owners")
        if self._news is not None:
            self._news.start()

    async def drain(self) -> None:
        """See :meth:`~web.cluster.coordination.Coordination.drain`."""
        await self.coordination.drain()

    async def leave(self) -> None:
        """End the ownership of all cameras: the others may take them at once."""
        if self._news is not None:
            await self._news.close()
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        await self.coordination.leave()

    def close(self) -> None:
        """Disconnect."""
        for thread in self._threads:
            thread.close()

    @property
    def _threads(self) -> tuple[DatabaseThread, ...]:
        shared = (self.shared.thread,) if self.shared is not None else ()
        return self._thread, self._lease_thread, self._claim_thread, *shared

    def _on_news(self, about: str | None) -> None:
        if about != SHARED:
            self.coordinator.news()
            self.coordination.wake()
        if about in (SHARED, None):
            self.on_shared()

    def _compare_owners(self) -> None:
        """Tell the gateway of the cameras that another node owns than before: it relays them from there."""
        view = self.coordinator.view
        self.on_view(view)
        if self.has_own_cameras and self.namesakes.must_drain(view, time.monotonic()):
            self.coordinator.drain()
        owners = {camera_id: view.owner(camera_id).node_id for camera_id in view.cameras}
        for camera_id, owner in owners.items():
            if owner != self._owners.get(camera_id) and owner != self.coordinator.node.id:
                self._follow_soon(camera_id)
        self._owners = owners
        if view.revision != self._revision:
            self._has_to_follow.set()

    def _follow_soon(self, camera_id: str) -> None:
        self._to_follow[camera_id] = None
        self._has_to_follow.set()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of :attr:`store` in its thread. Raises :class:`~gateway.errors.UnavailableError`."""
        return await self._thread.call(function, *args, **kwargs)

    def now(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As :meth:`call`, and wait. Blocking: in another thread. Raises ``StorageError``."""
        return self._thread.now(function, *args, **kwargs)

    async def _follow(self) -> None:
        """Do in the gateway what the coordinator has decided."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FOLLOW_S):
                    await self._has_to_follow.wait()
            self._has_to_follow.clear()
            while self._to_follow:
                camera_id = next(iter(self._to_follow))
                del self._to_follow[camera_id]
                try:
                    await self.owner_changed(camera_id)
                except Exception as error:
                    self.faults.add(f"camera {camera_id} could not follow its owner", error)
            revision = self.coordinator.view.revision
            if revision != self._revision:
                try:
                    await self.cameras_changed()
                    self._revision = revision
                except LiveedgeError as error:
                    log.warning("cluster: the cameras could not be read: %s", error)
                    await asyncio.sleep(1)
                except Exception as error:
                    self._revision = revision
                    self.faults.add("the changed cameras could not be applied", error)


def _node(settings: ClusterSettings) -> Node:
    name = settings.node_name_or_host
    return Node(
        f"{name}#{uuid.uuid4().hex[:12]}",
        name,
        (settings.node_url or "").rstrip("/"),
        frozenset(settings.node_sites),
        settings.node_weight,
    )


def _in_postgres(settings: ClusterSettings) -> "NewStore":
    # Here, because a gateway that is alone needs no dialect of PostgreSQL: 3 MB.
    from hls.cluster.store import PostgresStore

    assert settings.cluster_url is not None
    url = settings.cluster_url.get_secret_value()
    return lambda: PostgresStore(url)


def _shared(settings: ClusterSettings) -> "ClusterShared | None":
    if settings.cluster_url is None:
        return None
    # Here, as the dialect in _in_postgres.
    from web.cluster.shared import ClusterShared

    return ClusterShared(_in_postgres(settings)())


def _news(settings: ClusterSettings, on_news: Callable[[str | None], None]) -> "ClusterNews | None":
    if settings.cluster_url is None:
        return None
    # Here, as the dialect in _in_postgres.
    from web.cluster.news import ClusterNews

    return ClusterNews(settings.cluster_url.get_secret_value(), on_news)


def _ticks(time: datetime) -> int:
    # SQLite has no zones.
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * CLOCK_RATE)


async def _nothing(_: str) -> None:
    pass


async def _nothing_at_all() -> None:
    pass
