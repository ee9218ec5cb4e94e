"""Metrics of events."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from web.gateway import Gateway
from web.observability.metrics.families import counter, gauge, single


def event_metrics(gateway: Gateway) -> Iterable[Metric]:
    """The families ``liveedge_event…``. Cameras that were removed are left out."""
    events = gateway.events
    yield counter(
        "event_changes",
        "Events created, updated and deleted",
        ("camera", "kind"),
        [
            ((camera_id, kind.value), count)
            for (camera_id, kind), count in events.counted.items()
            if camera_id in gateway.service.cameras
        ],
    )
    yield counter(
        "detector_pictures",
        "Pictures that a detector looked at, that were dropped because it was busy, and in which it failed",
        ("camera", "kind"),
        [
            ((camera_id, kind), each.counted[kind])
            for camera_id, each in gateway.detections.cameras.items()
            for kind in ("looked_at", "dropped", "failed")
        ],
    )
    yield counter("events_expired", "Events deleted for their number or age", (), single(events.expired))
    yield counter(
        "events_unwritten_dropped",
        "Events of detectors and cameras that were dropped while the index failed",
        (),
        single(events.unwritten_dropped),
    )
    yield gauge("events_stored", "Events in the index", (), single(events.stored))
    yield gauge("event_streams", "Streams of event changes that are open over HTTP", (), single(events.streams))
    yield counter(
        "event_stream_resets",
        "Times that changes were missing for a client of a stream, which read the list again",
        (),
        single(events.stream_resets),
    )
