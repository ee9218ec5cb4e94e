"""SegmentWriter: write one archive segment, from its first keyframe to its final index.

Theory of operation. The media data of parts go to the disk as LL-HLS serves them, one part or a few of them as a
fragment, in one write, behind a ``moof`` with the file's own times. The fragment is synced before it is reported. The
file is a fragmented MP4 while it grows, and becomes an ordinary one when :meth:`SegmentWriter.close` writes its index
behind the fragments; see :mod:`hls.archive.scan` for the two shapes.

Rules:

1. Blocking; used by one worker thread at a time.
2. A fragment is in :attr:`SegmentWriter.fragments` only once its bytes are on the disk, as far as ``ARCHIVE_FSYNC``
   says.
3. Media time begins at 0 with the first video frame. Audio from before that is dropped. A frame has the decoding time
   of its packet, also where a part of the live playlist had to begin earlier.
4. A file is never overwritten: if the name exists, there is no writer.
5. After a failure the file ends with its last complete fragment, and the writer cannot be used again.
6. A sample lasts until the next one of its track. The last one of a fragment is written with its own duration if the
   next one is not known yet: the next fragment has its own start, and the final index says the right duration.
7. There is no edit list, so both tracks begin at 0. Where audio comes later than video, silence comes before it, and
   less than a frame of that is a longer first sample. Sound that is heard for the first time within
   :data:`SOUND_BEGINS_MAX_S` of a file is a track of it: the init segment has room to say so. Silence of all the time
   before is in the fragment in which it begins, so that players find both tracks from the beginning on.
8. A file that somebody removes or moves while it grows is a failure, noticed within :data:`PLACE_CHECK_S`: what is
   written then is in no folder. Some file systems show a file only when it is closed; there it goes unnoticed.
9. The first frame is marked as a keyframe, also where the camera sends none: players need a sync sample to begin with.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prometheus_client import Histogram

from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock
from gateway.errors import StorageError
from gateway.media import StreamInfo
from hls.archive.activity import Activity, ActivityMeter
from hls.archive.baseline import NOTHING_LEARNED, Baseline
from hls.archive.data_dir import make_private_dir
from hls.archive.durable import sync_data, sync_folder
from hls.archive.file_samples import FileSamples
from hls.archive.fragment import Fragment, add_fragment
from hls.archive.identity import identity, identity_tag, sound_identity
from hls.archive.positioned_write import write_at, write_pieces
from hls.archive.segment import EndReason, Segment, SegmentState
from hls.mp4.boxes import find_box
from hls.mp4.fragments import AUDIO_TRACK_ID, VIDEO_TRACK_ID, FragmentMuxer, FragmentTrack, fragment_pieces
from hls.mp4.init_segment import closed_head, comment_tag, init_id, read_tracks, recording_init
from hls.mp4.moof import FragmentBoxes
from hls.mp4.moov import TrackTable, moov
from hls.parts.fragment_borders import FragmentBorders
from hls.parts.part import PartSamples
from hls.settings import FsyncMode

FSYNC_INTERVAL_S = 5.0
"""``ARCHIVE_FSYNC=interval``: the longest loss at a power cut, for a fraction of the disk's work."""

START_TOLERANCE_90K = CLOCK_RATE // 4
"""What a segment's start may be late by: the jitter of a network does not move it."""

PLACE_CHECK_S = 2.0
"""How often the file is looked for in its folder, in seconds."""

SOUND_BEGINS_MAX_S = 600
"""Of later sound, the silence before it would make a fragment too large."""


