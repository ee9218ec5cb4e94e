"""ArchiveReader: requests to the archive: lists, times, playlists, clips, thumbnails and replays.

Segments that are on disk and not in the index yet are part of every answer, so that no answer is behind the disk.

Rules:

1. The event loop never waits for the disk or the database: worker threads do.
2. Pages, playlists, clips and the number of decoding threads are limited.
3. Retention does not delete a file while it is being read.
4. Where ``rendition`` is ``None``, a time is that of the main stream if it was recorded then, else that of the sub
   stream. A clip is of the stream of which more was recorded, and of the main stream in doubt: a change within would be
   a change of size. Pictures are of the smallest stream that has the width asked for.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock, to_rfc3339
from gateway.errors import BadRequestError, NotFoundError, UnavailableError
from gateway.jpeg.reader import JpegFrame
from gateway.picture_reader import PictureReader
from gateway.service import CaptureService
from hls.archive.segment import Segment, SegmentState, SegmentWithFragments, read_init, segment_path
from hls.archive.service import Archive
from hls.mp4.init_segment import shared_init
from hls.playback.clip import CLIP_MAX_S, make_clip
from hls.playback.composite_file import CompositeFile, growing_file, whole_file
from hls.playback.playlists import SPAN_MAX, PlaylistRequest, Playlists
from hls.playback.replay import make_thumbnail, replay_jpeg

P = ParamSpec("P")
R = TypeVar("R")

PAGE_MAX = 1000
"""Segments in one answer: a week of 10-minute files, half a megabyte of JSON."""

DECODER_THREADS = 2
"""For thumbnails and replays, so that they leave CPU for live frames."""

DECODES_WAITING_MAX = 64
"""A page of thumbnails."""

PLAYLISTS_MAX = 32
"""Playlists that are being made. One of a day takes some 10 MB while it is made."""

CLIPS_MAX = 64
"""Clips that are being made or sent. The tables of a clip stay in memory, some 5 MB for two hours."""

KINDS = ("pictures", "playlists", "clips")

SNAPSHOT_FRAME_RATE = 60.0
"""No frame is skipped."""

COVERED_90K = CLOCK_RATE
"""So much less of a span than the sub stream may be recorded of the main stream, for a clip to be of the main one: its
keyframes are elsewhere."""


@dataclass(frozen=True, slots=True)
class SegmentPosition:
    """A point in time in the archive: ``offset_90k`` after the start of ``segment``."""

    segment: Segment
    offset_90k: int


class ArchiveReader:
    """See the module. Lives on the event loop."""

    def __init__(self, archive: Archive, service: CaptureService, clock: Clock = SYSTEM_CLOCK) -> None:
        self.data_dir = archive.data_dir
        self._archive = archive
        self._index = archive.index
        self._service = service
        self._clock = clock
        self._decoders = ThreadPoolExecutor(DECODER_THREADS, thread_name_prefix="archive-decode")
        self._playlists = Playlists(archive, clock)
        self._open: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        """Requests refused because too many were open, by kind: one of :data:`KINDS`."""

    def close(self) -> None:
        """Stop the threads. May be called twice."""
        self._decoders.shutdown(wait=False, cancel_futures=True)

    async def find(self, camera_id: str, name: str) -> SegmentWithFragments:
        """A segment and its fragments. Raises :class:`~gateway.errors.NotFoundError`."""
        found = await self._index.get(camera_id, name)
        for segment, fragments in self._archive.unindexed(camera_id):
            if segment.name == name:
                return SegmentWithFragments(_with_index_fields(segment, found[0]) if found else segment, fragments)
        if found is None:
            raise NotFoundError(f"camera {camera_id} has no segment {name}")
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
        return None

    async def playlist(self, request: PlaylistRequest, base: str) -> str:
        """The recording as an HLS playlist: :meth:`hls.playback.playlists.Playlists.playlist`."""
        with self._limited("playlists", PLAYLISTS_MAX):
            return await self._playlists.playlist(request, base)

    async def init_segment(
        self, camera_id: str, init_id: str, start_90k: int | None = None, end_90k: int | None = None
    ) -> bytes:
        """The init segment of all files with the same tracks, named by :attr:`Segment.init_id`.

        With a span, only if a file that overlaps it has that one. Raises :class:`~gateway.errors.NotFoundError`.
        """
        segment = next(
            (
                segment
                for segment, _ in self._archive.unindexed(camera_id)
                if segment.init_id == init_id and segment.overlaps(start_90k, end_90k)
            ),
            None,
        )
        if segment is None:
            segment = await self._index.with_init(camera_id, init_id, start_90k, end_90k)
        if segment is None:
            raise NotFoundError(f"camera {camera_id} has no recording with init segment {init_id[:16]!r}")
        return shared_init(await asyncio.to_thread(read_init, self.path(segment), segment))

    @contextlib.asynccontextmanager
    async def file(self, segment: Segment) -> AsyncIterator[CompositeFile]:
        """A segment's file, pinned: what is on disk of it. Raises :class:`~gateway.errors.NotFoundError`."""
        path = self.path(segment)
        with self.pin(segment):
            if segment.state is SegmentState.GROWING:
                yield growing_file(path, segment)
            else:
                yield await asyncio.to_thread(whole_file, path)

    def path(self, segment: Segment) -> Path:
        """The path of a segment's file."""
        return segment_path(self.data_dir, segment.camera_id, segment.name)

    def pin(self, segment: Segment) -> AbstractContextManager[None]:
        """Keep a segment's file while it is being read."""
        return self._archive.pin(segment)

    async def thumbnail(self, camera_id: str, name: str) -> CompositeFile:
        """The JPEG of a segment's first frame, made at the first request.

        Raises :class:`~gateway.errors.NotFoundError` or :class:`~gateway.errors.StorageError`.
        """
        segment, fragments = await self.find(camera_id, name)
        with self.pin(segment):
            path = await self._decode(make_thumbnail, self.data_dir, segment, fragments)
            return await asyncio.to_thread(whole_file, path)

    @contextlib.asynccontextmanager
    async def clip(
        self, camera_id: str, start_90k: int, end_90k: int, rendition: RenditionName | None = None
    ) -> AsyncIterator[CompositeFile]:
        """The recording in [start, end) as one MP4, with its files pinned; see :mod:`hls.playback.clip`.

        Raises :class:`~gateway.errors.BadRequestError` for a span that is too long, and
        :class:`~gateway.errors.NotFoundError` if nothing of it is recorded.
        """
        if end_90k - start_90k > CLIP_MAX_S * CLOCK_RATE:
            raise BadRequestError(f"a clip lasts {CLIP_MAX_S // 60} minutes at most: ask for several")
        with self._limited("clips", CLIPS_MAX), contextlib.ExitStack() as pins:
            recordings = await self._best_span(camera_id, start_90k, end_90k, rendition)
            for segment, _ in recordings:
                pins.enter_context(self.pin(segment))
            yield await self._decode(make_clip, self.data_dir, recordings, start_90k, end_90k)

    async def find_from(self, camera_id: str, time_90k: int, width: int | None) -> SegmentWithFragments | None:
        """The segment that contains a time, or else the next one; of which stream says rule 4."""
        found: list[tuple[bool, Segment]] = []
        for name in RenditionName:
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
            segment = then[0]
        elif found:
            segment = min((segment for _, segment in found), key=lambda each: each.start_90k)
        else:
            return None
        return await self.find(camera_id, segment.name)

    async def replay_jpeg(
        self, camera_id: str, at_90k: int, frame_rate: float, width: int | None
    ) -> AsyncGenerator[JpegFrame, None]:
        """The recording as JPEG in real time from a time on, across segment borders, continued with live frames.

        ``width`` is in pixels, ``None`` keeps the camera's. The caller holds the camera, so that there is a live edge.
        The replay of a removed camera ends with its recording. Close the generator after use. Raises
        :class:`~gateway.errors.NotFoundError` before the first frame if nothing is recorded from that time on.
        """
        camera = self._service.cameras.get(camera_id)

        def live_edge_90k() -> int | None:
            return camera.hub.newest.captured_at_90k if camera is not None and camera.hub.newest is not None else None

        replay = replay_jpeg(self, self._decoders, self._clock, camera_id, at_90k, frame_rate, width, live_edge_90k)
        last: JpegFrame | None = None
        async with contextlib.aclosing(replay):
            async for frame in replay:
                yield frame
                last = frame
        if camera is None or last is None:
            return
        # Of no kind: the caller's hold counts as the viewer.
        reader = PictureReader(camera, "", frame_rate, width)
        try:
            sequence = last.sequence
            async for frame in reader:
                if frame.captured_at_90k > last.captured_at_90k:
                    sequence += 1
                    yield replace(frame, sequence=sequence)
        finally:
            reader.close()

    async def snapshot(self, camera_id: str, time_90k: int, width: int | None) -> JpegFrame:
        """The recorded frame of a time: the first one that is not earlier.

        Raises :class:`~gateway.errors.NotFoundError` if nothing was recorded then.
        """
        await self.at(camera_id, time_90k)
        with self._limited("pictures", DECODES_WAITING_MAX):
            frames = replay_jpeg(
                self, self._decoders, self._clock, camera_id, time_90k, SNAPSHOT_FRAME_RATE, width, lambda: None
            )
            async with contextlib.aclosing(frames):
                async for frame in frames:
                    return frame
        raise NotFoundError(f"camera {camera_id} has recorded no picture of that time yet")

    async def _decode(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a decoding function in one of few threads. Raises ``UnavailableError`` if too many wait."""
        with self._limited("pictures", DECODES_WAITING_MAX):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._decoders, lambda: function(*args, **kwargs))

    @contextlib.contextmanager
    def _limited(self, kind: str, limit: int) -> Iterator[None]:
        """Count what is open of a kind. Raises ``UnavailableError`` if that is the limit already."""
        if self._open[kind] >= limit:
            self.refused[kind] += 1
            raise UnavailableError(f"too many requests for {kind} of the archive at once", retry_after_s=2)
        self._open[kind] += 1
        try:
            yield
        finally:
            self._open[kind] -= 1

    async def _best_span(
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
