"""Recording: the parts of one stream of a camera into archive segments, in a worker thread.

Rules:

1. A segment begins with a keyframe and has one run of one stream. A change of either ends it without loss of a frame.
2. A segment ends with the first keyframe after a multiple of ``ARCHIVE_SEGMENT_SECONDS`` of wall clock since the epoch.
   The first segment of a recording begins at once. Where no keyframe comes for :data:`GRACE_90K` after that, the camera
   sends none (intra refresh), and the segment ends with any frame.
3. Lost frames and a stepped clock end it too, so that within a segment its start plus media time is the wall clock.
   In the beginning of a run, capture times fall without a step: those of a camera that begins with pictures from before
   are only known when one came late. Then the segment is found to have begun earlier.
4. If the disk fails, the segment ends, and the next begins with a keyframe after :data:`DISK_RETRY_S`. Frames in the
   meantime are dropped and counted.
5. A segment has an audio track only if sound was heard: many cameras declare it and send none. Its parts tell; a
   segment that has begun without takes it as :meth:`~hls.archive.writer.SegmentWriter.take_sound` says.
6. Where events decide what is recorded, :mod:`hls.archive.event_gate` says which part a recording begins with.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av
from prometheus_client import Histogram

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock
from gateway.errors import StorageError, redact
from gateway.media import StreamInfo
from hls.archive.baseline import NOTHING_LEARNED
from hls.archive.disk_error import DiskFault, disk_advice
from hls.archive.fragment import Fragment
from hls.archive.hls_segments import hls_segments
from hls.archive.part_queue import QueuedPart
from hls.archive.segment import (
    NAME_SUFFIX_MAX,
    EndReason,
    RecordedStream,
    Segment,
    SegmentState,
    SegmentWithFragments,
    segment_name,
)
from hls.archive.writer import SegmentWriter
from hls.parts.clock_step import BEGINNING_90K, BEGINNING_FALL_90K
from hls.parts.part import PartSamples
from hls.settings import FsyncMode

log = logging.getLogger(__name__)

DISK_RETRY_S = 2.0
"""Between two attempts to begin a segment on a disk that has failed."""

CLOCK_STEP_90K = 2 * CLOCK_RATE
"""A larger difference between capture time and media time means that a clock was set, not that a network was slow."""

GRACE_90K = 30 * CLOCK_RATE
"""How long a segment goes on without a keyframe, rule 2: longer than the GOPs of smart codecs, 10 to 20 s."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What is on disk after a batch. ``error``: why nothing can be written at present, and ``fault`` its kind."""

    growing: SegmentWithFragments | None = None
    closed: Sequence[SegmentWithFragments] = ()
    error: str | None = None
    fault: DiskFault | None = None


@dataclass(slots=True)
class SequenceNumbers:
    """The next segment's numbers within the stream's archive; see :class:`~hls.archive.segment.Segment`."""

    sequence: int = 0
    discontinuities: int = 0

    @classmethod
    def after(cls, newest: Segment | None) -> "SequenceNumbers":
        """The numbers of the segment after the stream's newest one."""
        return cls(newest.sequence + newest.hls_segments, newest.discontinuities + 1) if newest else cls()


def segment_end_reason(
    segment: Segment, info: StreamInfo, base_dts_90k: int, part: PartSamples, lost: int, boundary_90k: int
) -> EndReason | None:
    """Why this part begins a new segment, or ``None`` if it does not; the module's rules 1 to 3."""
    if part.run != segment.run:
        return EndReason.CAMERA_RESTARTED
    if part.info is not info and part.info != info:
        return EndReason.STREAM_CHANGED
    if lost:
        return EndReason.PACKETS_LOST
    expected_90k = segment.start_90k + part.dts_90k - base_dts_90k
    if not part.is_keyframe:
        # By media time: a clock that steps ahead must not cut a GOP.
        return EndReason.BOUNDARY if expected_90k >= boundary_90k + GRACE_90K else None
    fall_90k = BEGINNING_FALL_90K if part.dts_90k < BEGINNING_90K else CLOCK_STEP_90K
    if not -fall_90k <= part.captured_at_90k - expected_90k <= CLOCK_STEP_90K:
        return EndReason.CLOCK_STEPPED
    return EndReason.BOUNDARY if part.captured_at_90k >= boundary_90k else None


