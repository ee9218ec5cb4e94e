"""``/metrics`` for Prometheus: read off the gateway when somebody asks, so that nobody pays for it in between.

Labels are cameras, transports and reasons, never viewers: the configuration bounds the number of series. Names and
units follow Prometheus' rules (base units, ``_total`` for what only grows).
"""

import asyncio
import threading
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, get_args

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway.camera import Camera
from gateway.capture.counters import CaptureCounters
from gateway.clock import CLOCK_RATE
from gateway.session import SessionState
from gateway.webrtc.ice.agent import REFUSALS
from gateway.webrtc.stats import Totals, WebRtcStats
from web.gateway import Gateway
from web.observability.health import Component, problems
from web.observability.http_metrics import HttpMetrics

LAG_INTERVAL_S = 0.5
"""How often the event loop's lag is measured; a timer of this rate costs nothing."""

CAMERA = ["camera"]

WEBRTC_COUNTERS = {
    "viewers": ("viewers", "WebRTC viewers since the start"),
    "packets_sent": ("packets_sent", "RTP packets sent to WebRTC viewers"),
    "bytes_sent": ("bytes_sent", "Bytes of RTP payload sent to WebRTC viewers"),
    "frames_dropped": ("frames_dropped", "Frames not sent to WebRTC viewers that could not keep up"),
    "replays": ("gop_replays", "Times that a WebRTC viewer was sent the GOP from its start: for joining, PLI and FIR"),
    "retransmitted": ("packets_retransmitted", "RTP packets sent again"),
    "retransmissions_refused": (
        "retransmissions_refused",
        "RTP packets requested again that were not kept any more, or over the limit",
    ),
    "packets_lost": ("packets_lost", "RTP packets that WebRTC viewers report as lost"),
    "limits": ("bandwidth_limits", "Times that the bandwidth of a WebRTC viewer was found too low for the camera"),
    "audio_packets_dropped": ("audio_packets_dropped", "Audio packets not sent because a viewer's connection was full"),
    "srtp_rejected": ("srtp_rejected", "SRTP and SRTCP datagrams from WebRTC viewers that were not authentic"),
    "dtls_dropped": ("dtls_dropped", "DTLS datagrams from WebRTC viewers dropped because their queue was full"),
    "audio_faults": ("audio_faults", "Audio packets of the camera that could not be transcoded for WebRTC"),
}
"""Metric name and help text for each field of :class:`~gateway.webrtc.stats.Totals`."""


class LoopLag:
    """How late the event loop runs a timer: the time that everybody waits because somebody blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """The last lag."""
        self.worst_seconds = 0.0
        """The worst since the last look."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._measure(), name="loop-lag")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def take_worst(self) -> float:
        """The worst lag since the last call, in seconds."""
        worst, self.worst_seconds = self.worst_seconds, 0.0
        return worst

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL_S
            await asyncio.sleep(LAG_INTERVAL_S)
            self.seconds = max(0.0, loop.time() - due)
            self.worst_seconds = max(self.worst_seconds, self.seconds)


