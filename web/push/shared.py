"""SharedPush: notifications of several processes, which have the same subscriptions and the same key.

The nodes of a cluster have them in its database, the workers of a machine in ``DATA_DIR``.

Rules:

1. Each notification comes once. Each node notifies of what it captures and finds itself: of events where they are made,
   of a camera where it is captured. Of a node that is away, the first of the others notifies. What is wrong with a
   machine all of its workers find, and the first notifies of it.
2. A node that does not know the token of a subscription notifies nobody by it. It ends one that was made at another
   node only after :data:`~web.push.access.CONFIRM_S`: the settings of that one may have the token.
"""

from gateway.clock import CLOCK_RATE
from web.api.webhook_messages import Message, ProblemData
from web.cluster.documents import ClusterDocuments, DocumentKind
from web.cluster.service import Cluster
from web.cluster.shared import ClusterShared
from web.observability.health import NODE_AWAY
from web.push.access import CONFIRM_S
from web.push.store import Subscription
from web.push.vapid import VapidKey, new_key

KEY_ID = "vapid"


class SharedPush:
    """See the module. Lives on the event loop."""

    def __init__(self, cluster: Cluster, shared: ClusterShared) -> None:
        self.node = cluster.coordinator.node.name
        """The name of this one."""
        self.subscriptions = ClusterDocuments(shared, DocumentKind.PUSH)
        self._keys = ClusterDocuments(shared, DocumentKind.PUSH_KEY)

    @classmethod
    def of(cls, cluster: Cluster | None) -> "SharedPush | None":
        """``None`` where a gateway is alone, and for workers."""
        shared = cluster.shared if cluster is not None else None
        return cls(cluster, shared) if cluster is not None and shared is not None else None

    async def key(self) -> VapidKey:
        """The key of all nodes; the first one that is asked makes it. Raises ``UnavailableError``."""
        kept = await self._keys.keep(KEY_ID, new_key().decode())
        return VapidKey.read(kept.encode())

    def may_end(self, subscription: Subscription, now_90k: int) -> bool:
        """Rule 2."""
        is_old = now_90k - subscription.confirmed_90k > CONFIRM_S * CLOCK_RATE
        return is_old or subscription.node == self.node


def is_told_here(message: Message, cluster: Cluster, *, are_workers: bool) -> bool:
    """Rule 1."""
    if message.type in ("camera.down", "camera.up"):
        return message.camera_id is not None and cluster.captures(message.camera_id)
    if isinstance(message.data, ProblemData):
        problem = message.data.problem
        if problem.code == NODE_AWAY or (are_workers and problem.camera_id is None):
            own = cluster.coordinator.node.name
            return own == min((node.name for node in cluster.coordinator.view.nodes.values()), default=own)
    return True
