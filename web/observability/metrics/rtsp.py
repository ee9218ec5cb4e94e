"""Metrics of the RTSP server. Its readers are in ``liveedge_camera_viewers{transport="rtsp"}``."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from web.gateway import Gateway
from web.observability.metrics.families import counter, gauge, single


def rtsp_metrics(gateway: Gateway) -> Iterable[Metric]:
    """The families ``liveedge_rtsp_…``."""
    server = gateway.rtsp
    yield gauge("rtsp_connections", "Open connections of RTSP clients", (), single(len(server)))
    yield counter(
        "rtsp_connections_refused",
        "RTSP connections that were closed at a limit",
        (),
        single(server.connections_refused),
    )
    dropped = server.frames_dropped
    yield counter(
        "rtsp_frames_dropped",
        "Frames not sent to RTSP readers that could not keep up",
        ("camera",),
        [((camera_id,), dropped.get(camera_id, 0)) for camera_id in gateway.service.cameras],
    )
    yield counter(
        "rtsp_udp_packets_dropped",
        "RTP packets to RTSP readers that the kernel did not take",
        (),
        single(server.udp_packets_dropped),
    )
