"""SegmentWriter: write one archive segment, from its first keyframe to its final index.

Theory of operation. FFmpeg's muxer turns packets into fragments and writes them to a sink in memory. Complete
fragments go to the disk in one write and are synced before they are reported. The file is a fragmented MP4 while it
grows, and becomes an ordinary one when :meth:`SegmentWriter.close` writes its index behind the fragments; see
:mod:`hls.archive.scan` for the two shapes.

Rules:

1. Blocking; used by one worker thread at a time.
2. A fragment is in :attr:`SegmentWriter.fragments` only once its bytes are on the disk, as far as ``ARCHIVE_FSYNC``
   says.
3. Media time begins at 0 with the first video frame. Audio from before that is dropped.
4. A file is never overwritten: if the name exists, there is no writer.
5. After a failure the file ends with its last complete fragment, and the writer cannot be used again.
"""

import contextlib
import json
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer
from av.stream import Stream
from prometheus_client import Histogram

from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock
from gateway.media import Packet, StreamInfo
from hls.archive.fragment import Fragment, add_fragment
from hls.archive.segment import EndReason, Segment, SegmentState
from hls.mp4.boxes import Box, parse_boxes
from hls.mp4.fragments import declare_streams, without_parameter_sets
from hls.mp4.init_segment import growing_head, init_id
from hls.mp4.moof import parse_moof
from hls.settings import FsyncMode

FRAGMENT_US = 500_000
"""A fragment ends here or at a keyframe, so that a crash loses less than a second whatever the keyframe interval."""

FSYNC_INTERVAL_S = 5.0
"""``ARCHIVE_FSYNC=interval``: the longest loss at a power cut, for a fraction of the disk's work."""

UNKNOWN_FRAME_90K = CLOCK_RATE // 25
"""Duration of a single frame if nothing says it; the next frame corrects it."""

IDENTITY_KEY = "comment"
"""The MP4 tag that carries a segment's identity as JSON, so that the index can be rebuilt from the files alone."""

_OPTIONS = {
    "movflags": "hybrid_fragmented+frag_keyframe+empty_moov+default_base_moof",
    "frag_duration": str(FRAGMENT_US),
    "use_editlist": "0",
    # A track without packets must not delay the other one; within a fragment their order does not matter.
    "max_interleave_delta": "1",
    "flush_packets": "1",
}


class _Sink:
    """The muxer's output: new bytes stay in memory, changes of bytes that are in the file are kept as patches."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.pending = bytearray()
        self.pending_from = 0
        self.patches: list[tuple[int, bytes]] = []
        """Offset and bytes of the muxer's changes to the file; written last, see :meth:`SegmentWriter.close`."""
        self.discards = False
        self._position = 0

    def write(self, data: bytes) -> int:
        if not self.discards:
            if self._position < self.pending_from + len(self.pending):
                self.patches.append((self._position, bytes(data)))
            else:
                self.pending += data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        end = self.pending_from + len(self.pending)
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: end}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def flush(self, size: int) -> None:
        """Write the first ``size`` pending bytes to the file."""
        if size:
            _write_at(self.descriptor, bytes(self.pending[:size]), self.pending_from)
            del self.pending[:size]
            self.pending_from += size


