"""Metrics of Socket.IO: the connection to the event service, and browsers."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from web.gateway import Gateway
from web.observability.metrics.families import counter, gauge, single


def messaging_metrics(gateway: Gateway) -> Iterable[Metric]:
    """The families ``liveedge_messaging_…`` and ``liveedge_browser_…``."""
    messaging, browser = gateway.messaging.status(), gateway.browser.status()
    yield gauge(
        "messaging_connected",
        "1 while the event service is connected",
        (),
        single(float(messaging.connected)),
    )
    if messaging.connects is not None:
        yield counter("messaging_connects", "Connections to the event service made", (), single(messaging.connects))
    if messaging.packets_invalid is not None:
        yield counter(
            "messaging_packets_invalid",
            "Packets from the event service that were not Socket.IO",
            (),
            single(messaging.packets_invalid),
        )
    yield counter(
        "browser_packets_invalid",
        "Packets from Socket.IO clients that were not Socket.IO",
        (),
        single(gateway.browser.invalid_packets),
    )
    if messaging.frames_sent is not None:
        yield counter("messaging_frames", "JPEG frames sent to the event service", (), single(messaging.frames_sent))
        yield counter(
            "messaging_frames_skipped",
            "JPEG frames replaced by a newer one before they were sent",
            (),
            single(messaging.frames_skipped),
        )
    if messaging.frames_too_large is not None:
        yield counter(
            "messaging_frames_too_large",
            "JPEG frames not sent because the event service does not accept such large ones",
            (),
            single(messaging.frames_too_large),
        )
    yield counter(
        "messaging_commands_refused",
        "Commands of the event service refused because too many waited",
        (),
        single(gateway.messaging.control.queues.refused),
    )
    yield counter(
        "browser_commands_refused",
        "Commands of Socket.IO clients refused because too many of the client waited",
        (),
        single(gateway.browser.control.queues.refused),
    )
    yield counter(
        "browser_connections_refused",
        "Socket.IO clients refused because too many were connected, in all or of one address",
        (),
        single(gateway.browser.connections_refused),
    )
    yield gauge("browser_unjoined", "Socket.IO connections that have not joined", (), single(gateway.browser.unjoined))
    yield counter(
        "browser_clients_displaced",
        "Socket.IO clients of the address with the most, disconnected for a client of another",
        (),
        single(gateway.browser.clients_displaced),
    )
    yield counter(
        "browser_unjoined_evicted",
        "Socket.IO connections that had not joined and were closed for another",
        (),
        single(gateway.browser.unjoined_evicted),
    )
    yield counter(
        "browser_slow_clients_disconnected",
        "Socket.IO clients disconnected because they did not read",
        (),
        single(gateway.browser.slow_clients_disconnected),
    )
    yield gauge("browser_clients", "Socket.IO clients connected", (), single(browser.clients))
    yield counter("browser_frames", "JPEG frames sent to Socket.IO clients", (), single(browser.frames_sent))
    yield counter(
        "browser_frames_skipped",
        "JPEG frames replaced by a newer one before they were sent",
        (),
        single(browser.frames_skipped),
    )
