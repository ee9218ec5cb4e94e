"""HttpMetrics: counts HTTP requests by route, and measures the time to the answer of live HLS requests.

The label ``route`` is the router's pattern, so that no client can create a series.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Iterable
from itertools import accumulate
from typing import Protocol

from aiohttp import web
from prometheus_client.core import HistogramMetricFamily, Metric

from gateway.latency import BUCKETS_S
from web.observability.metrics.families import counter, gauge, single

CONNECTION_REASONS = ("connections", "header_timeout", "evicted")

HLS_KINDS = {
    "/hls/{camera}/index.m3u8": "multivariant",
    "/hls/{camera}/dvr.m3u8": "dvr",
    "/hls/{camera}/iframes.m3u8": "iframes",
    "/hls/{camera}/{name}": "media",
    "/hls/{camera}/sub/{name}": "media",
}


class Listener(Protocol):
    """What the metrics read of :class:`~web.middleware.listener.Listener`."""

    @property
    def connections(self) -> int: ...

    @property
    def accept_failures(self) -> int: ...


class _Times:
    """One series of a histogram. Prometheus' own class has locks, for threads, which cost as much as the counting."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        """By the bucket with the lowest bound that holds it; the last one has no bound."""
        self.sum_s = 0.0

    def add(self, took_s: float) -> None:
        self.counts[bisect_left(BUCKETS_S, took_s)] += 1
        self.sum_s += took_s


class HttpMetrics:
    """See the module."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, str]] = Counter()
        """By route, method and status class (``2xx``)."""
        self.requests_refused: Counter[str] = Counter()
        """Refused by a middleware, by reason: ``connections``, ``host`` or ``origin``."""
        self.connections_refused: Counter[str] = Counter()
        """TCP connections closed by a limit, by reason: one of :data:`CONNECTION_REASONS`."""
        self.listener: Listener | None = None
        """Set while the process listens."""
        self._hls_series: dict[tuple[str, str], _Times] = {}
        """By camera and kind."""

    def keep_only(self, camera_ids: Container[str]) -> None:
        """Remove the series of all other cameras, so that the number of series stays bounded."""
        for series in [series for series in self._hls_series if series[0] not in camera_ids]:
            del self._hls_series[series]

    def collect(self) -> Iterable[Metric]:
        """The families ``liveedge_http_…`` and ``liveedge_hls_request_seconds``."""
        yield counter(
            "http_requests", "HTTP requests answered, by route", ("route", "method", "status"), self.requests.items()
        )
        yield counter(
            "http_requests_refused",
            "HTTP requests refused: too many of one client, unknown Host, a page of another origin, or not HTTP",
            ("reason",),
            [((reason,), self.requests_refused[reason]) for reason in ("connections", "host", "origin", "malformed")],
        )
        yield counter(
            "http_connections_refused",
            "TCP connections closed: too many, no complete request head in time, or idle and evicted for another",
            ("reason",),
            [((reason,), self.connections_refused[reason]) for reason in CONNECTION_REASONS],
        )
        listener = self.listener
        connections, failures = (listener.connections, listener.accept_failures) if listener is not None else (0, 0)
        yield gauge("http_connections", "TCP connections open", (), single(connections))
        yield counter(
            "http_accept_failures",
            "Times that connections had to wait because no descriptors were left",
            (),
            single(failures),
        )
        family = HistogramMetricFamily(
            "liveedge_hls_request_seconds",
            "Time to the response of HLS requests; a blocking reload waits for its part",
            labels=("camera", "kind"),
        )
        for series, times in self._hls_series.items():
            counts = zip((*map(str, BUCKETS_S), "+Inf"), accumulate(times.counts), strict=True)
            family.add_metric(series, list(counts), times.sum_s)
        yield family

    def record(self, request: web.Request, status: int, began_s: float) -> None:
        """Count one request, as :class:`~web.middleware.admission.Admission` calls it."""
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "none"
        self.requests[route, request.method if resource is not None else "any", f"{status // 100}xx"] += 1
        if route.startswith("/hls/") and status < 400:
            self._hls(request, route, time.monotonic() - began_s)

    def _hls(self, request: web.Request, route: str, took_s: float) -> None:
        kind = HLS_KINDS.get(route, "playlist")
        if kind == "playlist" and "_HLS_msn" in request.query:
            kind = "blocked"
        # The answer was a success: the camera exists, and the number of cameras is bounded.
        series = (request.match_info["camera"], kind)
        found = self._hls_series.get(series)
        if found is None:
            found = self._hls_series[series] = _Times()
        found.add(took_s)
