"""``/metrics`` for Prometheus. Values are read when they are scraped, so that counting costs nothing in between.

Rules:

1. Labels are cameras, transports, routes and reasons, never viewers: the configuration limits the number of series.
2. Names and units follow Prometheus' conventions: base units, ``_total`` for counters.
3. Nothing here reads the disk: a hung mount would stop the event loop.
"""

import time
from collections.abc import Iterable

from aiohttp import web
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from web.auth.authenticator import Authenticator
from web.gateway import Gateway
from web.mqtt.service import Mqtt
from web.observability.event_loop_lag import EventLoopLag
from web.observability.metrics.archive import archive_metrics
from web.observability.metrics.auth import auth_metrics
from web.observability.metrics.camera import camera_metrics
from web.observability.metrics.cluster import cluster_metrics
from web.observability.metrics.events import event_metrics
from web.observability.metrics.hls import hls_metrics
from web.observability.metrics.http import HttpMetrics
from web.observability.metrics.messaging import messaging_metrics
from web.observability.metrics.mqtt import mqtt_metrics
from web.observability.metrics.onvif import onvif_metrics
from web.observability.metrics.process import process_metrics
from web.observability.metrics.push import push_metrics
from web.observability.metrics.rtsp import rtsp_metrics
from web.observability.metrics.talk import talk_metrics
from web.observability.metrics.webhooks import webhook_metrics
from web.observability.metrics.webrtc import webrtc_metrics
from web.onvif.service import Onvif
from web.push.service import Push
from web.webhooks.service import Webhooks

RENDER_SHARE = 0.1
"""However many scrapes there are, they take at most a tenth of a core, since each stops the event loop."""

CREDIT_MAX_S = 1.0
"""A few scrapes one after the other all get the values of their moment."""


class GatewayCollector(Collector):
    """All metrics of one gateway."""

    def __init__(
        self,
        gateway: Gateway,
        authenticator: Authenticator,
        lag: EventLoopLag,
        http: HttpMetrics,
        webhooks: Webhooks,
        push: Push,
        mqtt: Mqtt,
        onvif: Onvif,
    ) -> None:
        self._push = push
        self._onvif = onvif
        self._gateway = gateway
        self._webhooks = webhooks
        self._mqtt = mqtt
        self._authenticator = authenticator
        self._lag = lag
        self._http = http

    def collect(self) -> Iterable[Metric]:
        """The metric families, with the values of this moment."""
        self._http.keep_only(self._gateway.service.cameras)
        yield from camera_metrics(self._gateway)
        yield from webrtc_metrics(self._gateway)
        yield from talk_metrics(self._gateway)
        yield from rtsp_metrics(self._gateway)
        yield from hls_metrics(self._gateway)
        yield from archive_metrics(self._gateway)
        yield from event_metrics(self._gateway)
        yield from messaging_metrics(self._gateway)
        yield from webhook_metrics(self._webhooks)
        yield from push_metrics(self._push)
        yield from mqtt_metrics(self._mqtt)
        yield from onvif_metrics(self._onvif)
        if self._gateway.cluster is not None and self._gateway.node is not None:
            yield from cluster_metrics(self._gateway.cluster, self._gateway.node)
        yield from self._http.collect()
        yield from auth_metrics(self._authenticator)
        yield from process_metrics(self._gateway, self._lag)


class Metrics:
    """The registry of one gateway."""

    def __init__(
        self,
        gateway: Gateway,
        authenticator: Authenticator,
        http: HttpMetrics,
        webhooks: Webhooks,
        push: Push,
        mqtt: Mqtt,
        onvif: Onvif,
    ) -> None:
        self.lag = EventLoopLag()
        self.http = http
        self._text = b""
        self._credit_s = CREDIT_MAX_S
        self._rendered_s = time.monotonic()
        self._registry = CollectorRegistry()
        self._registry.register(GatewayCollector(gateway, authenticator, self.lag, http, webhooks, push, mqtt, onvif))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def render(self) -> bytes:
        """The text exposition format, version 0.0.4.

        Beyond :data:`RENDER_SHARE`, the newest text is used again.
        """
        began_s = time.monotonic()
        self._credit_s = min(CREDIT_MAX_S, self._credit_s + RENDER_SHARE * (began_s - self._rendered_s))
        self._rendered_s = began_s
        if self._credit_s > 0:
            self._text = generate_latest(self._registry)
            self._credit_s -= time.monotonic() - began_s
        return self._text


METRICS: web.AppKey[Metrics] = web.AppKey("metrics", Metrics)
