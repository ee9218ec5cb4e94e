"""Metrics of ONVIF."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from web.observability.metrics.families import counter, gauge
from web.onvif.service import Onvif


def onvif_metrics(onvif: Onvif) -> Iterable[Metric]:
    """The families ``liveedge_onvif_…``, by camera."""
    running = onvif.cameras.running.items()
    yield gauge(
        "onvif_listening",
        "1 while the events of the camera come",
        ("camera",),
        [((camera_id,), float(each.source.is_listening)) for camera_id, each in running],
    )
    yield counter(
        "onvif_keyframes_asked",
        "Keyframes asked for by SetSynchronizationPoint, also before the last restart",
        ("camera",),
        [((camera_id,), each.keyframes.points.asked) for camera_id, each in running],
    )
    yield counter(
        "onvif_keyframes_got",
        "Of these, those that came within 3 s",
        ("camera",),
        [((camera_id,), each.keyframes.points.helped) for camera_id, each in running],
    )
    yield counter(
        "onvif_events_dropped",
        "Events of a camera that told of too many",
        ("camera",),
        [((camera_id,), each.source.dropped) for camera_id, each in running],
    )
