"""Metrics of live HLS: how far it is behind, and what it dropped."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from gateway.camera import Camera
from gateway.clock import CLOCK_RATE
from hls.live.service import LiveStream
from web.gateway import Gateway
from web.observability.metrics.families import counter, gauge

LABELS = ("camera",)


def hls_metrics(gateway: Gateway) -> Iterable[Metric]:
    """The families ``liveedge_hls_…``, except the time to the answer, which :mod:`.http` measures."""
    streams = {camera.id: (camera, gateway.live.stream(camera.id)) for camera in gateway.service.cameras.values()}
    yield gauge(
        "hls_part_delay_seconds",
        "How far the newest part is behind the newest frame",
        LABELS,
        [((camera_id,), _part_delay_s(camera, stream)) for camera_id, (camera, stream) in streams.items()],
    )
    counters = {camera_id: stream.counters for camera_id, stream in gateway.live.streams.items()}
    yield counter(
        "hls_packets_dropped",
        "Video packets that live HLS cannot show: before the first keyframe, or after a gap",
        LABELS,
        [((camera_id,), each.packets_dropped) for camera_id, each in counters.items()],
    )
    yield counter(
        "hls_segments_evicted",
        "Live segments removed before their time because the memory limit was reached",
        LABELS,
        [((camera_id,), each.segments_evicted) for camera_id, each in counters.items()],
    )
    yield counter(
        "hls_audio_frames_dropped",
        "Audio frames too late for the live playlist",
        LABELS,
        [((camera_id,), each.audio.frames_dropped) for camera_id, each in counters.items()],
    )
    yield counter(
        "hls_audio_decode_errors",
        "Audio packets that could not be transcoded for live HLS",
        LABELS,
        [((camera_id,), each.audio.decode_errors) for camera_id, each in counters.items()],
    )


def _part_delay_s(camera: Camera, stream: LiveStream) -> float | None:
    edge, newest = stream.live_edge, camera.hub.newest
    if edge is None or newest is None:
        return None
    return max(0, newest.captured_at_90k - edge[2]) / CLOCK_RATE
