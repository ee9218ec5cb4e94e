"""Metrics of cameras: state, stream, viewers, and what capture and its consumers dropped."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields

from prometheus_client.core import InfoMetricFamily, Metric

from gateway.camera import Camera
from gateway.capture.counters import CaptureCounters
from gateway.forward.forward import Forward, ForwardState
from gateway.jpeg.feed import JpegFeed
from gateway.rendition import Rendition
from gateway.session import SessionState
from gateway.status import TranscodeState
from gateway.transcode.transcode import Transcode
from web.gateway import Gateway
from web.observability.metrics.families import Samples, counter, gauge

LABELS = ("camera",)
STREAM = ("camera", "rendition")


def camera_metrics(gateway: Gateway) -> Iterable[Metric]:
    """The families ``liveedge_camera_…``. ``rendition`` tells a camera's main and sub stream apart."""
    cameras = list(gateway.service.cameras.values())

    def each(value: Callable[[Camera], float | None]) -> Samples:
        return [((camera.id,), value(camera)) for camera in cameras]

    yield from _stream_metrics([rendition for camera in cameras for rendition in camera.renditions.values()])
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
    yield from _transcode_metrics(gateway, cameras)
    yield from _forward_metrics(gateway, cameras)
    yield counter(
        "camera_mjpeg_frames_skipped",
        "Frames that MJPEG clients did not get: replaced by a newer one, or above their frame rate",
        LABELS,
        each(lambda camera: gateway.mjpeg_frames_skipped[camera.id]),
    )


def _forward_metrics(gateway: Gateway, cameras: Sequence[Camera]) -> Iterable[Metric]:
    def total(value: Callable[[Forward], int]) -> Samples:
        forwards = gateway.forward.forwards
        return [((camera.id,), sum(value(each) for each in forwards.get(camera.id, ()))) for camera in cameras]

    yield gauge(
        "camera_forwards_live",
        "Servers of `forward` that the camera is being pushed to",
        LABELS,
        total(lambda forward: forward.state is ForwardState.LIVE),
    )
    yield gauge("camera_forwards", "Servers of `forward`", LABELS, total(lambda _: 1))
    yield counter(
        "camera_forward_packets", "Packets pushed to servers", LABELS, total(lambda forward: forward.packets_sent)
    )
    yield counter(
        "camera_forward_packets_dropped",
        "Packets that servers did not get because they were slower",
        LABELS,
        total(lambda forward: forward.packets_dropped),
    )
    yield counter(
        "camera_forward_reconnects",
        "Times that the connection to a server ended or was not made",
        LABELS,
        total(lambda forward: forward.reconnects),
    )


def _transcode_metrics(gateway: Gateway, cameras: Sequence[Camera]) -> Iterable[Metric]:
    def each(value: Callable[[Transcode], float]) -> Samples:
        return [((camera.id,), value(camera.transcode)) for camera in cameras]

    yield gauge(
        "transcode_running",
        "1 while the camera is transcoded, for viewers that decode nothing that it sends",
        LABELS,
        each(lambda transcode: float(transcode.state is not TranscodeState.IDLE)),
    )
    yield gauge(
        "transcode_viewers",
        "Viewers of the transcoded stream",
        LABELS,
        each(lambda transcode: sum(transcode.viewers.values())),
    )
    yield counter(
        "transcode_crashes",
        "Times that the process that transcodes has ended by itself",
        LABELS,
        each(lambda transcode: transcode.counters.crashes),
    )
    yield counter("transcode_frames", "Frames encoded", LABELS, each(lambda transcode: transcode.counters.frames))
    yield counter(
        "transcode_packets_dropped",
        "Packets of the camera that the process had no time for, dropped to the next keyframe",
        LABELS,
        each(lambda transcode: transcode.counters.packets_dropped),
    )
    limit = gateway.service.transcode_limit
    yield gauge("transcodes_max", "How many cameras may be transcoded at a time", (), [((), limit.maximum)])
    yield counter("transcodes_refused", "Viewers refused because of that limit", (), [((), limit.refused)])


