"""Clips: an ordinary MP4 of any span of a recording, composed of ranges of its files without decoding or copying.

Theory of operation. The samples of the span are read from the fragments, and an index (:mod:`hls.mp4.moov`) is
written for them in memory. The media data are slices of the recordings, in order. So a clip has a known length,
supports byte ranges and seeking, and needs no temporary file.

Rules:

1. A clip shows exactly the frames whose time is in [start, end). If the start is between keyframes, the clip contains
   the frames since the last keyframe, and an edit list skips them.
2. Gaps are left out: after a gap, the next frame follows the last one. Audio stays in sync with its video.
3. A change of codec parameters within a clip is another sample description. A clip has one codec and one size of the
   picture: an MP4 may have several (ISO/IEC 14496-12 §8.5.2), but hardly any player goes on with another codec.
4. Blocking, and bounded by :data:`CLIP_MAX_S`.
"""

import contextlib
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.errors import ConflictError, NotFoundError, StorageError
from hls.archive.disk_error import read_error
from hls.archive.fragment import Fragment
from hls.archive.segment import Segment
from hls.archive.segment_files import OpenFile, SegmentFiles, read_all, read_init
from hls.mp4.init_segment import InitTrack, read_tracks
from hls.mp4.moof import NON_SYNC, VIDEO_TRACK_ID, Run, parse_runs
from hls.mp4.moov import TrackTable, chapter_list, header
from hls.playback.composite_file import CompositeFile, Slice
from hls.playback.replay import fragments_from

CLIP_MAX_S = 2 * 3600
"""200,000 frames with audio: 5 MB of index, and a second of work."""

LEAST_90K = CLOCK_RATE // 500
"""What is shown for less is left out beside another codec or size: the times in an error have milliseconds."""

Span = tuple[int, int]
"""Wall clock in 90 kHz ticks: from, to."""

_MOOF_READ_BYTES = 4096
"""A moof of half a second has about 1 kB, so one read contains it."""


@dataclass(frozen=True, slots=True)
class ClipSpan:
    """From ``offset_90k`` of a clip on, it shows the wall clock from ``start_90k`` on."""

    offset_90k: int
    start_90k: int


class ClipFiles(Protocol):
    """What opens the files of a clip: :class:`~hls.archive.segment_files.SegmentFiles`, or those of several nodes."""

    @property
    def executor(self) -> Executor | None: ...

    def open(self, path: Path) -> OpenFile: ...


@dataclass(frozen=True, slots=True)
class ClipPiece:
    """What a clip shows of one segment: the wall clock [``start_90k``, ``end_90k``). ``path`` is that of its file.

    ``origin`` tells it from a segment of the same name elsewhere. A piece that is not the first of its clip begins with
    a keyframe.
    """

    segment: Segment
    fragments: Sequence[Fragment]
    path: Path
    start_90k: int
    end_90k: int
    origin: str = ""


def picture_format(segment: Segment) -> tuple[str, int, int]:
    """What all pictures of a clip have: codec, width and height."""
    return segment.codec, segment.width, segment.height


def make_clip(
    files: SegmentFiles,
    recordings: Sequence[tuple[Segment, Sequence[Fragment]]],
    start_90k: int,
    end_90k: int,
    most_of: Span | None = None,
) -> CompositeFile:
    """The clip [start, end) of segments in order. Raises as :func:`join_clip`, and has its ``most_of``."""
    return make_clip_with_spans(files, recordings, start_90k, end_90k, most_of=most_of)[0]


def make_clip_with_spans(
    files: SegmentFiles,
    recordings: Sequence[tuple[Segment, Sequence[Fragment]]],
    start_90k: int,
    end_90k: int,
    marks: Sequence[tuple[int, str]] = (),
    most_of: Span | None = None,
) -> tuple[CompositeFile, list[ClipSpan]]:
    """As :func:`make_clip`, and the wall clock of its parts. ``marks``: wall clock and title of its chapters."""
    pieces = [
        ClipPiece(segment, fragments, segment.path(files.data_dir), start_90k, end_90k)
        for segment, fragments in recordings
    ]
    return join_clip(files, pieces, f"{start_90k}-{end_90k}-{marks}", marks, most_of)


def join_clip(
    files: ClipFiles,
    pieces: Sequence[ClipPiece],
    name: str,
    marks: Sequence[tuple[int, str]] = (),
    most_of: Span | None = None,
) -> tuple[CompositeFile, list[ClipSpan]]:
    """The clip of pieces in order, and the wall clock of its parts. ``name``: what was asked for.

    If their codec or the size of their pictures changes, the clip is the part that has most of ``most_of``; without
    that, :class:`~gateway.errors.ConflictError` with the times of the changes. Raises ``NotFoundError`` if they have no
    frame.
    """
    pieces = _of_one_format(pieces, most_of)
    builder = _Builder(files)
    # The format of what is composed, so that no download is continued with another one.
    digest = hashlib.sha256(f"2-{name}".encode())
    for piece in pieces:
        segment = piece.segment
        from_90k = max(0, piece.start_90k - segment.start_90k)
        to_90k = piece.end_90k - segment.start_90k
        chosen = [fragment for fragment in fragments_from(piece.fragments, from_90k) if fragment.start_90k < to_90k]
        if not chosen or chosen[-1].end_90k <= from_90k or to_90k <= 0:
            continue
        last = chosen[-1]
        digest.update(f"{piece.origin}{segment.name}-{chosen[0].offset}-{last.offset + last.size}".encode())
        builder.add(piece.path, segment, chosen, from_90k, to_90k)
    return builder.build(digest.hexdigest()[:32], marks), builder.spans


