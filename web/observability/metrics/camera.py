"""Metrics of cameras: state, stream, viewers, and what capture and its consumers dropped."""

from collections.abc import Callable, Iterable
from dataclasses import fields

from prometheus_client.core import InfoMetricFamily, Metric

from gateway.camera import Camera
from gateway.capture.counters import CaptureCounters
from gateway.session import SessionState
from web.gateway import Gateway
from web.observability.metrics.families import Samples, counter, gauge

LABELS = ("camera",)


def camera_metrics(gateway: Gateway) -> Iterable[Metric]:
    """The families ``liveedge_camera_…``."""
    cameras = list(gateway.service.cameras.values())
    statuses = {camera.id: camera.status() for camera in cameras}

    def each(value: Callable[[Camera], float | None]) -> Samples:
        return [((camera.id,), value(camera)) for camera in cameras]

    yield gauge(
        "camera_state",
        "1 for the state that the camera is in",
        ("camera", "state"),
        [
            ((camera_id, state.value), float(status.state is state))
            for camera_id, status in statuses.items()
            for state in SessionState
        ],
    )
    stream = InfoMetricFamily("liveedge_camera_stream", "Codecs and size of the stream", labels=LABELS)
    for camera_id, status in statuses.items():
        if status.codec is not None:
            size = f"{status.width}x{status.height}"
            stream.add_metric([camera_id], {"codec": status.codec, "size": size, "audio": status.audio_codec or ""})
    yield stream
    yield gauge(
        "camera_viewers",
        "Viewers by transport",
        ("camera", "transport"),
        [
            ((camera_id, transport), count)
            for camera_id, status in statuses.items()
            for transport, count in status.viewers.items()
        ],
    )
    yield counter(
        "camera_clients_refused",
        "Starts of the capture refused because too many clients had started it",
        LABELS,
        each(lambda camera: camera.clients.refused),
    )
    yield counter(
        "camera_clients_expired",
        "Clients that started the capture and gave way to newer ones, at the limit",
        LABELS,
        each(lambda camera: camera.clients.expired),
    )
    yield gauge(
        "camera_clients",
        "Clients that asked for the capture",
        LABELS,
        each(lambda camera: len(camera.clients)),
    )
    yield gauge("camera_frames_per_second", "Measured frame rate", LABELS, each(lambda camera: statuses[camera.id].fps))
    yield gauge(
        "camera_bytes_per_second",
        "Measured bitrate, all tracks",
        LABELS,
        [((camera_id,), _bytes_per_second(status.bitrate_bps)) for camera_id, status in statuses.items()],
    )
    yield gauge(
        "camera_keyframe_age_seconds",
        "Age of the last keyframe",
        LABELS,
        each(lambda camera: statuses[camera.id].keyframe_age_s),
    )
    yield gauge(
        "camera_keyframe_interval_seconds",
        "Last keyframe interval",
        LABELS,
        each(lambda camera: statuses[camera.id].keyframe_interval_s),
    )
    yield counter(
        "camera_reconnects",
        "Times that the camera was lost after a frame",
        LABELS,
        each(lambda camera: camera.session.reconnects),
    )
    yield counter(
        "camera_packets", "Packets from the camera", LABELS, each(lambda camera: camera.hub.packets_published)
    )
    yield counter(
        "camera_packets_dropped",
        "Packets dropped because a queue was full: from the capture thread, or of a slow consumer",
        ("camera", "reason"),
        [
            sample
            for camera in cameras
            for sample in (
                ((camera.id, "capture_queue"), camera.handover_dropped),
                ((camera.id, "consumer_queue"), camera.hub.packets_dropped),
            )
        ],
    )
    yield counter(
        "camera_gops_oversized",
        "GOPs too large to be kept for new viewers",
        LABELS,
        each(lambda camera: camera.hub.gops_oversized),
    )
    yield counter(
        "camera_consumer_errors",
        "Packets that a consumer failed on",
        LABELS,
        each(lambda camera: camera.hub.sink_faults),
    )
    yield counter(
        "camera_frames_decoded", "Frames decoded for JPEG", LABELS, each(lambda camera: camera.jpeg.frames_decoded)
    )
    yield counter(
        "camera_jpeg_frames_encoded", "JPEG frames encoded", LABELS, each(lambda camera: camera.jpeg.frames_encoded)
    )
    yield counter(
        "camera_jpeg_widths_replaced",
        "Requests for a JPEG width that got another one, because of the limit of renditions",
        LABELS,
        each(lambda camera: camera.jpeg.widths_replaced),
    )
    yield counter(
        "camera_jpeg_packets_skipped",
        "Packets that JPEG did not decode because its decoder was behind",
        LABELS,
        each(lambda camera: camera.jpeg.packets_skipped),
    )
    yield counter(
        "camera_mjpeg_frames_skipped",
        "Frames that MJPEG clients did not get: replaced by a newer one, or above their frame rate",
        LABELS,
        each(lambda camera: gateway.mjpeg_frames_skipped[camera.id]),
    )
    yield counter(
        "camera_jpeg_decode_errors",
        "Packets that JPEG could not decode",
        LABELS,
        each(lambda camera: camera.jpeg.decode_errors),
    )
    counters = {camera.id: camera.counters for camera in cameras}
    for field in fields(CaptureCounters):
        yield counter(
            f"camera_{field.name}",
            field.metadata["help"],
            LABELS,
            [((camera_id,), getattr(values, field.name)) for camera_id, values in counters.items()],
        )


def _bytes_per_second(bitrate_bps: int | None) -> float | None:
    return None if bitrate_bps is None else bitrate_bps / 8
