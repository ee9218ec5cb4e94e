"""Which segments go, and why. Sans-IO: numbers in, names out.

Rules:

1. Segments go oldest first, and no more of them than a limit asks for.
2. A segment goes for age once its end is older than its camera's ``ARCHIVE_MAX_AGE``.
3. It goes for bytes while its camera has more than the camera's ``ARCHIVE_MAX_BYTES``, or all cameras together have
   more than the gateway's.
4. It goes for room while the disk has less than ``ARCHIVE_MIN_FREE_BYTES`` free. That is more than what is written
   between two looks, so that the disk is never full; see :mod:`hls.archive.retention_job`.
5. Protected and growing segments, and such as are being read, are no candidates; their bytes count.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.clock import seconds_90k
from hls.archive.segment import Segment


class Reason(StrEnum):
    """Why a segment goes."""

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
    """What is there, in bytes. ``used`` is each camera's, growing and protected segments included."""

    used: Mapping[str, int]
    free: int
    max_bytes: int | None = None
    min_free: int = 0


def select_segments(
    candidates: Iterable[Iterable[Segment]], limits: Mapping[str, CameraLimits], disk: DiskUsage, now_90k: int
) -> list[tuple[Segment, Reason]]:
    """The segments that must go. ``candidates`` are the cameras' oldest ones, each camera's in order of time."""
    used = dict(disk.used)
    free = disk.free
    chosen: list[tuple[Segment, Reason]] = []
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
            chosen.append((segment, reason))
            used[segment.camera_id] = used.get(segment.camera_id, 0) - segment.size
            free += segment.size
    return chosen