def _of_one_format(pieces: Sequence[ClipPiece], most_of: Span | None) -> Sequence[ClipPiece]:
    """Rule 3."""
    parts = [list(part) for _, part in itertools.groupby(pieces, lambda each: picture_format(each.segment))]
    if len(parts) < 2:
        return pieces

    def shown_90k(part: Sequence[ClipPiece], span: Span) -> int:
        return sum(max(0, min(span[1], to_90k) - max(span[0], from_90k)) for from_90k, to_90k in map(_shown, part))

    whole = min(each.start_90k for each in pieces), max(each.end_90k for each in pieces)
    parts = [part for part in parts if shown_90k(part, whole) >= LEAST_90K]
    formats = [picture_format(part[0].segment) for part in parts]
    changes = [
        part for part, of_part, before in zip(parts[1:], formats[1:], formats, strict=False) if of_part != before
    ]
    if not changes:
        return [piece for part in parts for piece in part]
    if most_of is not None:
        return max(parts, key=lambda part: (shown_90k(part, most_of), shown_90k(part, whole)))
    times = ", ".join(to_rfc3339(_shown(part[0])[0]) for part in changes)
    raise ConflictError(
        f"the camera changed its codec or the size of its picture at {times}, and hardly any player shows both from one"
        " file: ask for a clip that ends there and one that begins there, or make an export, which has a file for each"
    ).because("clip_format_changes", at=times)


def _shown(piece: ClipPiece) -> Span:
    return max(piece.start_90k, piece.segment.start_90k), min(piece.end_90k, piece.segment.end_90k)


