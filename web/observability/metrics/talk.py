"""Metrics of talk-back."""

from collections.abc import Iterable
from dataclasses import fields

from prometheus_client.core import Metric

from gateway.talk.turn import TalkCounters
from web.gateway import Gateway
from web.observability.metrics.families import counter, gauge

LABELS = ("camera",)

COUNTERS = {
    "turns": ("turns", "Times that somebody began to talk to a camera"),
    "refused": ("refused", "Times that somebody was refused because somebody else talked to the camera"),
    "failed": ("failed", "Times that somebody could not talk, or no longer, because of the camera"),
    "packets_sent": ("packets_sent", "RTP packets of voice sent to the camera"),
    "packets_dropped": (
        "packets_dropped",
        "RTP packets of voice that the camera did not get: late, not decodable, or more than it takes",
    ),
}
"""Metric name and help text for each field of :class:`~gateway.talk.turn.TalkCounters`."""


def talk_metrics(gateway: Gateway) -> Iterable[Metric]:
    """The families ``liveedge_talk_…``, by camera."""
    cameras = list(gateway.service.cameras)
    yield gauge(
        "talk_talking",
        "1 while somebody talks to the camera",
        LABELS,
        [((camera_id,), float(gateway.talk.talker_name(camera_id) is not None)) for camera_id in cameras],
    )
    for field in fields(TalkCounters):
        name, help_text = COUNTERS[field.name]
        samples = [((camera_id,), getattr(gateway.talk.counters(camera_id), field.name)) for camera_id in cameras]
        yield counter(f"talk_{name}", help_text, LABELS, samples)
