"""Metrics of notifications."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from web.observability.metrics.families import counter, gauge, single
from web.push.service import Push


def push_metrics(push: Push) -> Iterable[Metric]:
    """The families ``liveedge_push_…``, of all subscriptions together: their number is not limited by the settings."""
    deliveries = push.deliveries.values()
    yield gauge("push_subscriptions", "Browsers that are notified", (), single(len(push.store.subscriptions)))
    yield gauge("push_waiting", "Notifications that wait", (), single(sum(len(each.queue) for each in deliveries)))
    delivered = push.ended["delivered"] + sum(each.delivered for each in deliveries)
    failed = push.ended["failed"] + sum(each.failed for each in deliveries)
    yield counter("push_delivered", "Notifications that push services have taken", (), single(delivered))
    yield counter("push_failed", "Attempts that failed", (), single(failed))
    yield counter(
        "push_dropped",
        "Notifications given up, by reason",
        ("reason",),
        [((reason,), count) for reason, count in push.dropped().items()],
    )
