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
5. With ``ARCHIVE_EVENT_MAX_AGE``, what an event covers has that limit of age if it is the higher one. Bytes and free
   space are taken from it last: when there is nothing else to delete. Without, it is as all other recordings.
6. Protected and growing segments, and those being read, are not candidates. Their bytes count.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
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
    """``max_age_s`` and, for the sub stream, ``sub_max_age_s`` in seconds; ``None`` is no limit.

    ``event_max_age_s`` is the one of rule 5; ``None``: what events cover is nothing special.
    """

    max_age_s: float | None = None
    max_bytes: int | None = None
    sub_max_age_s: float | None = None
    event_max_age_s: float | None = None

    def age_s(self, rendition: RenditionName, *, is_event: bool = False) -> float | None:
        """The limit of age of one stream, and of what events cover of it."""
        age_s = self.max_age_s if rendition is RenditionName.MAIN else self.sub_max_age_s
        if not is_event or self.event_max_age_s is None or age_s is None:
            return age_s
        return max(age_s, self.event_max_age_s)


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Bytes on the disk. ``used`` is per camera, growing and protected segments included."""

    used: Mapping[str, int]
    free: int
    max_bytes: int | None = None
    min_free: int = 0


class Candidate(NamedTuple):
    """A segment, its place in time among those of all cameras, and the end from which it ages; ``None``: unknown.

    ``is_event``: an event covers it.
    """

    segment: Segment
    order_90k: int
    ended_90k: int | None
    is_event: bool = False


def dated(
    segments: Sequence[Segment], later_90k: int | None, now_90k: int, *, is_event: bool = False
) -> list[Candidate]:
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
        candidates.append(Candidate(segment, order_90k, ended_90k, is_event))
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


@dataclass(slots=True)
class _Selection:
    """What is selected so far, and what is left then."""

    limits: Mapping[str, CameraLimits]
    disk: DiskUsage
    used: dict[str, int]
    free: int
    selected: list[tuple[Segment, Reason]] = field(default_factory=list)

    def limit_of(self, segment: Segment) -> CameraLimits:
        return self.limits.get(segment.camera_id, CameraLimits())

    def is_kept(self, candidate: Candidate) -> bool:
        """Whether rule 5 is for it."""
        return candidate.is_event and self.limit_of(candidate.segment).event_max_age_s is not None

    def take(self, segment: Segment, reason: Reason) -> None:
        self.selected.append((segment, reason))
        self.used[segment.camera_id] = self.used.get(segment.camera_id, 0) - segment.size
        self.free += segment.size

    def take_for_space(self, candidates: Iterable[Candidate], spared: Set[str]) -> None:
        """Rules 3 and 4. Nothing of ``spared`` cameras for their own limit, and with any, nothing for other limits."""
        for segment, *_ in candidates:
            max_bytes = self.limit_of(segment).max_bytes
            has_too_much = max_bytes is not None and self.used.get(segment.camera_id, 0) > max_bytes
            if has_too_much and segment.camera_id not in spared:
                self.take(segment, Reason.CAMERA_BYTES)
            elif spared:
                continue
            elif self.disk.max_bytes is not None and sum(self.used.values()) > self.disk.max_bytes:
                self.take(segment, Reason.ALL_BYTES)
            elif self.free < self.disk.min_free:
                self.take(segment, Reason.FREE_BYTES)


def is_anything_due(
    oldest_90k: Mapping[RecordedStream, int],
    limits: Mapping[str, CameraLimits],
    disk: DiskUsage,
    age_now_90k: int | None,
) -> bool:
    """Whether :func:`select_segments` may select something; nearly always it may not, and candidates need not be read.

    ``oldest_90k`` is where the oldest segment of each stream begins, by its date.
    """
    if disk.free < disk.min_free or (disk.max_bytes is not None and sum(disk.used.values()) > disk.max_bytes):
        return True
    for stream, start_90k in oldest_90k.items():
        limit = limits.get(stream.camera_id, CameraLimits())
        max_age_s = limit.age_s(stream.rendition)
        if limit.max_bytes is not None and disk.used.get(stream.camera_id, 0) > limit.max_bytes:
            return True
        if age_now_90k is not None and max_age_s is not None and start_90k < age_now_90k - seconds_90k(max_age_s):
            return True
    return False


def select_segments(
    candidates: Iterable[Iterable[Candidate]],
    limits: Mapping[str, CameraLimits],
    disk: DiskUsage,
    age_now_90k: int | None,
    age_left_90k: Mapping[RecordedStream, float] = MappingProxyType({}),
    incomplete: Set[str] = frozenset(),
) -> list[tuple[Segment, Reason]]:
    """The segments to delete. ``candidates`` are each stream's oldest ones, in the order of their recording.

    ``age_now_90k`` is ``None`` while the clock cannot be trusted; ``age_left_90k`` is the budget of streams that have
    one. ``incomplete`` are the cameras that have more that no event covers than is among the candidates: as long as
    there is such, space is not taken from what events cover.
    """
    selection = _Selection(limits, disk, dict(disk.used), disk.free)
    age_left = dict(age_left_90k)
    left: tuple[list[Candidate], list[Candidate]] = [], []
    for candidate in heapq.merge(*candidates, key=lambda candidate: candidate.order_90k):
        segment, _, ended_90k, is_event = candidate
        max_age_s = selection.limit_of(segment).age_s(segment.rendition, is_event=is_event)
        is_old = (
            age_now_90k is not None
            and ended_90k is not None
            and max_age_s is not None
            and ended_90k < age_now_90k - seconds_90k(max_age_s)
        )
        if is_old and age_left.get(segment.stream, 1) > 0:
            selection.take(segment, Reason.AGE)
            if segment.stream in age_left:
                age_left[segment.stream] -= segment.duration_90k
        else:
            left[selection.is_kept(candidate)].append(candidate)
    selection.take_for_space(left[False], frozenset())
    selection.take_for_space(left[True], incomplete)
    return selection.selected