class _Builder:
    def __init__(self, files: ClipFiles) -> None:
        self.spans: list[ClipSpan] = []
        self._files = files
        self._video = TrackTable(CLOCK_RATE, is_video=True)
        self._audio: TrackTable | None = None
        self._slices: list[Slice] = []
        self._bytes = 0
        self._shown_to_90k = 0
        self._base_90k = 0
        """Where the next file's frames begin in the clip's media time, skipped frames included."""
        self._audio_end = 0
        """Media time of the end of the audio so far, in its time scale."""

    def add(self, path: Path, segment: Segment, fragments: Sequence[Fragment], from_90k: int, to_90k: int) -> None:
        """Add the video and audio of one file. Raises ``NotFoundError`` or ``StorageError``."""
        init = read_tracks(read_init(self._files.open, path, segment))
        if VIDEO_TRACK_ID not in init:
            raise StorageError(f"{path.name} has no video track")
        first_dts: int | None = None
        try:
            with contextlib.closing(self._files.open(path)) as file:
                runs = [(fragment.offset, run) for fragment in fragments for run in _runs(file, fragment)]
        except OSError as error:
            raise read_error(path, error) from None
        frames = 0
        end_dts = 0
        last = self._last_shown(runs, to_90k)
        for offset, run in runs:
            if run.track_id != VIDEO_TRACK_ID:
                continue
            if first_dts is None:
                first_dts = run.decode_time
                shown_from = max(from_90k, min((run.decode_time + sample[3] for sample in run.samples), default=0))
            samples = run.samples[: max(0, last + 1 - frames)]
            frames += len(samples)
            if samples:
                end_dts = run.decode_time + sum(sample[0] for sample in samples)
                self._take_video(path, offset, run, samples, self._video.description_index(init[VIDEO_TRACK_ID].entry))
        if first_dts is None or last < 0:
            return
        if self._base_90k == 0:
            self._video.skip = max(0, shown_from - first_dts)
        self._video.width = max(self._video.width, segment.width)
        self._video.height = max(self._video.height, segment.height)
        first_shown = shown_from if self._base_90k == 0 else first_dts
        offset_90k = max(0, self._base_90k + first_shown - first_dts - self._video.skip)
        self.spans.append(ClipSpan(offset_90k, segment.start_90k + first_shown))
        self._add_audio(path, init, runs, first_dts, max(first_dts, from_90k), min(end_dts, to_90k))
        self._base_90k += end_dts - first_dts
        self._shown_to_90k = self._base_90k - max(0, end_dts - to_90k)

    def _chapters(self, marks: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
        """The marks in the clip's time. One in a gap is at its end."""
        found = []
        for wall_90k, title in marks:
            before = [span for span in self.spans if span.start_90k <= wall_90k]
            after = [span.offset_90k for span in self.spans if span.start_90k > wall_90k]
            offset_90k = before[-1].offset_90k + wall_90k - before[-1].start_90k if before else 0
            found.append((min([offset_90k, *after]), title))
        return sorted(found)

    def build(self, etag: str, marks: Sequence[tuple[int, str]] = ()) -> CompositeFile:
        """The clip. Raises :class:`~gateway.errors.NotFoundError` if nothing was added."""
        if not self._video.sizes:
            raise NotFoundError("nothing is recorded in that time").because("nothing_recorded")
        shown_90k = self._shown_to_90k - self._video.skip
        self._video.shown_90k = shown_90k
        tracks = [self._video]
        audio = self._audio
        if audio is not None and audio.sizes:
            audio.shown_90k = max(0, shown_90k - audio.delay_90k)
            tracks.append(audio)
        created_s = self.spans[0].start_90k // CLOCK_RATE
        head = header(tracks, self._bytes, chapter_list(self._chapters(marks)), created_s=created_s)
        return CompositeFile(
            head, self._slices, f'"{etag}"', shown_90k, open_at=self._files.open, executor=self._files.executor
        )

    @staticmethod
    def _last_shown(runs: Sequence[tuple[int, Run]], to_90k: int) -> int:
        """The last frame, in decoding order, that is shown before ``to_90k``; -1 if there is none. All frames before
        it are needed."""
        last, number = -1, -1
        for _, run in runs:
            if run.track_id != VIDEO_TRACK_ID:
                continue
            dts = run.decode_time
            for duration, _, _, offset in run.samples:
                number += 1
                if dts + offset < to_90k:
                    last = number
                dts += duration
        return last

    def _take_video(
        self, path: Path, offset: int, run: Run, samples: Sequence[tuple[int, int, int, int]], description: int
    ) -> None:
        track = self._video
        for duration, size, flags, composition in samples:
            track.durations.append(duration)
            track.sizes.append(size)
            track.composition.append(composition)
            if not flags & NON_SYNC:
                track.sync.append(len(track.sizes))
        self._take(track, path, offset + run.data_offset, samples, description)

    def _add_audio(
        self,
        path: Path,
        init: Mapping[int, InitTrack],
        runs: Sequence[tuple[int, Run]],
        first_dts: int,
        from_90k: int,
        to_90k: int,
    ) -> None:
        """Add the audio between two media times of a file, in sync with its video in the clip."""
        audio_ids = [track_id for track_id in init if track_id != VIDEO_TRACK_ID]
        if not audio_ids:
            return
        track_id = audio_ids[0]
        scale = init[track_id].timescale
        if self._audio is None:
            self._audio = TrackTable(scale, is_video=False)
        track = self._audio
        description = track.description_index(init[track_id].entry)
        for offset, run in runs:
            if run.track_id != track_id:
                continue
            time = run.decode_time
            data_offset = offset + run.data_offset
            taken: list[tuple[int, int, int, int]] = []
            taken_from = data_offset
            for sample in run.samples:
                time_90k = time * CLOCK_RATE // scale
                if from_90k <= time_90k < to_90k:
                    at = (self._base_90k + time_90k - first_dts) * track.timescale // CLOCK_RATE
                    self._place_audio(track, at, sample[0] * track.timescale // scale)
                    if not taken:
                        taken_from = data_offset
                    taken.append(sample)
                    track.sizes.append(sample[1])
                    track.composition.append(0)
                data_offset += sample[1]
                time += sample[0]
            if taken:
                self._take(track, path, taken_from, taken, description)

    def _place_audio(self, track: TrackTable, at: int, duration: int) -> None:
        """Append a sample's duration, and extend the one before, so that the sample begins at ``at``."""
        if not track.durations:
            skipped = self._video.skip * track.timescale // CLOCK_RATE
            track.delay_90k = max(0, at - skipped) * CLOCK_RATE // track.timescale
            self._audio_end = at
        else:
            before = track.durations.last
            stretched = max(1, before + at - self._audio_end)
            self._audio_end += stretched - before
            track.durations.replace_last(stretched)
        track.durations.append(duration)
        self._audio_end += duration

    def _take(
        self, track: TrackTable, path: Path, offset: int, samples: Sequence[tuple[int, int, int, int]], description: int
    ) -> None:
        size = sum(sample[1] for sample in samples)
        track.add_chunk(self._bytes, len(samples), description)
        before = self._slices[-1] if self._slices else None
        if before is not None and before.path == path and before.offset + before.size == offset:
            self._slices[-1] = Slice(path, before.offset, before.size + size)
        else:
            self._slices.append(Slice(path, offset, size))
        self._bytes += size


def _runs(file: OpenFile, fragment: Fragment) -> list[Run]:
    data = read_all(file, min(_MOOF_READ_BYTES, fragment.size), fragment.offset)
    size = int.from_bytes(data[:4], "big")
    if size > len(data):
        data = read_all(file, min(size, fragment.size), fragment.offset)
    return parse_runs(data[:size])