class GatewayCollector(Collector):
    """All that is known of one gateway, as Prometheus has it."""

    def __init__(self, gateway: Gateway, lag: LoopLag, http: HttpMetrics) -> None:
        self._gateway = gateway
        self._lag = lag
        self._http = http

    def collect(self) -> Iterable[Metric]:
        """The metric families, read now."""
        yield from self._cameras()
        yield from self._webrtc()
        yield from self._hls()
        yield from self._archive()
        yield from self._messaging()
        yield from self._process()

    def _process(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "liveedge_http_requests", "HTTP requests answered, by route", labels=["route", "method", "status"]
        )
        for key, count in self._http.requests.items():
            requests.add_metric(key, count)
        yield requests
        refused = CounterMetricFamily(
            "liveedge_http_requests_refused",
            "HTTP requests refused: too many of one address, unknown Host, or a page of another origin",
            labels=["reason"],
        )
        for reason in ("connections", "host", "origin"):
            refused.add_metric([reason], self._http.requests_refused[reason])
        yield refused
        yield CounterMetricFamily(
            "liveedge_http_connections_refused",
            "TCP connections closed at once: too many of one address",
            self._http.connections_refused.total(),
        )
        family = GaugeMetricFamily("liveedge_problems", "Problems now, as in GET /api/status", labels=["component"])
        components = [problem.component for problem in problems(self._gateway)]
        for component in get_args(Component):
            family.add_metric([component], components.count(component))
        yield family
        yield GaugeMetricFamily("liveedge_threads", "Threads of the process", threading.active_count())
        yield GaugeMetricFamily("liveedge_tasks", "Tasks of the event loop", len(asyncio.all_tasks()))
        lag = GaugeMetricFamily("liveedge_event_loop_lag_seconds", "Worst lag of the event loop since the last scrape")
        lag.add_metric([], self._lag.take_worst())
        yield lag

    def _cameras(self) -> Iterable[Metric]:
        cameras = list(self._gateway.service.cameras.values())
        state = GaugeMetricFamily(
            "liveedge_camera_state", "1 for the state that the camera is in", labels=["camera", "state"]
        )
        stream = InfoMetricFamily("liveedge_camera_stream", "Codecs and size of the stream", labels=CAMERA)
        viewers = GaugeMetricFamily("liveedge_camera_viewers", "Viewers by transport", labels=["camera", "transport"])
        for camera in cameras:
            status = camera.status()
            for each in SessionState:
                state.add_metric([camera.id, each.value], float(status.state is each))
            for transport, count in status.viewers.items():
                viewers.add_metric([camera.id, transport], count)
            if status.codec is not None:
                size = f"{status.width}x{status.height}"
                stream.add_metric([camera.id], {"codec": status.codec, "size": size, "audio": status.audio_codec or ""})
        yield from (state, stream, viewers)

        def gauge(name: str, text: str, value: Callable[[Camera], float | None]) -> Metric:
            family = GaugeMetricFamily(f"liveedge_camera_{name}", text, labels=CAMERA)
            for camera in cameras:
                if (number := value(camera)) is not None:
                    family.add_metric([camera.id], number)
            return family

        def counter(name: str, text: str, value: Callable[[Camera], float]) -> Metric:
            family = CounterMetricFamily(f"liveedge_camera_{name}", text, labels=CAMERA)
            for camera in cameras:
                family.add_metric([camera.id], value(camera))
            return family

        yield gauge("clients", "Clients that asked for the capture", lambda camera: len(camera.clients))
        yield gauge("frames_per_second", "Measured frame rate", lambda camera: camera.status().fps)
        yield gauge("bytes_per_second", "Measured bitrate, all tracks", _bytes_per_second)
        yield gauge("keyframe_age_seconds", "Age of the last keyframe", lambda camera: camera.status().keyframe_age_s)
        yield gauge(
            "keyframe_interval_seconds", "Last keyframe interval", lambda camera: camera.status().keyframe_interval_s
        )
        yield counter(
            "reconnects", "Times that the camera was lost after a picture", lambda camera: camera.session.reconnects
        )
        yield counter("packets", "Packets from the camera", lambda camera: camera.hub.packets_published)
        dropped = CounterMetricFamily(
            "liveedge_camera_packets_dropped",
            "Packets dropped because a queue was full: from the capture thread, or of a slow consumer",
            labels=["camera", "reason"],
        )
        for camera in cameras:
            dropped.add_metric([camera.id, "capture_queue"], camera.handover_dropped)
            dropped.add_metric([camera.id, "consumer_queue"], camera.hub.packets_dropped)
        yield dropped
        yield counter(
            "gops_oversized", "GOPs too large to be kept for new viewers", lambda camera: camera.hub.gops_oversized
        )
        yield counter("consumer_errors", "Packets that a consumer failed on", lambda camera: camera.hub.sink_faults)
        yield counter("frames_decoded", "Frames decoded for JPEG", lambda camera: camera.jpeg.frames_decoded)
        yield counter("jpeg_frames_encoded", "JPEG frames encoded", lambda camera: camera.jpeg.frames_encoded)
        yield counter(
            "jpeg_packets_skipped",
            "Packets that JPEG did not decode because its decoder was behind",
            lambda camera: camera.jpeg.packets_skipped,
        )
        yield counter(
            "jpeg_decode_errors", "Packets that JPEG could not decode", lambda camera: camera.jpeg.decode_errors
        )
        counters = {camera.id: camera.counters for camera in cameras}
        for field in fields(CaptureCounters):
            family = CounterMetricFamily(f"liveedge_camera_{field.name}", field.metadata["help"], labels=CAMERA)
            for camera_id, counted in counters.items():
                family.add_metric([camera_id], getattr(counted, field.name))
            yield family

    def _webrtc(self) -> Iterable[Metric]:
        server = self._gateway.webrtc
        totals = {camera_id: server.totals(camera_id) for camera_id in self._gateway.service.cameras}
        for field in fields(Totals):
            name, text = WEBRTC_COUNTERS[field.name]
            family = CounterMetricFamily(f"liveedge_webrtc_{name}", text, labels=CAMERA)
            for camera_id, total in totals.items():
                family.add_metric([camera_id], getattr(total, field.name))
            yield family
        lost = GaugeMetricFamily("liveedge_webrtc_loss_ratio", "Mean loss that viewers report", labels=CAMERA)
        trip = GaugeMetricFamily("liveedge_webrtc_round_trip_seconds", "Mean round trip of viewers", labels=CAMERA)
        jitter = GaugeMetricFamily("liveedge_webrtc_jitter_seconds", "Mean jitter that viewers report", labels=CAMERA)
        limited = GaugeMetricFamily(
            "liveedge_webrtc_viewers_bandwidth_limited",
            "WebRTC viewers that get fewer pictures because of their networks",
            labels=CAMERA,
        )
        for camera_id in totals:
            stats = WebRtcStats.of([viewer.stats() for viewer in server.viewers_of(camera_id)])
            limited.add_metric([camera_id], stats.bandwidth_limited)
            for gauge, value in ((lost, stats.fraction_lost), (trip, stats.round_trip_s), (jitter, stats.jitter_s)):
                if value is not None:
                    gauge.add_metric([camera_id], value)
        yield from (lost, trip, jitter, limited)
        refused = CounterMetricFamily(
            "liveedge_webrtc_datagrams_refused",
            "Datagrams on the WebRTC port that reached no viewer",
            labels=["reason"],
        )
        for reason in REFUSALS:
            refused.add_metric([reason], server.datagrams_refused.get(reason, 0))
        failed = CounterMetricFamily(
            "liveedge_webrtc_sends_failed", "Datagrams that the kernel refused to send", labels=["reason"]
        )
        for reason, count in server.sends_failed.items():
            failed.add_metric([reason], count)
        yield from (refused, failed)
        yield from _collect(server.first_picture_s)

    def _hls(self) -> Iterable[Metric]:
        for camera_id in self._http.hls_cameras - self._gateway.service.cameras.keys():
            self._http.forget(camera_id)
        yield from _collect(self._http.hls_s)
        delay = GaugeMetricFamily(
            "liveedge_hls_part_delay_seconds", "How far the newest part is behind the newest picture", labels=CAMERA
        )
        for camera in self._gateway.service.cameras.values():
            edge, newest = self._gateway.live.stream(camera.id).live_edge, camera.hub.newest
            if edge is not None and newest is not None:
                delay.add_metric([camera.id], max(0, newest.captured_at_90k - edge[2]) / CLOCK_RATE)
        yield delay
        yield from self._hls_drops()

    def _hls_drops(self) -> Iterable[Metric]:
        packets = CounterMetricFamily(
            "liveedge_hls_packets_dropped",
            "Video packets that live HLS cannot show: before the first keyframe, or after a gap",
            labels=CAMERA,
        )
        evicted = CounterMetricFamily(
            "liveedge_hls_segments_evicted",
            "Live segments removed before their time because the memory limit was reached",
            labels=CAMERA,
        )
        frames = CounterMetricFamily(
            "liveedge_hls_audio_frames_dropped", "Audio frames too late for the live playlist", labels=CAMERA
        )
        errors = CounterMetricFamily(
            "liveedge_hls_audio_decode_errors", "Audio packets that could not be transcoded for live HLS", labels=CAMERA
        )
        for camera_id, stream in self._gateway.live.streams.items():
            counters = stream.counters
            packets.add_metric([camera_id], counters.packets_dropped)
            evicted.add_metric([camera_id], counters.segments_evicted)
            frames.add_metric([camera_id], counters.audio.frames_dropped)
            errors.add_metric([camera_id], counters.audio.decode_errors)
        yield from (packets, evicted, frames, errors)

    def _archive(self) -> Iterable[Metric]:
        archive = self._gateway.archive.status()
        recorders: dict[str, dict[str, Any]] = archive["cameras"]
        recording = GaugeMetricFamily("liveedge_archive_recording", "1 while the camera is recorded", labels=CAMERA)
        lag = GaugeMetricFamily(
            "liveedge_archive_lag_seconds", "How far the recording on disk is behind the newest picture", labels=CAMERA
        )
        written = CounterMetricFamily("liveedge_archive_bytes", "Bytes recorded", labels=CAMERA)
        closed = CounterMetricFamily("liveedge_archive_segments", "Archive segments finished", labels=CAMERA)
        dropped = CounterMetricFamily(
            "liveedge_archive_packets_dropped", "Packets dropped by a slow disk", labels=CAMERA
        )
        audio_dropped = CounterMetricFamily(
            "liveedge_archive_audio_packets_dropped",
            "Audio packets that no recording has: from before its first frame, out of order, or broken",
            labels=CAMERA,
        )
        gaps = CounterMetricFamily("liveedge_archive_gaps", "Archive segments with a gap before them", labels=CAMERA)
        failing = GaugeMetricFamily("liveedge_archive_failing", "1 while recording fails", labels=CAMERA)
        for camera_id, status in recorders.items():
            recording.add_metric([camera_id], float(status["is_recording"]))
            lag.add_metric([camera_id], status["lag_s"])
            written.add_metric([camera_id], status["bytes_written"])
            closed.add_metric([camera_id], status["segments_closed"])
            dropped.add_metric([camera_id], status["packets_dropped"])
            audio_dropped.add_metric([camera_id], status["audio_packets_dropped"])
            gaps.add_metric([camera_id], status["gaps"])
            failing.add_metric([camera_id], float(status["error"] is not None))
        yield from (recording, lag, written, closed, dropped, audio_dropped, gaps, failing)
        yield from _collect(self._gateway.archive.sync_s)
        yield CounterMetricFamily(
            "liveedge_archive_index_repairs",
            "Times that a damaged or missing index was reopened or rebuilt",
            archive["index_repairs"],
        )
        yield from self._disk()

    def _disk(self) -> Iterable[Metric]:
        """The disk's space as retention last measured it: measuring here would block the event loop on a hung disk."""
        free = GaugeMetricFamily("liveedge_archive_disk_free_bytes", "Free space on the disk of the recordings")
        total = GaugeMetricFamily("liveedge_archive_disk_total_bytes", "Size of the disk of the recordings")
        measured = GaugeMetricFamily(
            "liveedge_archive_disk_measured_timestamp_seconds",
            "When the space on the disk of the recordings was measured; old if the disk hangs",
        )
        space = self._gateway.archive.disk_space
        if space is not None:
            free.add_metric([], space.free_bytes)
            total.add_metric([], space.total_bytes)
            measured.add_metric([], space.measured_at_90k / CLOCK_RATE)
        yield from (free, total, measured)

    def _messaging(self) -> Iterable[Metric]:
        status = self._gateway.messaging.status()
        connected = GaugeMetricFamily("liveedge_messaging_connected", "1 while the event service is connected")
        connected.add_metric([], float(bool(status.get("connected"))))
        yield connected
        if "connects" in status:
            connects = CounterMetricFamily("liveedge_messaging_connects", "Connections to the event service made")
            connects.add_metric([], status["connects"])
            yield connects
        if "packets_invalid" in status:
            invalid = CounterMetricFamily(
                "liveedge_messaging_packets_invalid", "Packets from the event service that were not Socket.IO"
            )
            invalid.add_metric([], status["packets_invalid"])
            yield invalid
        from_clients = CounterMetricFamily(
            "liveedge_browser_packets_invalid", "Packets from Socket.IO clients that were not Socket.IO"
        )
        from_clients.add_metric([], self._gateway.browser.invalid_packets)
        yield from_clients
        browsers = self._gateway.browser.status()
        yield GaugeMetricFamily("liveedge_browser_clients", "Socket.IO clients connected", browsers["clients"])
        frames = CounterMetricFamily("liveedge_browser_frames", "JPEG frames sent to Socket.IO clients")
        frames.add_metric([], browsers["frames_sent"])
        late = CounterMetricFamily(
            "liveedge_browser_frames_skipped", "JPEG frames replaced by a newer one before they were sent"
        )
        late.add_metric([], browsers["frames_skipped"])
        yield from (frames, late)
        if "frames_sent" in status:
            sent = CounterMetricFamily("liveedge_messaging_frames", "JPEG frames sent to the event service")
            sent.add_metric([], status["frames_sent"])
            skipped = CounterMetricFamily(
                "liveedge_messaging_frames_skipped", "JPEG frames replaced by a newer one before they were sent"
            )
            skipped.add_metric([], status["frames_skipped"])
            yield from (sent, skipped)


def _bytes_per_second(camera: Camera) -> float | None:
    bitrate_bps = camera.status().bitrate_bps
    return None if bitrate_bps is None else bitrate_bps / 8


def _collect(histogram: Histogram) -> Iterable[Metric]:
    """The histogram's buckets, sum and count, without the time at which each series was made."""
    for family in histogram.collect():
        family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
        yield family


class Metrics:
    """The registry of one gateway."""

    def __init__(self, gateway: Gateway, http: HttpMetrics) -> None:
        self.lag = LoopLag()
        self.http = http
        self._registry = CollectorRegistry()
        self._registry.register(GatewayCollector(gateway, self.lag, http))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def render(self) -> bytes:
        """The text exposition format, version 0.0.4."""
        return generate_latest(self._registry)


METRICS: web.AppKey[Metrics] = web.AppKey("metrics", Metrics)
