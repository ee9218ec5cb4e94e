"""``/metrics`` for Prometheus: read off the house when somebody asks, so that nobody pays for it in between.

Labels are cameras, transports and reasons, never viewers: the configuration bounds the number of series. Names and
units follow Prometheus' rules (base units, ``_total`` for what only grows).
"""

import asyncio
import shutil
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.camera import Camera
from gateway.session import SessionState
from web.house import House

LAG_INTERVAL_S = 0.5
"""How often the event loop's lag is measured; a timer of this rate costs nothing."""

CAMERA = ["camera"]


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


class HouseCollector(Collector):
    """All that is known of one house, as Prometheus has it."""

    def __init__(self, house: House, lag: LoopLag) -> None:
        self._house = house
        self._lag = lag

    def collect(self) -> Iterable[Metric]:
        """The metric families, read now."""
        yield from self._cameras()
        yield from self._archive()
        yield from self._messaging()
        lag = GaugeMetricFamily("liveedge_event_loop_lag_seconds", "Worst lag of the event loop since the last scrape")
        lag.add_metric([], self._lag.take_worst())
        yield lag

    def _cameras(self) -> Iterable[Metric]:
        cameras = list(self._house.service.cameras.values())
        state = GaugeMetricFamily(
            "liveedge_camera_state", "1 for the state that the camera is in", labels=["camera", "state"]
        )
        stream = InfoMetricFamily("liveedge_camera_stream", "What the camera sends", labels=CAMERA)
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
        yield gauge("bits_per_second", "Measured bitrate, all tracks", lambda camera: camera.status().bitrate_bps)
        yield gauge("keyframe_age_seconds", "Age of the last keyframe", lambda camera: camera.status().keyframe_age_s)
        yield gauge(
            "keyframe_interval_seconds", "Last keyframe interval", lambda camera: camera.status().keyframe_interval_s
        )
        yield counter(
            "reconnects", "Times the camera was lost after a picture", lambda camera: camera.session.reconnects
        )
        yield counter("packets", "Packets from the camera", lambda camera: camera.hub.packets_published)
        yield counter(
            "packets_dropped", "Packets that a slow consumer lost", lambda camera: camera.status().packets_dropped
        )
        yield counter(
            "gops_outgrown", "GOPs too large to be kept for newcomers", lambda camera: camera.hub.gops_outgrown
        )
        yield counter("consumer_faults", "Packets that a consumer failed on", lambda camera: camera.hub.sink_faults)
        yield counter("pictures_decoded", "Pictures decoded for JPEG", lambda camera: camera.jpeg.pictures_decoded)
        yield counter("jpeg_frames_encoded", "JPEG frames encoded", lambda camera: camera.jpeg.frames_encoded)

    def _archive(self) -> Iterable[Metric]:
        recorders: dict[str, dict[str, Any]] = self._house.archive.status()["cameras"]
        recording = GaugeMetricFamily("liveedge_archive_recording", "1 while the camera is recorded", labels=CAMERA)
        lag = GaugeMetricFamily(
            "liveedge_archive_lag_seconds", "How far the disk is behind the newest picture", labels=CAMERA
        )
        written = CounterMetricFamily("liveedge_archive_bytes", "Bytes recorded", labels=CAMERA)
        closed = CounterMetricFamily("liveedge_archive_segments", "Archive segments finished", labels=CAMERA)
        dropped = CounterMetricFamily("liveedge_archive_packets_dropped", "Packets lost to a slow disk", labels=CAMERA)
        failing = GaugeMetricFamily("liveedge_archive_failing", "1 while recording fails", labels=CAMERA)
        for camera_id, status in recorders.items():
            recording.add_metric([camera_id], float(status["is_recording"]))
            lag.add_metric([camera_id], status["lag_s"])
            written.add_metric([camera_id], status["bytes_written"])
            closed.add_metric([camera_id], status["segments_closed"])
            dropped.add_metric([camera_id], status["packets_dropped"])
            failing.add_metric([camera_id], float(status["error"] is not None))
        yield from (recording, lag, written, closed, dropped, failing)
        free = GaugeMetricFamily("liveedge_archive_disk_free_bytes", "Free space where recordings go")
        try:
            free.add_metric([], shutil.disk_usage(self._house.settings.data_dir).free)
        except OSError:
            return  # a disk that is gone has no size; liveedge_archive_failing tells it
        yield free

    def _messaging(self) -> Iterable[Metric]:
        status = self._house.messaging.status()
        connected = GaugeMetricFamily("liveedge_messaging_connected", "1 while the event service is connected")
        connected.add_metric([], float(bool(status.get("connected"))))
        yield connected
        if "frames_sent" in status:
            sent = CounterMetricFamily("liveedge_messaging_frames", "JPEG frames sent to the event service")
            sent.add_metric([], status["frames_sent"])
            skipped = CounterMetricFamily(
                "liveedge_messaging_pictures_skipped", "Pictures that a newer one replaced before they were sent"
            )
            skipped.add_metric([], status["pictures_skipped"])
            yield from (sent, skipped)


class Metrics:
    """The registry of one house."""

    def __init__(self, house: House) -> None:
        self.lag = LoopLag()
        self._registry = CollectorRegistry()
        self._registry.register(HouseCollector(house, self.lag))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def render(self) -> bytes:
        """The text exposition format, version 0.0.4."""
        return generate_latest(self._registry)
