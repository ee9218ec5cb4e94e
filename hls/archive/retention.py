"""Select the segments to delete. Sans-IO: numbers in, segments out.

Rules:

1. The oldest segments are deleted first, and only as many as a limit requires. The oldest is the one that was recorded
   first: the order of a camera's segments is that of their numbers, whatever the wall clock said meanwhile.
2. Age: the end of the segment is older than its camera's ``ARCHIVE_MAX_AGE``, or ``ARCHIVE_SUB_MAX_AGE`` for the sub
   stream. A date that cannot be right does not count (:func:`dated`). A stream loses at most :class:`AgeBudget` at
   once, so that it takes hours to lose a month by a fault of the clock that nothing else has noticed.
3. Bytes: its camera has more than the camera's ``ARCHIVE_MAX_BYTES``, or all cameras together have more than the
   gateway's. Both streams of a camera count together, and the oldest of both goes first. So a limit of size shortens
   the time that only the sub stream still has, before it takes anything from the main stream.
4. Free space: the disk has less than ``ARCHIVE_MIN_FREE_BYTES`` free. That is more than is written between two rounds,
   so that the disk is never full; see :mod:`hls.archive.retention_job`.
5. Protected and growing segments, and those being read, are not candidates. Their bytes count.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, seconds_90k
from hls.archive.clock_guard import EARLIEST_90K
from hls.archive.segment import RecordedStream, Segment

AGE_BURST_90K = 3600 * CLOCK_RATE
"""An hour of recorded time, so that a lower limit shows at once."""

AGE_RATE = 60
"""Seconds of recorded time a second: a month takes half a day, which is time to notice."""


class Reason(StrEnum):
    """Why a segment is deleted."""

    AGE = "age"
    CAMERA_BYTES = "camera_bytes"
    ALL_BYTES = "all_bytes"
    FREE_BYTES = "free_bytes"


@dataclass(frozen=True, slots=True)
class CameraLimits:
    """``max_age_s`` and, for the sub stream, ``sub_max_age_s`` in seconds; ``None`` is no limit."""

    max_age_s: float | None = None
    max_bytes: int | None = None
    sub_max_age_s: float | None = None

    def age_s(self, rendition: RenditionName) -> float | None:
        """The limit of age of one stream."""
        return self.max_age_s if rendition is RenditionName.MAIN else self.sub_max_age_s


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Bytes on the disk. ``used`` is per camera, growing and protected segments included."""

    used: Mapping[str, int]
    free: int
    max_bytes: int | None = None
    min_free: int = 0


class Candidate(NamedTuple):
    """A segment, its place in time among those of all cameras, and the end from which it ages; ``None``: unknown."""

    segment: Segment
    order_90k: int
    ended_90k: int | None


def dated(segments: Sequence[Segment], later_90k: int | None, now_90k: int) -> list[Candidate]:
    """Date a stream's segments, which are in the order in which they were recorded.

    A segment cannot have begun after now, or before liveedge was made: then the clock was wrong, and it is as old as
    the next one with a possible date, ``later_90k`` after the last one. It cannot have begun before an earlier one.
    """
    ages: list[int | None] = []
    next_90k = later_90k
    for segment in reversed(segments):
        if EARLIEST_90K <= segment.start_90k <= now_90k:
            next_90k = segment.start_90k
        ages.append(next_90k)
    candidates = []
    order_90k = 0
    for segment, begun_90k in zip(segments, reversed(ages), strict=True):
        order_90k = max(order_90k, segment.start_90k if begun_90k is None else begun_90k)
        ended_90k = None if begun_90k is None else order_90k + segment.duration_90k
        candidates.append(Candidate(segment, order_90k, ended_90k))
    return candidates


class AgeBudget:
    """What each stream may lose for its age at present, in ticks of recorded time; grows with ``now_s`` (monotonic)."""

    def __init__(self) -> None:
        self._left: dict[RecordedStream, tuple[float, float]] = {}

    def left_90k(self, stream: RecordedStream, now_s: float) -> float:
        """At most :data:`AGE_BURST_90K`; negative after a segment that was longer."""
        left_90k, since_s = self._left.get(stream, (float(AGE_BURST_90K), now_s))
        return min(AGE_BURST_90K, left_90k + (now_s - since_s) * AGE_RATE * CLOCK_RATE)

    def take(self, segment: Segment, now_s: float) -> None:
        """A segment is deleted for its age."""
        self._left[segment.stream] = self.left_90k(segment.stream, now_s) - segment.duration_90k, now_s


def select_segments(
    candidates: Iterable[Iterable[Candidate]],
    limits: Mapping[str, CameraLimits],
    disk: DiskUsage,
    age_now_90k: int | None,
    age_left_90k: Mapping[RecordedStream, float] = MappingProxyType({}),
) -> list[tuple[Segment, Reason]]:
    """The segments to delete. ``candidates`` are each stream's oldest ones, in the order of their recording.

    ``age_now_90k`` is ``None`` while the clock cannot be trusted; ``age_left_90k`` is the budget of streams that have
    one.
    """
    used = dict(disk.used)
    age_left = dict(age_left_90k)
    free = disk.free
    selected: list[tuple[Segment, Reason]] = []
    for segment, _, ended_90k in heapq.merge(*candidates, key=lambda candidate: candidate.order_90k):
        limit = limits.get(segment.camera_id, CameraLimits())
        max_age_s = limit.age_s(segment.rendition)
        reason: Reason | None = None
        is_old = (
            age_now_90k is not None
            and ended_90k is not None
            and max_age_s is not None
            and ended_90k < age_now_90k - seconds_90k(max_age_s)
        )
        if is_old and age_left.get(segment.stream, 1) > 0:
            reason = Reason.AGE
            if segment.stream in age_left:
                age_left[segment.stream] -= segment.duration_90k
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
