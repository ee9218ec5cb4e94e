"""``liveedge drain`` and ``rebalance``: ask nodes of the cluster to hand cameras over."""

import time

from gateway.errors import SettingsError
from hls.cluster.store import PostgresStore
from web.cluster.coordination import DRAIN_MAX_S
from web.cluster.settings import ClusterSettings


def drain(settings: ClusterSettings, node_name: str | None) -> tuple[bool, str]:
    """Returns whether the node has no cameras left, and a sentence. Raises a ``LiveedgeError``."""
    name = node_name or settings.node_name_or_host
    store = _open(settings)
    try:
        if not store.want_drain(name):
            return False, f"no node of the name {name} is alive"
        deadline_s = time.monotonic() + DRAIN_MAX_S
        while (cameras := store.owned_by(name)) and time.monotonic() < deadline_s:
            time.sleep(0.5)
    finally:
        store.close()
    if cameras:
        return False, f"{name} has {cameras} cameras still: no other node may take them, or they take longer"
    return True, f"{name} has no cameras any more, and takes none until it is restarted"


def rebalance(settings: ClusterSettings) -> tuple[bool, str]:
    """Returns whether any node is alive, and a sentence. Raises a ``LiveedgeError``."""
    store = _open(settings)
    try:
        nodes = store.want_rebalance()
    finally:
        store.close()
    if not nodes:
        return False, "no node of the cluster is alive"
    return True, f"{nodes} nodes hand over the cameras that belong to others now, two a second each"


def _open(settings: ClusterSettings) -> PostgresStore:
    if settings.cluster_url is None:
        raise SettingsError("this command is for a cluster, and CLUSTER_URL is not set")
    store = PostgresStore(settings.cluster_url.get_secret_value())
    store.open()
    return store
