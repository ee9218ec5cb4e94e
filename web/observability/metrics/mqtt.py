"""Metrics of MQTT."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from web.mqtt.service import Mqtt
from web.observability.metrics.families import counter, gauge, single


def mqtt_metrics(mqtt: Mqtt) -> Iterable[Metric]:
    """The families ``liveedge_mqtt_…``."""
    yield gauge("mqtt_connected", "1 while the broker is connected", (), single(float(mqtt.is_connected)))
    yield counter("mqtt_connects", "Connections to the broker made", (), single(mqtt.connects))
    yield counter("mqtt_messages", "Messages that the broker has taken", (), single(mqtt.published))
    yield counter(
        "mqtt_dropped",
        "Changes of events that were not sent, because too many waited or they were late",
        ("reason",),
        [((reason,), count) for reason, count in mqtt.publisher.dropped.items()],
    )
