"""Metrics of webhooks."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from web.observability.metrics.families import counter, gauge, single
from web.webhooks.service import Webhooks


def webhook_metrics(webhooks: Webhooks) -> Iterable[Metric]:
    """The families ``liveedge_webhook_…``, by the name of the endpoint."""
    found = [((name,), delivery.status()) for name, delivery in webhooks.deliveries.items()]
    yield gauge(
        "webhook_enabled",
        "0 after the endpoint has answered 410 Gone",
        ("endpoint",),
        [(name, float(each.enabled)) for name, each in found],
    )
    yield gauge("webhook_waiting", "Messages that wait", ("endpoint",), [(name, each.waiting) for name, each in found])
    yield counter(
        "webhook_delivered", "Messages delivered", ("endpoint",), [(name, each.delivered) for name, each in found]
    )
    yield counter(
        "webhook_failed", "Attempts that failed", ("endpoint",), [(name, each.failed) for name, each in found]
    )
    yield counter(
        "webhook_dropped",
        "Messages given up, by reason",
        ("endpoint", "reason"),
        [((*name, reason), count) for name, each in found for reason, count in each.dropped.items()],
    )
    yield counter(
        "webhook_clips_dropped",
        "Clips not reported because too many were waited for",
        (),
        single(webhooks.clips_dropped),
    )
