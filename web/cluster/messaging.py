"""ClusterMessaging: the connection to the event service, which one node of a cluster has for all of them.

Rules:

1. The node that holds the role in the database has the connection. Another one claims the role when the holder's lease
   has expired and :data:`~hls.cluster.roles.MARGIN_S` are over, and at once when the holder ends or drains.
2. A holder whose lease may have expired ends its connection, so that there are no two. While the database is away,
   there is none; what the event service has requested goes on.
3. What it has requested is kept with the role, so that the next holder goes on with it. The former one ends it as soon
   as it knows that there is another.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from gateway.errors import LiveedgeError
from gateway.service import CaptureService
from signaling.messaging import NoMessaging, StreamMessaging
from signaling.request_keeper import RequestStore
from signaling.settings import MessagingSettings
from signaling.status import MessagingStatus
from web.cluster.other_nodes import OtherNodes
from web.cluster.service import Cluster

log = logging.getLogger(__name__)

ROLE = "ems"

T = TypeVar("T")

INTERVAL_S = 1.0


class ClusterMessaging(StreamMessaging):
    """See the module. ``inner`` is the adapter; it is started and closed as often as the role comes and goes."""

    def __init__(self, inner: StreamMessaging, cluster: Cluster, others: OtherNodes) -> None:
        from hls.cluster.roles import ClusterRoles

        super().__init__(inner.settings, inner.control)
        self.is_holder = False
        """Whether this node has the connection."""
        self._inner = inner
        self._cluster = cluster
        self._others = others
        self._roles = ClusterRoles(cluster.store, cluster.coordinator.node.id)
        self._holder_id: str | None = None
        self._has_requests = False
        """Whether what the event service has requested may go on here."""
        self._task: asyncio.Task[None] | None = None
        inner.control.other_nodes = others

    def reload(self, settings: MessagingSettings) -> None:
        super().reload(settings)
        self._inner.reload(settings)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="cluster-messaging")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if self.is_holder:
                await self._end()
                await self._release()

    def status(self) -> MessagingStatus:
        node = self._cluster.coordinator.view.nodes.get(self._holder_id or "")
        return self._inner.status().model_copy(update={"node": node.name if node is not None else None})

    async def _run(self) -> None:
        while True:
            try:
                await self._follow(is_wanted=await self._is_wanted())
            except Exception as error:
                self._cluster.faults.add("the connection to the event service could not be handed over", error)
            await asyncio.sleep(INTERVAL_S)

    async def _follow(self, *, is_wanted: bool) -> None:
        own_id = self._cluster.coordinator.node.id
        if is_wanted and not self.is_holder:
            log.info("cluster: this node has the connection to the event service now")
            self._has_requests = self.is_holder = self._others.is_speaker = True
            await self._inner.start()
        elif self.is_holder and not is_wanted:
            log.info("cluster: this node ends its connection to the event service")
            await self._end()
            if self._cluster.coordinator.node.is_draining:
                await self._release()
        if self._has_requests and not self.is_holder and self._holder_id not in (None, own_id):
            self._has_requests = False
            await self._inner.forget()

    async def _is_wanted(self) -> bool:
        cluster = self._cluster
        if cluster.coordinator.node.is_draining or cluster.is_provisional:
            return False
        try:
            self._holder_id = await cluster.call(self._roles.claim, ROLE)
        except LiveedgeError:
            return self.is_holder and not cluster.is_provisional
        return self._holder_id == cluster.coordinator.node.id

    async def _end(self) -> None:
        self.is_holder = self._others.is_speaker = False
        await self._inner.close()

    async def _release(self) -> None:
        try:
            await self._cluster.call(self._roles.release, ROLE)
            self._holder_id = None
        except LiveedgeError as error:
            log.warning("cluster: another node speaks to the event service when the lease has expired: %s", error)


def in_cluster(
    inner: StreamMessaging, cluster: Cluster | None, service: CaptureService
) -> tuple[StreamMessaging, OtherNodes | None]:
    """The adapter of a node, and what exchanges statuses and commands; the same and ``None`` for a gateway alone."""
    if cluster is None:
        return inner, None
    others = OtherNodes(cluster, service, inner.control)
    is_wanted = not isinstance(inner, NoMessaging)
    return ClusterMessaging(inner, cluster, others) if is_wanted else inner, others


def request_store(cluster: Cluster) -> RequestStore:
    """Keeps the requests of the event service with the role. Its functions block, and raise ``OSError``."""
    from hls.cluster.roles import ClusterRoles

    roles = ClusterRoles(cluster.store, cluster.coordinator.node.id)

    def load() -> bytes | None:
        return _or_os_error(lambda: cluster.now(roles.kept, ROLE))

    def save(data: bytes) -> None:
        _or_os_error(lambda: cluster.now(roles.keep, ROLE, data))

    return RequestStore(load, save)


def _or_os_error(function: Callable[[], T]) -> T:
    try:
        return function()
    except LiveedgeError as error:
        raise OSError(str(error)) from None