class Recording:
    """See the module. Blocking; one worker thread at a time.

    ``check_data_dir`` raises :class:`~gateway.errors.StorageError` if no segment may be begun. ``sync_s`` observes how
    long the disk took for each sync, in seconds.
    """

    def __init__(
        self,
        camera_id: str,
        data_dir: Path,
        segment_s: int,
        fsync: FsyncMode,
        check_data_dir: Callable[[], None] = lambda: None,
        sync_s: Histogram | None = None,
        clock: Clock = SYSTEM_CLOCK,
        rendition: RenditionName = RenditionName.MAIN,
    ) -> None:
        self.stream = RecordedStream(camera_id, rendition)
        self.packets_dropped = 0
        """Frames that were not written because the disk failed."""
        self.numbers = SequenceNumbers()
        self.baseline = NOTHING_LEARNED
        """Of the activity, for the next file."""
        self._data_dir = data_dir
        self._every_90k = segment_s * CLOCK_RATE
        self._fsync = fsync
        self._check_data_dir = check_data_dir
        self._sync_s = sync_s
        self._clock = clock
        self._writer: SegmentWriter | None = None
        self._info: StreamInfo | None = None
        self._base_dts_90k = self._boundary_90k = 0
        self._closed: list[SegmentWithFragments] = []
        self._error: str | None = None
        self._fault: DiskFault | None = None
        self._retry_at_s = float("-inf")
        self._audio_dropped = 0

    @property
    def audio_packets_dropped(self) -> int:
        """Audio frames that no segment has: from before its first frame, or out of order."""
        return self._audio_dropped + (self._writer.audio_packets_dropped if self._writer is not None else 0)

    def write(self, batch: Sequence[QueuedPart]) -> WriteResult:
        """Write parts. A failing disk does not raise."""
        for item in batch:
            try:
                self._write(item)
            except (OSError, StorageError, av.FFmpegError, ValueError) as error:
                self.packets_dropped += item.part.packets
                self._fail(error)
        return self._result()

    def finish(self, reason: EndReason) -> WriteResult:
        """End the open segment, if there is one."""
        try:
            self._close(reason)
        except (OSError, av.FFmpegError, ValueError) as error:
            self._fail(error)
        return self._result()

    def _write(self, item: QueuedPart) -> None:
        part, lost = item.part, item.lost
        reason: EndReason | None = None
        if self._writer is not None and self._info is not None:
            if part.info is not self._info and part.info != self._info and self._writer.take_sound(part):
                self._info = part.info
            begun = self._writer.start
            reason = item.after or segment_end_reason(
                begun, self._info, self._base_dts_90k, part, lost, self._boundary_90k
            )
            if reason is not None:
                self._close(reason)
        if self._writer is None:
            # Also without a keyframe (rule 2).
            begins = part.is_keyframe or item.is_start or reason is EndReason.BOUNDARY
            if not begins or self._clock.monotonic() < self._retry_at_s:
                self.packets_dropped += part.packets
                return
            self._open(part, continues=reason is EndReason.BOUNDARY)
        assert self._writer is not None
        if part.is_keyframe and part.dts_90k < BEGINNING_90K:
            self._writer.begins_by(part.captured_at_90k - (part.dts_90k - self._base_dts_90k))
        self._writer.write(part)
        if self._writer.fragments:
            # Not when a file was made: a full disk may still have room for its name.
            self._error = self._fault = None

    def _open(self, part: PartSamples, *, continues: bool) -> None:
        self._check_data_dir()
        video, audio = part.info.video, part.info.audio
        segment = Segment(
            camera_id=self.stream.camera_id,
            rendition=self.stream.rendition,
            name="",
            state=SegmentState.GROWING,
            start_90k=part.captured_at_90k,
            duration_90k=0,
            size=0,
            codec=video.codec,
            codec_string=video.codec_string,
            audio_codec=audio.codec if audio else None,
            audio_codec_string=audio.codec_string if audio else None,
            width=video.width,
            height=video.height,
            head=b"",
            init_size=0,
            run=part.run,
            continues=continues,
            sequence=self.numbers.sequence,
            discontinuities=self.numbers.discontinuities,
        )
        for suffix in range(NAME_SUFFIX_MAX + 1):
            segment = replace(segment, name=segment_name(segment.start_90k, suffix, segment.rendition))
            try:
                path = segment.path(self._data_dir)
                self._writer = SegmentWriter(
                    path, segment, part.info, self._fsync, self._sync_s, self._clock, self.baseline
                )
                break
            except FileExistsError:
                continue
        else:
            raise FileExistsError(f"{NAME_SUFFIX_MAX} segments began within one second")
        self._info = part.info
        self._base_dts_90k = part.dts_90k
        self._boundary_90k = (part.captured_at_90k // self._every_90k + 1) * self._every_90k

    def _close(self, reason: EndReason) -> None:
        writer = self._writer
        if writer is None:
            return
        segment = writer.close(reason)
        self._writer = None
        self._add_closed(writer, segment)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, OSError) and error.strerror:
            advice = disk_advice(error)
            self._fault = advice.fault
            self._error = f"recording has stopped: {error.strerror}: {advice.text}"
        else:
            self._fault = None
            self._error = f"recording has stopped: {redact(error)}"
        log.error(
            "camera %s: %s; next attempt in %.0f s",
            self.stream.label,
            self._error,
            DISK_RETRY_S,
            extra={"camera": self.stream.camera_id},
        )
        self._retry_at_s = self._clock.monotonic() + DISK_RETRY_S
        writer, self._writer = self._writer, None
        if writer is not None:
            segment = writer.abandon()
            # A row without a file is not listed, and removed at the next start.
            state = segment.state if writer.is_in_place() else SegmentState.DELETING
            self._add_closed(writer, replace(segment, state=state))

    def _add_closed(self, writer: SegmentWriter, segment: Segment) -> None:
        self._audio_dropped += writer.audio_packets_dropped
        fragments: tuple[Fragment, ...] = tuple(writer.fragments)
        if not fragments:
            return
        if segment.activity is not None:
            self.baseline = segment.activity.baseline
        segment = replace(segment, hls_segments=len(hls_segments(fragments, is_complete=True)))
        self.numbers.sequence += segment.hls_segments
        self.numbers.discontinuities += 1
        self._closed.append(SegmentWithFragments(segment, fragments))

    def _result(self) -> WriteResult:
        writer = self._writer
        growing = None
        if writer is not None and writer.fragments:
            growing = SegmentWithFragments(writer.segment, tuple(writer.fragments))
        closed, self._closed = self._closed, []
        return WriteResult(growing, closed, self._error, self._fault)
