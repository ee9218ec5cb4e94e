"""ArchiveReader: what a request reads from the archive: playlists, files, clips, thumbnails and replays.

Rules:

1. The event loop never waits for the disk or the database: worker threads do.
2. Pages, playlists, clips and the number of decoding threads are limited.
3. Retention does not delete a file while it is being read.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock
from gateway.errors import BadRequestError, NotFoundError, UnavailableError
from gateway.jpeg.reader import JpegFrame
from gateway.picture_reader import PictureReader
from gateway.service import CaptureService
from hls.archive.fragment import Fragment
from hls.archive.hls_segments import HlsSegment, hls_segments
from hls.archive.segment import Segment, SegmentState, SegmentWithFragments, segment_path
from hls.archive.segment_files import read_init
from hls.archive.service import Archive
from hls.mp4.init_segment import init_id as id_of_init
from hls.mp4.init_segment import shared_init, video_init
from hls.mp4.silence import Silence
from hls.playback import dvr
from hls.playback.clip import CLIP_MAX_S, Span, make_clip
from hls.playback.composite_file import CompositeFile, Slice, growing_file, segment_file, whole_file
from hls.playback.keyframes import KeyframePlaylists, keyframe_fragment
from hls.playback.playlists import PlaylistRequest, Playlists
from hls.playback.replay import make_thumbnail, replay_jpeg
from hls.playback.segment_finder import SegmentFinder

P = ParamSpec("P")
R = TypeVar("R")

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


class ArchiveReader:
    """See the module. Lives on the event loop."""

    def __init__(self, archive: Archive, service: CaptureService, clock: Clock = SYSTEM_CLOCK) -> None:
        self.data_dir = archive.data_dir
        self._files = archive.files
        self.segments = SegmentFinder(archive)
        self._archive = archive
        self._index = archive.index
        self._service = service
        self._clock = clock
        self._decoders = ThreadPoolExecutor(DECODER_THREADS, thread_name_prefix="archive-decode")
        self._playlists = Playlists(archive, clock)
        self._keyframes = KeyframePlaylists(archive, clock)
        self._open: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        """Requests refused because too many were open, by kind: one of :data:`KINDS`."""

    def close(self) -> None:
        """Stop the threads. May be called twice."""
        self._decoders.shutdown(wait=False, cancel_futures=True)

    async def playlist(self, request: PlaylistRequest, base: str) -> str:
        """The recording as an HLS playlist: :meth:`hls.playback.playlists.Playlists.playlist`."""
        with self._limited("playlists", PLAYLISTS_MAX):
            return await self._playlists.playlist(request, base)

    async def iframes(
        self,
        camera_id: str,
        start_90k: int | None,
        end_90k: int | None,
        interval_90k: int,
        rendition: RenditionName | None,
        prefer: RenditionName,
        base: str,
    ) -> str:
        """An I-frame playlist: :meth:`hls.playback.keyframes.KeyframePlaylists.playlist`."""
        with self._limited("playlists", PLAYLISTS_MAX):
            return await self._keyframes.playlist(camera_id, start_90k, end_90k, interval_90k, rendition, prefer, base)

    async def keyframe(self, whole: SegmentWithFragments, offset: int, lasts_90k: int) -> CompositeFile:
        """A keyframe as media of its own: :func:`hls.playback.keyframes.keyframe_fragment`."""
        segment, fragments = whole
        with self.segments.pin(segment):
            data = await self._read(keyframe_fragment, self._files, segment, fragments, offset, lasts_90k)
        return CompositeFile(data, [], f'"{segment.name}-{offset:x}-{lasts_90k:x}"')

    async def byte_range(
        self, segment: Segment, fragments: Sequence[Fragment], start_90k: int, end_90k: int | None
    ) -> tuple[int, int] | None:
        """The bytes [from, to) of a file that a playlist of [start, end) refers to; ``None`` if it refers to none."""
        window = dvr.byte_range(segment, hls_segments(fragments, is_complete=True), start_90k, end_90k)
        if end_90k is None and window != (0, segment.size):
            # An open playlist has the order of recording: after the clock was set back, dates before its start too.
            recorded = await self._playlists.recorded_from(segment.camera_id, segment.rendition, start_90k)
            if recorded and segment.sequence >= recorded[0].first:
                return 0, segment.size
        return window

    async def init_segment(
        self,
        camera_id: str,
        init_id: str,
        start_90k: int | None = None,
        end_90k: int | None = None,
        silence: Silence | None = None,
        *,
        video_only: bool = False,
    ) -> bytes:
        """The init segment of all files with the same tracks, named by :attr:`Segment.init_id`.

        With a span, only if a file that overlaps it has that one. With ``silence``, it has a track of it, if it has
        none of sound; with ``video_only`` none but the picture's. Raises :class:`~gateway.errors.NotFoundError`.
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
        if segment is None and start_90k is not None and end_90k is None:
            for name in RenditionName:
                recorded = await self._playlists.recorded_from(camera_id, name, start_90k)
                segment = segment or next((p.segment for p in recorded if p.segment.init_id == init_id), None)
        if segment is None:
            raise NotFoundError(f"camera {camera_id} has no recording with init segment {init_id[:16]!r}")
        data = await self._read(read_init, self._files.open, self.path(segment), segment)
        if segment.state is SegmentState.GROWING and id_of_init(data) != init_id:
            raise NotFoundError(f"the recording has another init segment since its sound began: not {init_id[:16]!r}")
        shared = shared_init(data)
        if video_only:
            return video_init(shared)
        return silence.init(shared) if silence is not None and segment.audio_codec is None else shared

    @contextlib.asynccontextmanager
    async def file(self, segment: Segment) -> AsyncIterator[CompositeFile]:
        """A segment's file, pinned: what is on disk of it. Raises :class:`~gateway.errors.NotFoundError`."""
        with self.segments.pin(segment):
            if segment.state is SegmentState.GROWING:
                yield growing_file(self.path(segment), segment, self._files.open)
            else:
                yield await self._read(segment_file, self._files, segment)

    @contextlib.asynccontextmanager
    async def part_with_silence(
        self, whole: SegmentWithFragments, number: int, silence: Silence
    ) -> AsyncIterator[tuple[CompositeFile, HlsSegment]]:
        """An HLS segment of a file without sound, with silence before it; ``number`` is that within its file.

        Raises :class:`~gateway.errors.NotFoundError`.
        """
        segment, fragments = whole
        parts = hls_segments(fragments, is_complete=segment.end_reason is not None)
        if segment.audio_codec is not None or not 0 <= number < len(parts):
            raise NotFoundError(f"{segment.name} has no HLS segment {number} without sound")
        part = parts[number]
        head = silence.fragment(part.start_90k, part.end_90k)
        path = self.path(segment)
        with self.segments.pin(segment):
            if segment.state is not SegmentState.GROWING:
                await self._read(segment_file, self._files, segment)  # raises where it is gone
            etag = f'"{segment.name}-{part.offset:x}-{part.size:x}-{silence}"'
            data = [Slice(path, part.offset, part.size)]
            yield CompositeFile(head, data, etag, open_at=self._files.open, executor=self._files.executor), part

    def path(self, segment: Segment) -> Path:
        """The path of a segment's file."""
        return segment_path(self.data_dir, segment.camera_id, segment.name)

    async def thumbnail(self, camera_id: str, name: str) -> CompositeFile:
        """The JPEG of a segment's first frame, made at the first request.

        Raises :class:`~gateway.errors.NotFoundError` or :class:`~gateway.errors.StorageError`.
        """
        segment, fragments = await self.segments.find(camera_id, name)
        with self.segments.pin(segment):
            path = await self._decode(make_thumbnail, self._files, segment, fragments)
            return await asyncio.to_thread(whole_file, path)

    @contextlib.asynccontextmanager
    async def clip(
        self,
        camera_id: str,
        start_90k: int,
        end_90k: int,
        rendition: RenditionName | None = None,
        most_of: Span | None = None,
    ) -> AsyncIterator[CompositeFile]:
        """The recording in [start, end) as one MP4, with its files pinned; see :mod:`hls.playback.clip`.

        Raises :class:`~gateway.errors.BadRequestError` for a span that is too long,
        :class:`~gateway.errors.NotFoundError` if nothing of it is recorded, and, without ``most_of``,
        :class:`~gateway.errors.ConflictError` if the codec or the size of the picture changes in it.
        """
        if end_90k - start_90k > CLIP_MAX_S * CLOCK_RATE:
            raise BadRequestError(f"a clip lasts {CLIP_MAX_S // 60} minutes at most: ask for several").because(
                "clip_too_long", minutes=CLIP_MAX_S // 60
            )
        with self.limited_clip(), contextlib.ExitStack() as pins:
            recordings = await self.segments.best_span(camera_id, start_90k, end_90k, rendition)
            for segment, _ in recordings:
                pins.enter_context(self.segments.pin(segment))
            yield await self._decode(make_clip, self._files, recordings, start_90k, end_90k, most_of)

    def limited_clip(self) -> contextlib.AbstractContextManager[None]:
        """Count a clip that is being made or sent. Raises ``UnavailableError`` beyond :data:`CLIPS_MAX`."""
        return self._limited("clips", CLIPS_MAX)

    async def replay_jpeg(
        self, camera_id: str, at_90k: int, frame_rate: float, width: int | None, rendition: RenditionName | None = None
    ) -> AsyncGenerator[JpegFrame, None]:
        """The recording as JPEG in real time from a time on, across segment borders, continued with live frames.

        ``width`` is in pixels, ``None`` keeps the camera's. With ``rendition``, that stream alone. The caller holds the
        camera, so that there is a live edge. The replay of a removed camera ends with its recording. Close the
        generator after use. Raises
        :class:`~gateway.errors.NotFoundError` before the first frame if nothing is recorded from that time on.
        """
        camera = self._service.cameras.get(camera_id)

        def live_edge_90k() -> int | None:
            return camera.hub.newest.captured_at_90k if camera is not None and camera.hub.newest is not None else None

        replay = replay_jpeg(
            self.segments,
            self._decoders,
            self._clock,
            camera_id,
            at_90k,
            frame_rate,
            width,
            live_edge_90k,
            rendition=rendition,
        )
        last: JpegFrame | None = None
        async with contextlib.aclosing(replay):
            async for frame in replay:
                yield frame
                last = frame
        if camera is None or last is None:
            return
        # Of no kind: the caller's hold counts as the viewer.
        reader = PictureReader(camera, "", frame_rate, width, preferred=rendition)
        try:
            sequence = last.sequence
            async for frame in reader:
                if frame.captured_at_90k > last.captured_at_90k:
                    sequence += 1
                    yield replace(frame, sequence=sequence)
        finally:
            reader.close()

    async def snapshot(
        self,
        camera_id: str,
        time_90k: int,
        width: int | None,
        quality: int | None = None,
        rendition: RenditionName | None = None,
    ) -> JpegFrame:
        """The recorded frame of a time: the first one that is not earlier.

        ``quality`` is on libjpeg's scale; ``None`` is the usual. With ``rendition``, of that stream alone. Raises
        :class:`~gateway.errors.NotFoundError` if nothing was recorded then.
        """
        await self.segments.at(camera_id, time_90k, rendition)
        with self._limited("pictures", DECODES_WAITING_MAX):
            frames = replay_jpeg(
                self.segments,
                self._decoders,
                self._clock,
                camera_id,
                time_90k,
                SNAPSHOT_FRAME_RATE,
                width,
                lambda: None,
                quality,
                rendition,
            )
            async with contextlib.aclosing(frames):
                async for frame in frames:
                    return frame
        raise NotFoundError(f"camera {camera_id} has recorded no picture of that time yet")

    async def _read(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function that reads files."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._files.executor, lambda: function(*args, **kwargs))

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
            raise UnavailableError(f"too many requests for {kind} of the archive at once", retry_after_s=2).because(
                "too_many_readers"
            )
        self._open[kind] += 1
        try:
            yield
        finally:
            self._open[kind] -= 1
