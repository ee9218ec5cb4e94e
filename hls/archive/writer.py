"""SegmentWriter: write one archive segment, from its first keyframe to its final index.

Theory of operation. Packets are collected up to the end of a fragment, which :mod:`hls.mp4.fragments` makes and which
goes to the disk in one write. It is synced before it is reported. The file is a fragmented MP4 while it grows, and
becomes an ordinary one when :meth:`SegmentWriter.close` writes its index behind the fragments; see
:mod:`hls.archive.scan` for the two shapes.

Rules:

1. Blocking; used by one worker thread at a time.
2. A fragment is in :attr:`SegmentWriter.fragments` only once its bytes are on the disk, as far as ``ARCHIVE_FSYNC``
   says.
3. Media time begins at 0 with the first video frame. Audio from before that is dropped.
4. A file is never overwritten: if the name exists, there is no writer.
5. After a failure the file ends with its last complete fragment, and the writer cannot be used again.
6. A sample lasts until the next one of its track. The last one of a fragment is written with its own duration if the
   next one is not known yet: the next fragment has its own start, and the final index says the right duration.
7. There is no edit list, so both tracks begin at 0. Where audio comes later than video, its first sample lasts longer.
"""

import contextlib
import errno
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prometheus_client import Histogram

from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock
from gateway.media import Packet, StreamInfo
from hls.archive.data_dir import make_private_dir
from hls.archive.fragment import Fragment, FragmentBorders, add_fragment
from hls.archive.segment import EndReason, Segment, SegmentState
from hls.mp4.audio import AAC_FRAME
from hls.mp4.boxes import find_box
from hls.mp4.fragments import VIDEO_TRACK_ID, FragmentMuxer, FragmentTrack, Sample, fragment
from hls.mp4.init_segment import closed_head, comment_tag, init_id, read_tracks, recording_init
from hls.mp4.moof import FragmentBoxes
from hls.mp4.moov import TrackTable, moov
from hls.settings import FsyncMode

FSYNC_INTERVAL_S = 5.0
"""``ARCHIVE_FSYNC=interval``: the longest loss at a power cut, for a fraction of the disk's work."""

UNKNOWN_FRAME_90K = CLOCK_RATE // 25
"""Duration of a single frame if nothing says it; the next frame corrects it."""

STEP_MAX = 2**31
"""A longer time between two samples, or between decoding and presentation, does not fit into a fragment's fields."""

IDENTITY_KEY = "comment"
"""The MP4 tag that carries a segment's identity as JSON, so that the index can be rebuilt from the files alone."""