class SegmentWriter:
    """See the module. ``segment`` has name, start and numbers; ``sync_s`` observes the seconds that each sync took;
    ``baseline`` is that of the activity of the file before.

    Raises ``FileExistsError`` if the name is taken, and PyAV's errors if MP4 cannot have the stream.
    """

    def __init__(
        self,
        path: Path,
        segment: Segment,
        info: StreamInfo,
        fsync: FsyncMode,
        sync_s: Histogram | None = None,
        clock: Clock = SYSTEM_CLOCK,
        baseline: Baseline = NOTHING_LEARNED,
    ) -> None:
        self.path = path
        self.info = info
        self.fragments: list[Fragment] = []
        self._sync_s = sync_s
        self._clock = clock
        self._fsync = fsync
        self._synced_at_s = self._clock.monotonic()
        self._baseline = baseline = baseline.rounded()
        self._meter = ActivityMeter(baseline)
        self._activity: Activity | None = None
        """Of the whole file, once it has ended."""
        self._tag = identity_tag(identity(segment, baseline))
        init = recording_init(FragmentMuxer(info).init, self._tag)
        assert init is not None
        self._init = init
        self._writes_init = True
        """Whether the file does not have it yet."""
        moov_box = find_box(init, b"moov")
        assert moov_box is not None
        head = init[: moov_box.offset]
        self._segment = replace(segment, head=head, init_size=len(init), init_id=init_id(init))
        self._tables = _tables(info, init)
        self._borders = FragmentBorders()
        self._parts: list[PartSamples] = []
        """What is not on disk yet."""
        self._samples = FileSamples()
        self._was_in_place = False
        self._place_checked_at_s = self._synced_at_s
        self._sequence = 0
        self._frames = 0
        """On disk."""
        self._size = 0
        """Bytes on disk."""
        make_private_dir(path.parent)
        self._descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o640)
        try:
            if fsync is not FsyncMode.NEVER:
                sync_folder(path.parent)
        except BaseException:
            os.close(self._descriptor)
            path.unlink(missing_ok=True)
            raise

    @property
    def audio_packets_dropped(self) -> int:
        """Audio frames from before the first frame, or out of order."""
        return self._samples.audio_dropped

    @property
    def segment(self) -> Segment:
        """The segment as far as it is on disk."""
        return replace(
            self._segment,
            duration_90k=self.fragments[-1].end_90k if self.fragments else 0,
            size=self._size,
            frames=self._frames,
            longest_gap_90k=self._samples.longest_gap_90k,
            activity=self._meter.activity(),
        )

    @property
    def start(self) -> Segment:
        """The segment at its beginning: name, start and run."""
        return self._segment

    def begins_by(self, start_90k: int) -> None:
        """The segment began at this wall clock at the latest. Its name stays; the file says so when it is closed."""
        if start_90k < self._segment.start_90k - START_TOLERANCE_90K:
            self._segment = replace(self._segment, start_90k=start_90k)

    def take_sound(self, part: PartSamples) -> bool:
        """Have the sound that begins with ``part``, which is to be written next, in the file (rule 7). False if it is
        no beginning of sound, or too late."""
        audio = part.info.audio
        if self.info.audio is not None or audio is None or part.info != replace(self.info, audio=audio):
            return False
        if part.dts_90k - self._samples.base_dts_90k > SOUND_BEGINS_MAX_S * CLOCK_RATE:
            return False
        init = recording_init(FragmentMuxer(part.info).init, self._tag, len(self._init))
        if init is None:
            return False
        self._write_fragment()
        self.info, self._init, self._writes_init = part.info, init, True
        self._tables[AUDIO_TRACK_ID] = _tables(part.info, init)[AUDIO_TRACK_ID]
        self._segment = replace(
            self._segment, init_id=init_id(init), audio_codec=audio.codec, audio_codec_string=audio.codec_string
        )
        return True

    def write(self, part: PartSamples) -> None:
        """Take the next part. Raises ``OSError``, and ``ValueError`` for video that MP4 cannot have."""
        self._samples.check(part)
        if part.is_keyframe:
            self._write_fragment()
        is_complete = self._borders.is_complete(part.duration_90k, is_keyframe=part.is_keyframe)
        self._parts.append(part)
        if is_complete:
            self._write_fragment()

    def close(self, reason: EndReason) -> Segment:
        """Write the index, sync, and return the finished segment. Raises ``OSError``."""
        self._write_fragment()
        if not self.fragments:
            return self.abandon()
        end = self._size
        head = closed_head(self._segment.head, end)
        # The index first, then the header that wraps the fragments: a crash in between leaves a valid file.
        activity = self._finished_activity()
        tag = comment_tag(identity_tag(identity(self._segment, self._baseline) | sound_identity(activity)))
        index = moov([table for table in self._tables.values() if table.sizes], 0, tag)
        write_at(self._descriptor, index, end)
        self._sync(force=True)
        write_at(self._descriptor, head, 0)
        self._sync(force=True)
        # Everything is written. The number is free even after an error (close(2)), and may be another file's by now.
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._segment = replace(self._segment, state=SegmentState.CLOSED, end_reason=reason)
        return replace(self.segment, size=end + len(index), activity=activity)

    def abandon(self) -> Segment:
        """Cut the file after its last complete fragment, as far as the disk permits. Never raises."""
        segment = replace(self.segment, activity=self._finished_activity())
        try:
            if segment.size:
                # A failed close may have written the header that needs the index which is cut off here.
                write_at(self._descriptor, segment.head, 0)
            os.ftruncate(self._descriptor, segment.size)
            os.fsync(self._descriptor)
        except OSError:
            pass  # the next start truncates the file
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
            if not self.fragments:
                self.path.unlink(missing_ok=True)
        return replace(segment, state=SegmentState.TRUNCATED, end_reason=EndReason.DISK_FAILED)

    def _finished_activity(self) -> Activity:
        if self._activity is None:
            self._activity = self._meter.finished()
        return self._activity

    def _write_fragment(self) -> None:
        """Write the collected parts to the disk, and then add them to :attr:`fragments`."""
        parts, self._parts = self._parts, []
        if not parts:
            return
        audio, audio_data = self._samples.audio(parts, self.info.audio)
        data = [each for part in parts for each in part.tracks[0].data]
        tracks = [FragmentTrack(VIDEO_TRACK_ID, self._samples.video(parts, is_first=not self._frames), data)]
        if audio:
            tracks.append(FragmentTrack(AUDIO_TRACK_ID, audio, audio_data))
        self._sequence += 1
        pieces = fragment_pieces(tracks, self._sequence)
        size = sum(map(len, pieces))
        offset = self._size or len(self._init)
        if self._size and self._writes_init:
            write_at(self._descriptor, self._init, 0)
        write_pieces(self._descriptor, pieces if self._size else [self._init, *pieces], self._size)
        self._writes_init = False
        self._sync()
        self._size = offset + size
        self._check_place()
        self._add_to_index(tracks)
        about = _summary(tracks)
        add_fragment(self.fragments, about, offset, size)
        self._frames += about.frames

    def _check_place(self) -> None:
        """Rule 8. Raises :class:`~gateway.errors.StorageError`."""
        now_s = self._clock.monotonic()
        if self._was_in_place and now_s - self._place_checked_at_s < PLACE_CHECK_S:
            return
        self._place_checked_at_s = now_s
        if self.is_in_place():
            self._was_in_place = True
        elif self._was_in_place:
            raise StorageError("its file was removed or moved while it was written; a new one begins")

    def is_in_place(self) -> bool:
        """Whether the file is in its folder, as far as is known."""
        try:
            os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            pass
        return True

    def _add_to_index(self, tracks: Sequence[FragmentTrack]) -> None:
        """Add the samples of a fragment, whose media data end where the file ends at present."""
        sizes = [list(map(len, track.data)) for track in tracks]
        offset = self._size - sum(map(sum, sizes))
        for track, track_sizes in zip(tracks, sizes, strict=True):
            table = self._tables[track.track_id]
            table.add_chunk(offset, len(track_sizes))
            for sample, size in zip(track.samples, track_sizes, strict=True):
                table.add_sample(sample.dts, sample.duration, size, sample.pts - sample.dts, sample.is_keyframe)
            offset += sum(track_sizes)
            if track.track_id == VIDEO_TRACK_ID:
                for sample, size in zip(track.samples, track_sizes, strict=True):
                    self._meter.add(sample.dts, size, sample.is_keyframe)
            elif self.info.audio is not None:
                for sample in track.samples:
                    self._meter.add_sound(sample.dts // self.info.audio.sample_rate_hz, sample.level)

    def _sync(self, *, force: bool = False) -> None:
        if self._fsync is FsyncMode.NEVER:
            return
        now_s = self._clock.monotonic()
        if force or self._fsync is FsyncMode.ALWAYS or now_s - self._synced_at_s >= FSYNC_INTERVAL_S:
            sync_data(self._descriptor)
            self._synced_at_s = now_s
            if self._sync_s is not None:
                self._sync_s.observe(self._clock.monotonic() - now_s)


def _tables(info: StreamInfo, init: bytes) -> dict[int, TrackTable]:
    """An empty table for each track of an init segment, by track id."""
    tables = {}
    for track_id, track in read_tracks(init).items():
        is_video = track_id == VIDEO_TRACK_ID
        width, height = (info.video.width, info.video.height) if is_video else (0, 0)
        tables[track_id] = table = TrackTable(track.timescale, is_video, width, height)
        table.description_index(track.entry)
    return tables


def _summary(tracks: Sequence[FragmentTrack]) -> FragmentBoxes:
    """What :func:`~hls.mp4.moof.parse_moof` finds in a fragment of these tracks."""
    if not tracks or tracks[0].track_id != VIDEO_TRACK_ID:
        return FragmentBoxes(0, 0, 0, False, 0)
    video = tracks[0].samples
    durations = [sample.duration for sample in video]
    return FragmentBoxes(video[0].dts, sum(durations), len(video), video[0].is_keyframe, max(durations))
