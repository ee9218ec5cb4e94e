"""Shorthands for metric families. Values are given as pairs of label values and a number; ``None`` has no sample."""

from collections.abc import Iterable, Sequence

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Samples = Iterable[tuple[Sequence[str], float | None]]


def gauge(name: str, help_text: str, labels: Sequence[str], samples: Samples) -> Metric:
    """A gauge ``liveedge_<name>``."""
    family = GaugeMetricFamily(f"liveedge_{name}", help_text, labels=labels)
    for values, number in samples:
        if number is not None:
            family.add_metric(values, number)
    return family


def counter(name: str, help_text: str, labels: Sequence[str], samples: Samples) -> Metric:
    """A counter ``liveedge_<name>_total``."""
    family = CounterMetricFamily(f"liveedge_{name}", help_text, labels=labels)
    for values, number in samples:
        if number is not None:
            family.add_metric(values, number)
    return family


def single(number: float | None) -> Samples:
    """The sample of a family without labels."""
    return [((), number)]


def histogram(source: Histogram) -> Iterable[Metric]:
    """The buckets, sum and count of a histogram, without the time at which each series was created."""
    for family in source.collect():
        family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
        yield family
