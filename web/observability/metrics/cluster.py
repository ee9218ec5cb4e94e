"""Metrics of the cluster that this node belongs to."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from web.cluster.service import Cluster
from web.cluster_node import ClusterNode
from web.observability.metrics.families import counter, gauge, single


def cluster_metrics(cluster: Cluster, node: ClusterNode) -> Iterable[Metric]:
    """The families ``liveedge_cluster_…`` of a node."""
    status, archive, index = cluster.status(), node.archive, node.archive.index
    received, sent, live = node.links.relays.received, node.links.relays_sent, node.remote_live
    yield gauge("cluster_ready", "1 while the node takes new viewers, 0 while it drains", (), single(status.ready))
    yield gauge(
        "cluster_provisional",
        "1 while other nodes may have taken the cameras of this one, because it does not reach the database",
        (),
        single(status.provisional),
    )
    yield gauge("cluster_nodes", "Nodes that are alive", (), single(len(status.nodes)))
    yield gauge("cluster_owned_cameras", "Cameras that this node owns", (), single(len(status.owned)))
    unowned = sum(owner is None for owner in status.owners.values())
    yield gauge("cluster_unowned_cameras", "Cameras that no living node owns", (), single(unowned))
    yield counter(
        "cluster_takeovers", "Cameras that this node began to own", (), single(cluster.coordination.takeovers)
    )
    yield counter(
        "cluster_handovers",
        "Of them, cameras that their owner handed over, so that no picture is missing",
        (),
        single(cluster.coordination.handovers),
    )
    yield counter(
        "cluster_requests_failed",
        "Requests to the database without an answer",
        (),
        single(cluster.coordination.requests_failed),
    )
    yield gauge("cluster_index_waiting", "Files that the shared index does not have yet", (), single(index.waiting))
    yield counter(
        "cluster_index_dropped",
        "Files too many to wait, of which the shared index has no news",
        (),
        single(index.dropped),
    )
    yield counter(
        "cluster_index_spares", "Times that a file was written as that of a former owner", (), single(index.spares)
    )
    # Of workers, liveedge_worker_up tells. There may have been more of them once.
    away = sum(not node.has_left for node in cluster.absent) if cluster.has_own_cameras else 0
    yield gauge("cluster_absent_nodes", "Nodes that ended without leaving the cluster, and are away", (), single(away))
    yield counter(
        "cluster_uploads_adopted",
        "Uploads of other processes that this node completed",
        (),
        single(archive.absent.adopted),
    )
    yield counter(
        "cluster_uploads_dropped",
        "States of uploads too many to wait, of which the other nodes have no news",
        (),
        single(archive.uploads.dropped if archive.uploads is not None else 0),
    )
    yield counter("cluster_faults", "Errors inside this node that nobody expected", (), single(cluster.faults.count))
    yield gauge(
        "cluster_relays_received",
        "Streams of cameras from the nodes that capture them",
        (),
        single(received),
    )
    forwarding = node.routing.forwarding
    yield counter("cluster_forwarded", "Requests that another node has answered", (), single(forwarding.forwarded))
    yield counter("cluster_forward_failures", "Requests that another node was away for", (), single(forwarding.failed))
    yield counter("cluster_hls_requests", "Requests for live HLS of cameras of other nodes", (), single(live.answered))
    yield counter("cluster_hls_fetches", "Of these, requests that were sent to owners", (), single(live.requests))
    yield counter(
        "cluster_hls_dropped",
        "Playlists and media that were dropped before their time",
        (),
        single(live.dropped),
    )
    yield gauge("cluster_relays_sent", "Streams of cameras to other nodes", (), single(sent.streams))
    yield counter(
        "cluster_relay_packets_dropped",
        "Packets that other nodes did not get because they were slower",
        (),
        single(sent.dropped),
    )