class SegmentWriter:
    """See the module. ``segment`` has name, start and numbers; ``sync_s`` observes the seconds that each sync took.

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
    ) -> None:
        self.path = path
        self.info = info
        self.fragments: list[Fragment] = []
        self.audio_packets_dropped = 0
        """Audio packets from before the first frame, out of order, or without data."""
        self._sync_s = sync_s
        self._clock = clock
        self._fsync = fsync
        self._synced_at_s = self._clock.monotonic()
        self._muxer = FragmentMuxer(info)
        self._tag = json.dumps(identity(segment), separators=(",", ":"))
        self._init = init = recording_init(self._muxer.init, self._tag)
        moov_box = find_box(init, b"moov")
        assert moov_box is not None
        head = init[: moov_box.offset]
        self._segment = replace(segment, head=head, init_size=len(init), init_id=init_id(init))
        self._tables = _tables(info, init)
        self._borders = FragmentBorders()
        self._video: list[Packet] = []
        """Frames that are not on disk yet."""
        self._audio: list[Sample] = []
        self._base_dts_90k: int | None = None
        self._dts_90k = 0
        """Of the last frame."""
        self._frame_90k = 0
        """Time between the last two frames."""
        self._audio_dts = -1
        """Of the last audio sample, in the time scale of its track; -1 before the first."""
        self._longest_gap_90k = 0
        self._sequence = 0
        self._frames = 0
        """On disk."""
        self._size = 0
        """Bytes on disk."""
        make_private_dir(path.parent)
        self._descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o640)
        try:
            if fsync is not FsyncMode.NEVER:
                _sync_directory(path.parent)
        except BaseException:
            os.close(self._descriptor)
            path.unlink(missing_ok=True)
            raise

    @property
    def segment(self) -> Segment:
        """The segment as far as it is on disk."""
        return replace(
            self._segment,
            duration_90k=self.fragments[-1].end_90k if self.fragments else 0,
            size=self._size,
            frames=self._frames,
            longest_gap_90k=self._longest_gap_90k,
        )

    @property
    def start(self) -> Segment:
        """The segment at its beginning: name, start and run."""
        return self._segment

    def write(self, packet: Packet) -> None:
        """Take the next packet. Raises ``OSError``, and ``ValueError`` for video that MP4 cannot have."""
        if self._base_dts_90k is None:
            if not (packet.is_video and packet.is_keyframe):
                self.audio_packets_dropped += 1
                return
            self._base_dts_90k = packet.dts_90k
        elif packet.is_video:
            self._frame_90k = packet.dts_90k - self._dts_90k
            self._longest_gap_90k = max(self._longest_gap_90k, self._frame_90k)
            if not 0 < self._frame_90k < STEP_MAX:
                raise ValueError(f"a frame is {self._frame_90k} ticks after the frame before it")
        if not packet.is_video:
            self._write_audio(packet)
            return
        if not 0 <= packet.pts_90k - packet.dts_90k < STEP_MAX:
            raise ValueError(f"a frame is shown {packet.pts_90k - packet.dts_90k} ticks after it is decoded")
        self._dts_90k = packet.dts_90k
        if self._borders.is_border(packet):
            self._write_fragment(until_90k=packet.dts_90k)
        self._video.append(packet)

    def close(self, reason: EndReason) -> Segment:
        """Write the index, sync, and return the finished segment. Raises ``OSError``."""
        self._write_fragment()
        if not self.fragments:
            return self.abandon()
        end = self._size
        head = closed_head(self._segment.head, end)
        # The index first, then the header that wraps the fragments: a crash in between leaves a valid file.
        index = moov([table for table in self._tables.values() if table.sizes], 0, comment_tag(self._tag))
        _write_at(self._descriptor, index, end)
        self._sync(force=True)
        _write_at(self._descriptor, head, 0)
        self._sync(force=True)
        # Everything is written. The number is free even after an error (close(2)), and may be another file's by now.
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._segment = replace(self._segment, state=SegmentState.CLOSED, end_reason=reason)
        return replace(self.segment, size=end + len(index))

    def abandon(self) -> Segment:
        """Cut the file after its last complete fragment, as far as the disk permits. Never raises."""
        segment = self.segment
        try:
            if segment.size:
                # A failed close may have written the header that needs the index which is cut off here.
                _write_at(self._descriptor, segment.head, 0)
            os.ftruncate(self._descriptor, segment.size)
            os.fsync(self._descriptor)
        except OSError:
            pass  # the next start truncates the file
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
            if not self.fragments:
                self.path.unlink(missing_ok=True)
        return replace(segment, state=SegmentState.TRUNCATED, end_reason=EndReason.DISK_FAILED)

    def _write_audio(self, packet: Packet) -> None:
        audio, base_90k = self.info.audio, self._base_dts_90k
        assert base_90k is not None
        rate_hz = audio.sample_rate_hz if audio is not None else 0
        dts = (2 * (packet.dts_90k - base_90k) * rate_hz + CLOCK_RATE) // (2 * CLOCK_RATE)
        step = dts - self._audio_dts
        if audio is None or packet.dts_90k < base_90k or not 0 < step < STEP_MAX or not packet.data:
            self.audio_packets_dropped += 1  # broken audio never stops video
            return
        if self._borders.is_border(packet):
            self._write_fragment()
        is_known = 0 < packet.duration_90k < STEP_MAX
        end = dts + (packet.duration_90k * rate_hz // CLOCK_RATE if is_known else AAC_FRAME)
        if self._audio:
            last = self._audio[-1]
            if last.dts + last.duration != dts:
                self._audio[-1] = replace(last, duration=dts - last.dts)
        elif self._audio_dts < 0:
            dts = 0
        self._audio_dts = dts
        self._audio.append(Sample(packet.data, dts, dts, end - dts))

    def _write_fragment(self, until_90k: int | None = None) -> None:
        """Write the collected packets to the disk, and then add them to :attr:`fragments`.

        ``until_90k``: the decoding time of the next frame, if it is known.
        """
        if not self._video and not self._audio:
            return
        tracks = self._muxer.tracks(self._video_samples(until_90k), self._audio)
        self._sequence += 1
        data = fragment(tracks, self._sequence)
        offset = self._size or len(self._init)
        _write_at(self._descriptor, data if self._size else self._init + data, self._size)
        self._sync()
        self._size = offset + len(data)
        self._add_to_index(tracks)
        about = _summary(tracks)
        add_fragment(self.fragments, about, offset, len(data))
        self._frames += about.frames
        self._video, self._audio = [], []

    def _video_samples(self, until_90k: int | None) -> list[Sample]:
        """The collected frames, each up to the next one."""
        packets, base_90k = self._video, self._base_dts_90k
        if not packets:
            return []
        assert base_90k is not None
        if until_90k is None:
            until_90k = packets[-1].dts_90k + self._frame_duration_90k(packets[-1])
        ends = [*(packet.dts_90k for packet in packets[1:]), until_90k]
        return [
            Sample(
                packet.data,
                packet.dts_90k - base_90k,
                packet.pts_90k - base_90k,
                end_90k - packet.dts_90k,
                packet.is_keyframe,
                packet.info.video.has_changing_sets,
            )
            for packet, end_90k in zip(packets, ends, strict=True)
        ]

    def _frame_duration_90k(self, packet: Packet) -> int:
        """Duration of the newest frame, as far as it is known before the next one."""
        if 0 < packet.duration_90k < STEP_MAX:
            return packet.duration_90k
        if self._frame_90k:
            return self._frame_90k
        rate = self.info.video.frame_rate
        return round(CLOCK_RATE / rate) if rate else UNKNOWN_FRAME_90K

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

    def _sync(self, *, force: bool = False) -> None:
        if self._fsync is FsyncMode.NEVER:
            return
        now_s = self._clock.monotonic()
        if force or self._fsync is FsyncMode.ALWAYS or now_s - self._synced_at_s >= FSYNC_INTERVAL_S:
            os.fdatasync(self._descriptor)
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


def identity(segment: Segment) -> dict[str, Any]:
    """The value of :data:`IDENTITY_KEY`."""
    return {
        "camera": segment.camera_id,
        "start_90k": segment.start_90k,
        "run": segment.run,
        "continues": segment.continues,
    }


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _sync_directory(path: Path) -> None:
    """Sync a directory, where the file system knows what that is: CIFS and some of FUSE answer an error, and sync names
    with their files."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EBADF):
            raise
    finally:
        os.close(descriptor)
