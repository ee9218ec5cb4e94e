"""Metrics of live HLS: how far it is behind, and what it dropped."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from gateway.clock import CLOCK_RATE
from hls.live.stream import LiveStream
from web.gateway import Gateway
from web.observability.metrics.families import counter, gauge

LABELS = ("camera", "rendition")


def hls_metrics(gateway: Gateway) -> Iterable[Metric]:
    """The families ``liveedge_hls_…``, except the time to the answer, which :mod:`.http` measures."""
    renditions = [each for camera in gateway.service.cameras.values() for each in camera.renditions.values()]
    streams = [gateway.live.stream(each.camera_id, each.name) for each in renditions]
    counters = [(_labels(stream), stream.counters) for stream in streams]
    yield gauge(
        "hls_part_delay_seconds",
        "How far the newest part is behind the newest frame",
        LABELS,
        [(_labels(stream), _part_delay_s(stream)) for stream in streams],
    )
    yield counter(
        "hls_packets_dropped",
        "Video packets that live HLS cannot show: before the first keyframe, or after a gap",
        LABELS,
        [(labels, each.packets_dropped) for labels, each in counters],
    )
    yield counter(
        "hls_segments_evicted",
        "Live segments removed before their time because the memory limit was reached",
        LABELS,
        [(labels, each.segments_evicted) for labels, each in counters],
    )
    yield counter(
        "hls_audio_frames_dropped",
        "Audio frames too late for the live playlist",
        LABELS,
        [(labels, each.audio.frames_dropped) for labels, each in counters],
    )
    yield counter(
        "hls_audio_decode_errors",
        "Audio packets that could not be transcoded for live HLS",
        LABELS,
        [(labels, each.audio.decode_errors) for labels, each in counters],
    )


def _labels(stream: LiveStream) -> tuple[str, str]:
    return stream.rendition.camera_id, stream.rendition.name.value


def _part_delay_s(stream: LiveStream) -> float | None:
    edge, newest = stream.live_edge, stream.rendition.hub.newest
    if edge is None or newest is None:
        return None
    return max(0, newest.captured_at_90k - edge[2]) / CLOCK_RATE
