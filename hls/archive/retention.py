"""Select the segments to delete. Sans-IO: numbers in, segments out.

Rules:

1. The oldest segments are deleted first, and only as many as a limit requires.
2. Age: the end of the segment is older than its camera's ``ARCHIVE_MAX_AGE``.
3. Bytes: its camera has more than the camera's ``ARCHIVE_MAX_BYTES``, or all cameras together have more than the
   gateway's.
4. Free space: the disk has less than ``ARCHIVE_MIN_FREE_BYTES`` free. That is more than is written between two rounds,
   so that the disk is never full; see :mod:`hls.archive.retention_job`.
5. Protected and growing segments, and those being read, are not candidates. Their bytes count.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.clock import seconds_90k
from hls.archive.segment import Segment


class Reason(StrEnum):
    """Why a segment is deleted."""

    AGE = "age"
    CAMERA_BYTES = "camera_bytes"
    ALL_BYTES = "all_bytes"
    FREE_BYTES = "free_bytes"


@dataclass(frozen=True, slots=True)
class CameraLimits:
    """``max_age_s`` in seconds; ``None`` is no limit."""

    max_age_s: float | None = None
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Bytes on the disk. ``used`` is per camera, growing and protected segments included."""

    used: Mapping[str, int]
    free: int
    max_bytes: int | None = None
    min_free: int = 0


def select_segments(
    candidates: Iterable[Iterable[Segment]], limits: Mapping[str, CameraLimits], disk: DiskUsage, now_90k: int
) -> list[tuple[Segment, Reason]]:
    """The segments to delete. ``candidates`` are each camera's oldest ones, in order of time."""
    used = dict(disk.used)
    free = disk.free
    selected: list[tuple[Segment, Reason]] = []
    for segment in heapq.merge(*candidates, key=lambda segment: segment.start_90k):
        limit = limits.get(segment.camera_id, CameraLimits())
        reason: Reason | None = None
        if limit.max_age_s is not None and segment.end_90k < now_90k - seconds_90k(limit.max_age_s):
            reason = Reason.AGE
        elif limit.max_bytes is not None and used.get(segment.camera_id, 0) > limit.max_bytes:
            reason = Reason.CAMERA_BYTES
        elif disk.max_bytes is not None and sum(used.values()) > disk.max_bytes:
            reason = Reason.ALL_BYTES
        elif free < disk.min_free:
            reason = Reason.FREE_BYTES
        if reason is not None:
            selected.append((segment, reason))
            used[segment.camera_id] = used.get(segment.camera_id, 0) - segment.size
            free += segment.size
    return selected