def _stream_metrics(renditions: Sequence[Rendition]) -> Iterable[Metric]:
    statuses = [(_labels(rendition), rendition.status()) for rendition in renditions]

    def each(value: Callable[[Rendition], float | None]) -> Samples:
        return [(_labels(rendition), value(rendition)) for rendition in renditions]

    yield gauge(
        "camera_state",
        "1 for the state that the stream is in",
        (*STREAM, "state"),
        [
            ((*labels, state.value), float(status.state is state))
            for labels, status in statuses
            for state in SessionState
        ],
    )
    stream = InfoMetricFamily("liveedge_camera_stream", "Codecs and size of the stream", labels=STREAM)
    for labels, status in statuses:
        if status.codec is not None:
            size = f"{status.width}x{status.height}"
            stream.add_metric(labels, {"codec": status.codec, "size": size, "audio": status.audio_codec or ""})
    yield stream
    yield gauge(
        "camera_viewers",
        "Viewers by transport",
        (*STREAM, "transport"),
        [((*labels, transport), count) for labels, status in statuses for transport, count in status.viewers.items()],
    )
    yield gauge(
        "camera_frames_per_second",
        "Measured frame rate",
        STREAM,
        [(labels, status.fps) for labels, status in statuses],
    )
    yield gauge(
        "camera_bytes_per_second",
        "Measured bitrate, all tracks",
        STREAM,
        [(labels, _bytes_per_second(status.bitrate_bps)) for labels, status in statuses],
    )
    yield gauge(
        "camera_keyframe_age_seconds",
        "Age of the last keyframe",
        STREAM,
        [(labels, status.keyframe_age_s) for labels, status in statuses],
    )
    yield gauge(
        "camera_keyframe_interval_seconds",
        "Last keyframe interval",
        STREAM,
        [(labels, status.keyframe_interval_s) for labels, status in statuses],
    )
    yield counter(
        "camera_reconnects",
        "Times that the stream was lost after a frame",
        STREAM,
        each(lambda rendition: rendition.session.reconnects),
    )
    yield counter(
        "camera_packets", "Packets from the camera", STREAM, each(lambda rendition: rendition.hub.packets_published)
    )
    yield counter(
        "camera_packets_dropped",
        "Packets dropped because a queue was full: from the capture thread, or of a slow consumer",
        (*STREAM, "reason"),
        [
            sample
            for rendition in renditions
            for sample in (
                ((*_labels(rendition), "capture_queue"), rendition.runs.handover_dropped),
                ((*_labels(rendition), "consumer_queue"), rendition.hub.packets_dropped),
            )
        ],
    )
    yield counter(
        "camera_gops_oversized",
        "GOPs too large to be kept for new viewers",
        STREAM,
        each(lambda rendition: rendition.hub.gops_oversized),
    )
    yield counter(
        "camera_stalls",
        "Times that pictures stayed out for a second or more while the camera was connected",
        STREAM,
        each(lambda rendition: rendition.stalls),
    )
    yield counter(
        "camera_consumer_errors",
        "Packets that a consumer failed on",
        STREAM,
        each(lambda rendition: rendition.hub.sink_faults),
    )
    yield from _jpeg_metrics(renditions)
    counters = [(_labels(rendition), rendition.runs.counters) for rendition in renditions]
    for field in fields(CaptureCounters):
        yield counter(
            f"camera_{field.name}",
            field.metadata["help"],
            STREAM,
            [(labels, getattr(values, field.name)) for labels, values in counters],
        )


def _jpeg_metrics(renditions: Sequence[Rendition]) -> Iterable[Metric]:
    for name, about, value in _JPEG:
        yield counter(name, about, STREAM, [(_labels(each), value(each.jpeg)) for each in renditions])


_JPEG: Sequence[tuple[str, str, Callable[[JpegFeed], float]]] = (
    ("camera_frames_decoded", "Frames decoded for JPEG", lambda jpeg: jpeg.frames_decoded),
    ("camera_jpeg_frames_encoded", "JPEG frames encoded", lambda jpeg: jpeg.frames_encoded),
    (
        "camera_jpeg_widths_replaced",
        "Requests for a JPEG width that got another one, because of the limit of renditions",
        lambda jpeg: jpeg.widths_replaced,
    ),
    (
        "camera_jpeg_packets_skipped",
        "Packets that JPEG did not decode because its decoder was behind",
        lambda jpeg: jpeg.packets_skipped,
    ),
    ("camera_jpeg_decode_errors", "Packets that JPEG could not decode", lambda jpeg: jpeg.decode_errors),
)


def _labels(rendition: Rendition) -> tuple[str, str]:
    return rendition.camera_id, rendition.name.value


def _bytes_per_second(bitrate_bps: int | None) -> float | None:
    return None if bitrate_bps is None else bitrate_bps / 8