class SegmentWriter:
    """See the module. ``segment`` has name, start and numbers; ``sync_s`` observes the seconds that each sync took.

    Raises ``FileExistsError`` if the name is taken.
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
        """Audio packets from before the first frame, out of order, or refused by the muxer."""
        self._sync_s = sync_s
        self._clock = clock
        self._segment = segment
        self._fsync = fsync
        self._synced_at_s = self._clock.monotonic()
        self._base_dts_90k: int | None = None
        self._last_audio_dts_90k = -1
        self._last_video: Packet | None = None
        self._longest_gap_90k = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            self._sink = _Sink(self._descriptor)
            self._container: OutputContainer = av.open(self._sink, "w", format="mp4", options=_OPTIONS)
            self._container.metadata[IDENTITY_KEY] = json.dumps(identity(segment), separators=(",", ":"))
            self._video, self._audio = declare_streams(self._container, info)
            if fsync is not FsyncMode.NEVER:
                _sync_directory(path.parent)
        except BaseException:
            os.close(self._descriptor)
            path.unlink(missing_ok=True)
            raise

    @property
    def segment(self) -> Segment:
        """The segment as far as it is on disk."""
        last = self.fragments[-1] if self.fragments else None
        return replace(
            self._segment,
            duration_90k=last.end_90k if last else 0,
            size=last.offset + last.size if last else 0,
            frames=sum(fragment.frames for fragment in self.fragments),
            longest_gap_90k=self._longest_gap_90k,
        )

    @property
    def start(self) -> Segment:
        """The segment at its beginning: name, start and run."""
        return self._segment

    def write(self, packet: Packet) -> bool:
        """Take the next packet. Returns whether a fragment was written. Raises ``OSError`` and PyAV's errors."""
        if self._base_dts_90k is None:
            if not (packet.is_video and packet.is_keyframe):
                self.audio_packets_dropped += 1
                return False
            self._base_dts_90k = packet.dts_90k
        if not packet.is_video:
            self._write_audio(packet)
            return self._flush_fragments()
        previous = self._last_video
        if previous is not None:
            self._longest_gap_90k = max(self._longest_gap_90k, packet.dts_90k - previous.dts_90k)
        self._last_video = packet
        self._mux(packet, self._video, self._frame_duration_90k(packet, previous))
        return self._flush_fragments()

    def close(self, reason: EndReason) -> Segment:
        """Write the index, sync, and return the finished segment. Raises ``OSError`` and PyAV's errors."""
        self._container.close()
        self._flush_fragments()
        # The index first, then the header that wraps the fragments: a crash in between leaves a valid file.
        self._sink.flush(len(self._sink.pending))
        self._sync(force=True)
        for offset, data in self._sink.patches:
            _write_at(self._descriptor, data, offset)
        self._sync(force=True)
        size = os.fstat(self._descriptor).st_size
        os.close(self._descriptor)
        self._segment = replace(self._segment, state=SegmentState.CLOSED, end_reason=reason)
        return replace(self.segment, size=size)

    def abandon(self) -> Segment:
        """Cut the file after its last complete fragment, as far as the disk permits. Never raises."""
        self._sink.discards = True
        self._sink.pending.clear()
        with contextlib.suppress(OSError, av.FFmpegError):
            self._container.close()
        segment = self.segment
        try:
            os.ftruncate(self._descriptor, segment.size)
            os.fsync(self._descriptor)
        except OSError:
            pass  # the next start truncates the file
        try:
            os.close(self._descriptor)
            if not self.fragments:
                self.path.unlink(missing_ok=True)
        except OSError:
            pass
        return replace(segment, state=SegmentState.TRUNCATED, end_reason=EndReason.DISK_FAILED)

    def _mux(self, packet: Packet, stream: Stream, duration_90k: int) -> None:
        assert self._base_dts_90k is not None
        data = (
            without_parameter_sets(packet.data, self.info.video.codec)
            if packet.is_video and packet.is_keyframe and not packet.info.video.has_changing_sets
            else packet.data
        )
        coded = av.Packet(data)
        coded.stream = stream
        coded.time_base = Fraction(1, CLOCK_RATE)
        coded.pts = packet.pts_90k - self._base_dts_90k
        coded.dts = packet.dts_90k - self._base_dts_90k
        coded.duration = duration_90k
        coded.is_keyframe = packet.is_keyframe
        self._container.mux_one(coded)

    def _write_audio(self, packet: Packet) -> None:
        assert self._base_dts_90k is not None
        dts_90k = packet.dts_90k - self._base_dts_90k
        if self._audio is None or dts_90k < 0 or dts_90k <= self._last_audio_dts_90k:
            self.audio_packets_dropped += 1
            return
        self._last_audio_dts_90k = dts_90k
        try:
            self._mux(packet, self._audio, packet.duration_90k)
        except av.FFmpegError:
            self.audio_packets_dropped += 1  # broken audio never stops video

    def _frame_duration_90k(self, packet: Packet, previous: Packet | None) -> int:
        """Duration of the newest frame, as far as it is known before the next one."""
        if packet.duration_90k > 0:
            return packet.duration_90k
        if previous is not None:
            return packet.dts_90k - previous.dts_90k
        rate = self.info.video.frame_rate
        return round(CLOCK_RATE / rate) if rate else UNKNOWN_FRAME_90K

    def _flush_fragments(self) -> bool:
        """Write complete fragments to the disk, and then add them to :attr:`fragments`."""
        pending = bytes(self._sink.pending)
        if not pending:
            return False
        start = self._sink.pending_from
        whole = 0
        found = []
        moof: Box | None = None
        for box in parse_boxes(pending):
            if box.kind == b"moov" and self._segment.init_size == 0:
                self._segment = replace(
                    self._segment,
                    head=growing_head(pending[: box.offset]),
                    init_size=box.end,
                    init_id=init_id(pending[: box.end]),
                )
            elif box.kind == b"moof":
                moof = box
            elif box.kind == b"mdat" and moof is not None:
                about = parse_moof(pending[moof.offset : moof.end])
                found.append((about, start + moof.offset, box.end - moof.offset))
                whole, moof = box.end, None
        if not found:
            return False
        self._sink.flush(whole)
        self._sync()
        for about, offset, size in found:
            add_fragment(self.fragments, about, offset, size)
        return True

    def _sync(self, *, force: bool = False) -> None:
        if self._fsync is FsyncMode.NEVER:
            return
        now_s = self._clock.monotonic()
        if force or self._fsync is FsyncMode.ALWAYS or now_s - self._synced_at_s >= FSYNC_INTERVAL_S:
            os.fdatasync(self._descriptor)
            self._synced_at_s = now_s
            if self._sync_s is not None:
                self._sync_s.observe(self._clock.monotonic() - now_s)


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
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
