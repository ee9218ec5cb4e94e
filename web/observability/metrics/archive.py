"""Metrics of the archive: recorders, index and disk."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from gateway.clock import CLOCK_RATE
from hls.archive.segment import RecordedStream
from hls.archive.status import StorageStatus
from hls.playback.reader import KINDS
from web.gateway import Gateway
from web.observability.metrics.families import counter, gauge, histogram, single

LABELS = ("camera", "rendition")


def _labels(stream: RecordedStream) -> tuple[str, str]:
    return stream.camera_id, stream.rendition.value


def archive_metrics(gateway: Gateway) -> Iterable[Metric]:
    """The families ``liveedge_archive_…``."""
    recorders = list(gateway.archive.streams())
    yield gauge(
        "archive_recording",
        "1 while the stream is recorded",
        LABELS,
        [(_labels(stream), float(each.is_recording)) for stream, each in recorders],
    )
    yield gauge(
        "archive_lag_seconds",
        "How far the recording on disk is behind the newest frame",
        LABELS,
        [(_labels(stream), each.lag_s) for stream, each in recorders],
    )
    yield counter(
        "archive_bytes",
        "Bytes recorded",
        LABELS,
        [(_labels(stream), each.bytes_written) for stream, each in recorders],
    )
    yield counter(
        "archive_segments",
        "Archive segments finished",
        LABELS,
        [(_labels(stream), each.segments_closed) for stream, each in recorders],
    )
    yield counter(
        "archive_packets_dropped",
        "Packets dropped by a slow disk",
        LABELS,
        [(_labels(stream), each.packets_dropped) for stream, each in recorders],
    )
    yield counter(
        "archive_audio_packets_dropped",
        "Audio packets that no recording has: from before its first frame, out of order, or broken",
        LABELS,
        [(_labels(stream), each.audio_packets_dropped) for stream, each in recorders],
    )
    yield counter(
        "archive_gaps",
        "Archive segments with a gap before them",
        LABELS,
        [(_labels(stream), each.gaps) for stream, each in recorders],
    )
    yield counter(
        "archive_unindexed_dropped",
        "Archive segments that the next start adds to the index, because too many waited for it",
        LABELS,
        [(_labels(stream), each.unindexed_dropped) for stream, each in recorders],
    )
    held = [(stream, each.pre_roll) for stream, each in recorders if each.pre_roll is not None]
    yield gauge(
        "archive_pre_roll_seconds",
        "Video in memory of a stream that is recorded on events; 0 while one is recorded",
        LABELS,
        [(_labels(stream), each.seconds) for stream, each in held],
    )
    yield gauge(
        "archive_pre_roll_bytes",
        "Bytes in memory of a stream that is recorded on events",
        LABELS,
        [(_labels(stream), each.bytes) for stream, each in held],
    )
    yield counter(
        "archive_pre_roll_packets_dropped",
        "Packets dropped because those in memory of a stream that is recorded on events have too many bytes",
        LABELS,
        [(_labels(stream), each.pre_roll.packets_dropped if each.pre_roll else 0) for stream, each in recorders],
    )
    yield gauge(
        "archive_failing",
        "1 while recording fails",
        LABELS,
        [(_labels(stream), float(each.error is not None)) for stream, each in recorders],
    )
    yield counter(
        "archive_requests_refused",
        "Requests to the archive refused because too many of their kind were open",
        ("kind",),
        [((kind,), gateway.archive_reader.refused[kind]) for kind in KINDS],
    )
    yield from histogram(gateway.archive.sync_s)
    status = gateway.archive.status()
    yield counter(
        "archive_segments_deleted",
        "Archive segments deleted by retention, by the limit that was reached",
        ("rendition", "reason"),
        [((name.value, reason), count) for (name, reason), count in gateway.archive.retention_job.deleted.items()],
    )
    yield counter(
        "archive_index_repairs",
        "Times that a damaged or missing index was reopened or rebuilt",
        (),
        single(status.index_repairs),
    )
    yield gauge(
        "archive_clock_trusted",
        "0 while no recording is deleted for its age, because the clock of the host was set",
        (),
        single(float(status.clock is None or status.clock.is_trusted)),
    )
    # As retention last measured it: measuring here would block the event loop on a hung disk.
    space = gateway.archive.disk_space
    yield gauge(
        "archive_disk_free_bytes",
        "Free space on the disk of the recordings",
        (),
        single(space.free_bytes if space else None),
    )
    yield gauge(
        "archive_disk_total_bytes",
        "Size of the disk of the recordings",
        (),
        single(space.total_bytes if space else None),
    )
    yield gauge(
        "archive_disk_measured_timestamp_seconds",
        "When the space on the disk of the recordings was measured; old if the disk hangs",
        (),
        single(space.measured_at_90k / CLOCK_RATE if space else None),
    )
    if status.storage is not None:
        yield from storage_metrics(status.storage)


def storage_metrics(storage: StorageStatus) -> Iterable[Metric]:
    """The families ``liveedge_archive_storage_…``, with ``ARCHIVE_URL``."""
    yield gauge(
        "archive_storage_reachable", "0 while the object storage fails", (), single(float(storage.is_reachable))
    )
    yield gauge(
        "archive_storage_backlog_segments",
        "Finished segments that are not in the object storage yet",
        (),
        single(storage.backlog_segments),
    )
    yield gauge(
        "archive_storage_backlog_bytes",
        "Size of the finished segments that are not in the object storage yet",
        (),
        single(storage.backlog_bytes),
    )
    yield counter("archive_storage_uploaded_bytes", "Bytes uploaded", (), single(storage.bytes_uploaded))
    yield counter("archive_storage_uploaded_segments", "Segments uploaded", (), single(storage.segments_uploaded))
    yield counter(
        "archive_storage_failures",
        "Requests to the object storage that failed, and uploads that began again",
        (),
        single(storage.failures),
    )
    yield counter(
        "archive_storage_deleted_segments",
        "Segments deleted from the object storage",
        (),
        single(storage.objects_deleted),
    )
    yield counter(
        "archive_storage_local_copies_removed",
        "Files of uploaded segments that were removed from the disk",
        (),
        single(storage.local_copies_removed),
    )
    yield counter("archive_storage_read_bytes", "Bytes read for playback", (), single(storage.bytes_read))
    yield gauge(
        "archive_storage_cache_bytes",
        "Memory for what was read from the object storage",
        (),
        single(storage.cache_bytes),
    )
    yield counter(
        "archive_storage_cache_requests",
        "Blocks of recordings that were wanted, by whether they were in memory",
        ("result",),
        [(("hit",), storage.cache_hits), (("miss",), storage.cache_misses)],
    )
    yield counter(
        "archive_storage_aborted_uploads",
        "Unfinished uploads of no one that were removed from the object storage",
        (),
        single(storage.uploads_aborted),
    )
