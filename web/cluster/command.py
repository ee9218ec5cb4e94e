"""``liveedge drain``: ask a node of the cluster to hand its cameras over, and wait until it has none."""

import time

from gateway.errors import SettingsError
from hls.cluster.store import PostgresStore
from web.cluster.service import DRAIN_MAX_S
from web.cluster.settings import ClusterSettings


def drain(settings: ClusterSettings, node_name: str | None) -> tuple[bool, str]:
    """Returns whether the node has no cameras left, and a sentence. Raises a ``LiveedgeError``."""
    if settings.cluster_url is None:
        raise SettingsError("drain is for a node of a cluster, and CLUSTER_URL is not set")
    name = node_name or settings.node_name_or_host
    store = PostgresStore(settings.cluster_url.get_secret_value())
    store.open()
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
