"""SegmentFinder: which recordings a request is about.

Segments that are on disk and not in the index yet are part of every answer, so that no answer is behind the disk.

Where ``rendition`` is ``None``, a time is that of the main stream if it was recorded then, else that of the sub
stream. A span is of the stream of which more was recorded, and of the main stream in doubt: a change within would be a
change of size. A picture is of the smallest stream that has the width asked for.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.errors import NotFoundError
from hls.archive.segment import Segment, SegmentWithFragments
from hls.archive.service import Archive
from hls.playback.playlists import SPAN_MAX

PAGE_MAX = 1000
"""Segments in one answer: a week of 10-minute files, half a megabyte of JSON."""

COVERED_90K = CLOCK_RATE
"""So much less of a span than the sub stream may be recorded of the main stream, for a clip to be of the main one: its
keyframes are elsewhere."""


MILLISECOND_90K = CLOCK_RATE // 1000
"""Answers have the start of a segment rounded down to the millisecond (:func:`gateway.clock.to_rfc3339`)."""


@dataclass(frozen=True, slots=True)
class SegmentPosition:
    """A point in time in the archive: ``offset_90k`` after the start of ``segment``."""

    segment: Segment
    offset_90k: int


class SegmentFinder:
    """See the module. Lives on the event loop."""

    def __init__(self, archive: Archive) -> None:
        self.files = archive.files
        self._archive = archive
        self._index = archive.index

    def pin(self, segment: Segment) -> AbstractContextManager[None]:
        """Keep a segment's file while it is being read."""
        return self._archive.pin(segment)

    async def find(self, camera_id: str, name: str) -> SegmentWithFragments:
        """A segment and its fragments. Raises :class:`~gateway.errors.NotFoundError`."""
        found = await self._index.get(camera_id, name)
        for segment, fragments in self._archive.unindexed(camera_id):
            if segment.name == name:
                return SegmentWithFragments(_with_index_fields(segment, found[0]) if found else segment, fragments)
        if found is None:
            raise NotFoundError(f"camera {camera_id} has no segment {name}").because("segment_gone")
        return found

    async def page(
        self,
        camera_id: str,
        start_90k: int | None = None,
        end_90k: int | None = None,
        limit: int = 100,
        after: tuple[int, str] | None = None,
        rendition: RenditionName | None = None,
    ) -> list[Segment]:
        """Segments that overlap [start, end), oldest first; those after ``after`` (start, name) if it is given.

        Without a ``rendition``, those of both streams.
        """
        limit = min(limit, PAGE_MAX)
        found = await self._index.page(camera_id, start_90k, end_90k, limit, after, rendition)
        segments = {segment.name: segment for segment in found}
        for segment, _ in self._archive.unindexed(camera_id, rendition):
            if segment.overlaps(start_90k, end_90k) and (after is None or (segment.start_90k, segment.name) > after):
                segments[segment.name] = _with_index_fields(segment, segments.get(segment.name, segment))
        return sorted(segments.values(), key=lambda segment: (segment.start_90k, segment.name))[:limit]

    async def at(self, camera_id: str, time_90k: int, rendition: RenditionName | None = None) -> SegmentPosition:
        """Find a wall clock time. The :class:`~gateway.errors.NotFoundError` names the recordings before and after."""
        around: list[Segment] = []
        for name in RenditionName if rendition is None else (rendition,):
            before, after = await self._around(camera_id, time_90k, name)
            position = self._position(before, after, time_90k)
            if position is not None:
                return position
            around += filter(None, (before, after))
        raise NotFoundError(_nothing_at(camera_id, around, time_90k))

    def _position(self, before: Segment | None, after: Segment | None, time_90k: int) -> SegmentPosition | None:
        if before is not None:
            if time_90k < before.end_90k:
                return SegmentPosition(before, time_90k - before.start_90k)
            # Media time and wall clock differ by some milliseconds over a segment. A time between two adjacent
            # segments, or between the newest frame on disk and now, belongs to the earlier segment.
            # What is later by its date and was recorded before has the date of a clock that was ahead.
            is_newest = after is None or after.sequence < before.sequence
            if (after is not None and after.continues and not is_newest) or (is_newest and self._is_growing(before)):
                return SegmentPosition(before, before.duration_90k)
        if after is not None and after.start_90k - time_90k < MILLISECOND_90K:
            return SegmentPosition(after, 0)
        return None

    async def best_stream(self, camera_id: str, start_90k: int, end_90k: int) -> RenditionName | None:
        """The stream of which more was recorded in a span, by rule 4; ``None`` if nothing was."""
        found = await self.best_span(camera_id, start_90k, end_90k, None)
        return found[0].segment.rendition if found else None

    async def find_from(
        self, camera_id: str, time_90k: int, width: int | None, rendition: RenditionName | None = None
    ) -> SegmentWithFragments | None:
        """The segment that contains a time, or else the next one; of which stream says the module."""
        found: list[tuple[bool, Segment]] = []
        for name in RenditionName if rendition is None else (rendition,):
            before, after = await self._around(camera_id, time_90k, name)
            if before is not None and (time_90k < before.end_90k or (after is None and self._is_growing(before))):
                found.append((True, before))
            elif after is not None:
                # Two files of one stream follow each other with some milliseconds between them.
                found.append((after.start_90k - time_90k < CLOCK_RATE, after))
        then = [segment for has_time, segment in found if has_time]
        wide = [segment for segment in then if width is not None and segment.width >= width]
        if wide:
            segment = min(wide, key=lambda each: each.width)
        elif then:
            # Of equal ones the main stream, which is the first.
            segment = then[0] if width is None else max(then, key=lambda each: each.width)
        elif found:
            segment = min((segment for _, segment in found), key=lambda each: each.start_90k)
        else:
            return None
        return await self.find(camera_id, segment.name)

    async def best_span(
        self, camera_id: str, start_90k: int, end_90k: int, rendition: RenditionName | None
    ) -> list[SegmentWithFragments]:
        """The segments of the stream of which more was recorded in a span; rule 4."""
        if rendition is not None:
            return await self._span(camera_id, start_90k, end_90k, rendition)
        main, sub = [await self._span(camera_id, start_90k, end_90k, name) for name in RenditionName]

        def covered_90k(recordings: list[SegmentWithFragments]) -> int:
            spans = ((max(each.start_90k, start_90k), min(each.end_90k, end_90k)) for each, _ in recordings)
            return sum(max(0, to_90k - from_90k) for from_90k, to_90k in spans)

        main_90k = covered_90k(main)
        return main if main_90k and main_90k + COVERED_90K >= covered_90k(sub) else sub

    async def spans(
        self, camera_id: str, start_90k: int, end_90k: int, rendition: RenditionName | None
    ) -> list[SegmentWithFragments]:
        """The segments of one stream, or of both, that overlap a span: those of each oldest first, with fragments."""
        names = RenditionName if rendition is None else (rendition,)
        found = [await self._span(camera_id, start_90k, end_90k, name) for name in names]
        return [whole for of_stream in found for whole in of_stream if whole.segment.overlaps(start_90k, end_90k)]

    async def _span(
        self, camera_id: str, start_90k: int, end_90k: int | None, rendition: RenditionName
    ) -> list[SegmentWithFragments]:
        """All segments of a stream that overlap a span, oldest first, with fragments."""
        found = await self._index.span(camera_id, start_90k, end_90k, SPAN_MAX, rendition)
        recordings = {whole[0].name: whole for whole in found}
        recordings |= {whole[0].name: whole for whole in self._archive.unindexed(camera_id, rendition)}
        return sorted(recordings.values(), key=lambda whole: (whole[0].start_90k, whole[0].name))

    async def _around(
        self, camera_id: str, time_90k: int, rendition: RenditionName
    ) -> tuple[Segment | None, Segment | None]:
        """The newest segment of a stream that begins at or before a time, and the oldest after it."""
        before, after = await self._index.at(camera_id, time_90k, rendition)
        for segment, _ in self._archive.unindexed(camera_id, rendition):
            if segment.start_90k <= time_90k:
                if before is None or segment.start_90k >= before.start_90k:
                    before = segment
            elif after is None or segment.start_90k <= after.start_90k:
                after = segment
        return before, after

    def _is_growing(self, segment: Segment) -> bool:
        unindexed = self._archive.unindexed(segment.camera_id)
        return any(whole[0].name == segment.name and whole[0].end_reason is None for whole in unindexed)


def _with_index_fields(segment: Segment, told: Segment) -> Segment:
    """A recorder's segment, with the fields that only the index has."""
    return replace(segment, is_protected=told.is_protected, sha256=told.sha256, metadata=told.metadata)


def _nothing_at(camera_id: str, segments: Sequence[Segment], time_90k: int) -> str:
    """Why a time is not recorded; ``segments`` are those before and after it."""
    if not segments:
        return f"nothing of camera {camera_id} is recorded"
    around = []
    if ends := [segment.end_90k for segment in segments if segment.start_90k <= time_90k]:
        around.append(f"the recording before ends at {to_rfc3339(max(ends))}")
    if starts := [segment.start_90k for segment in segments if segment.start_90k > time_90k]:
        around.append(f"the next begins at {to_rfc3339(min(starts))}")
    return f"camera {camera_id} was not recorded then: {' and '.join(around)}"
