"""Latency histograms: Prometheus' own histogram, with one set of buckets for every latency that liveedge measures.

They are in no registry, so that two gateways in one process do not collide; ``/metrics`` collects them. Any thread may
observe.
"""

import contextlib
from collections.abc import Sequence

from prometheus_client import Histogram

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds: from the sync of a good disk to the longest wait of an HLS player."""


def latency_histogram(name: str, documentation: str, labels: Sequence[str]) -> Histogram:
    """A histogram of seconds. Call ``labels(…).observe(seconds)`` on it."""
    return Histogram(name, documentation, labels, registry=None, buckets=BUCKETS_S)


def remove_series(histogram: Histogram, *labels: str) -> None:
    """Forget one label set, for example of a camera that was removed. Unknown ones are ignored."""
    with contextlib.suppress(KeyError):  # older versions of prometheus_client raise it
        histogram.remove(*labels)
