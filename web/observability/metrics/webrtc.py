"""Metrics of WebRTC: totals by camera, what viewers report, and the port."""

from collections.abc import Iterable
from dataclasses import fields

from prometheus_client.core import Metric

from gateway.webrtc.ice.registry import REFUSALS
from gateway.webrtc.stats import Totals, WebRtcStats
from web.gateway import Gateway
from web.observability.metrics.families import counter, gauge, histogram, single

LABELS = ("camera",)

COUNTERS = {
    "viewers": ("viewers", "WebRTC viewers since the start"),
    "packets_sent": ("packets_sent", "RTP packets sent to WebRTC viewers"),
    "bytes_sent": ("bytes_sent", "Bytes of RTP payload sent to WebRTC viewers"),
    "frames_dropped": ("frames_dropped", "Frames not sent to WebRTC viewers that could not keep up"),
    "replays": ("gop_replays", "Times that a WebRTC viewer was sent the GOP from its start: for joining, PLI and FIR"),
    "retransmitted": ("packets_retransmitted", "RTP packets sent again"),
    "retransmissions_refused": (
        "retransmissions_refused",
        "RTP packets requested again that were not kept any more, or over the limit",
    ),
    "packets_lost": ("packets_lost", "RTP packets that WebRTC viewers report as lost"),
    "limits": ("bandwidth_limits", "Times that the bandwidth of a WebRTC viewer was found too low for the camera"),
    "audio_packets_dropped": ("audio_packets_dropped", "Audio packets not sent because a viewer's connection was full"),
    "srtp_rejected": ("srtp_rejected", "SRTP and SRTCP datagrams from WebRTC viewers that were not authentic"),
    "dtls_dropped": ("dtls_dropped", "DTLS datagrams from WebRTC viewers dropped because their queue was full"),
    "rendition_switches": (
        "rendition_switches",
        "Times that a WebRTC viewer was changed from the main to the sub stream, or back",
    ),
    "probe_bytes": ("probe_bytes", "Bytes sent to WebRTC viewers to find out whether their networks carry more"),
    "sends_forgotten": ("sends_forgotten", "Sends to WebRTC viewers that no feedback covered in time"),
    "audio_faults": ("audio_faults", "Audio packets of the camera that could not be transcoded for WebRTC"),
}
"""Metric name and help text for each field of :class:`~gateway.webrtc.stats.Totals`."""


def webrtc_metrics(gateway: Gateway) -> Iterable[Metric]:
    """The families ``liveedge_webrtc_…``."""
    server = gateway.webrtc
    totals = {camera_id: server.totals(camera_id) for camera_id in gateway.service.cameras}
    for field in fields(Totals):
        name, help_text = COUNTERS[field.name]
        samples = [((camera_id,), getattr(total, field.name)) for camera_id, total in totals.items()]
        yield counter(f"webrtc_{name}", help_text, LABELS, samples)
    stats = {
        camera_id: WebRtcStats.of([viewer.stats() for viewer in server.viewers_of(camera_id)]) for camera_id in totals
    }
    yield gauge(
        "webrtc_loss_ratio",
        "Mean loss that viewers report",
        LABELS,
        [((camera_id,), each.fraction_lost) for camera_id, each in stats.items()],
    )
    yield gauge(
        "webrtc_round_trip_seconds",
        "Mean round trip of viewers",
        LABELS,
        [((camera_id,), each.round_trip_s) for camera_id, each in stats.items()],
    )
    yield gauge(
        "webrtc_jitter_seconds",
        "Mean jitter that viewers report",
        LABELS,
        [((camera_id,), each.jitter_s) for camera_id, each in stats.items()],
    )
    yield gauge(
        "webrtc_viewers_bandwidth_limited",
        "WebRTC viewers that get fewer frames because of their networks",
        LABELS,
        [((camera_id,), each.bandwidth_limited) for camera_id, each in stats.items()],
    )
    yield counter(
        "webrtc_datagrams_refused",
        "Datagrams on the WebRTC port that reached no viewer",
        ("reason",),
        [((reason,), server.datagrams_refused.get(reason, 0)) for reason in REFUSALS],
    )
    yield counter(
        "webrtc_sends_failed",
        "Datagrams that the kernel refused to send",
        ("reason",),
        [((reason,), count) for reason, count in server.sends_failed.items()],
    )
    yield counter(
        "webrtc_joins_refused", "Offers of WebRTC viewers refused because of a limit", (), single(server.limits.refused)
    )
    yield counter(
        "webrtc_viewers_evicted",
        "WebRTC viewers that were not connected and were closed for another",
        (),
        single(server.limits.evicted),
    )
    yield counter(
        "webrtc_accept_failures",
        "Times that ICE connections over TCP had to wait because no descriptors were left",
        (),
        single(server.listener.accept_failures),
    )
    yield gauge(
        "webrtc_publishers",
        "Publishers (WHIP) that are connected",
        ("camera",),
        [((camera_id,), count) for camera_id, count in gateway.whip.connected.items()],
    )
    yield counter(
        "webrtc_publisher_packets_refused",
        "Packets of publishers (WHIP) that were not authentic, or of no stream of the answer",
        (),
        single(gateway.whip.packets_refused),
    )
    yield counter(
        "webrtc_publisher_arrivals_dropped",
        "Arrivals of packets that publishers (WHIP) were not told, because too many came between two reports",
        (),
        single(gateway.whip.arrivals_dropped),
    )
    yield from histogram(server.first_frame_s)
