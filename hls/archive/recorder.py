"""CameraRecorder: one camera's packets into archive segments.

Theory of operation. A task on the event loop takes packets from a bounded hub subscription and hands them in small
batches to :class:`Recording`, which runs in a worker thread: it decides where one segment ends and the next begins, and
writes. What it has brought to the disk comes back as a :class:`WriteResult` and goes on to the index.

Rules:

1. A segment begins with a keyframe and holds one run of one stream: a change of either cuts at once, and nothing is
   lost.
2. A segment ends with the first keyframe after a multiple of ``ARCHIVE_SEGMENT_SECONDS`` of wall clock since the epoch.
   The first segment of a recording begins at once.
3. Lost packets and a stepped clock cut too, so that inside a segment media time plus its start is the wall clock.
4. A slow disk fills the subscription's queue, which drops to the next keyframe and counts. A broken disk is tried again
   with the next keyframe after :data:`DISK_RETRY_S`; what comes meanwhile is dropped and counted. Live knows of
   neither.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import av
from prometheus_client import Histogram

from gateway.clock import CLOCK_RATE
from gateway.codec.audio import AudioTranscoder
from gateway.errors import StorageError, redact
from gateway.hub import PacketHub, SubscriptionClosed
from gateway.media import Packet, StreamInfo
from hls.archive.fragment import Fragment
from hls.archive.hls_segments import hls_segments
from hls.archive.segment import (
    NAME_SUFFIX_MAX,
    EndReason,
    Segment,
    SegmentState,
    SegmentWithFragments,
    segment_name,
    segment_path,
)
from hls.archive.writer import SegmentWriter
from hls.mp4.audio import AAC_FRAME, aac_transcoder, fmp4_audio
from hls.settings import FsyncMode

log = logging.getLogger(__name__)

BATCH_S = 0.1
"""Packets wait so long for company: a hand-over to the thread costs as much as ten packets do."""

SILENCE_S = 1.0
"""After so long without a packet it is asked whether the camera is still there."""

DISK_RETRY_S = 2.0
"""Between two attempts to begin a segment on a disk that has failed."""

CLOCK_STEP_90K = 2 * CLOCK_RATE
"""Capture times that stray further from media time mean a clock that was set, and not a network that was slow."""

UNINDEXED_MAX = 1000
"""Closed segments that wait for a failing index; beyond that the next start finds them on disk."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What a batch has brought to the disk. ``error`` is why the disk gets nothing at present."""

    growing: SegmentWithFragments | None = None
    closed: Sequence[SegmentWithFragments] = ()
    error: str | None = None


@dataclass(slots=True)
class SequenceNumbers:
    """The next segment's numbers within the camera's archive; see :class:`~hls.archive.segment.Segment`."""

    sequence: int = 0
    discontinuities: int = 0

    @classmethod
    def after(cls, newest: Segment | None) -> "SequenceNumbers":
        """Those of the segment that follows upon the camera's newest one."""
        return cls(newest.sequence + newest.hls_segments, newest.discontinuities + 1) if newest else cls()


def segment_end_reason(
    segment: Segment, info: StreamInfo, base_dts_90k: int, packet: Packet, lost: int, every_90k: int
) -> EndReason | None:
    """Why this video packet begins a new segment, or ``None`` where it does not; the module's rules 1 to 3."""
    if packet.run != segment.run:
        return EndReason.CAMERA_RESTARTED
    if packet.info is not info and packet.info != info:
        return EndReason.STREAM_CHANGED
    if lost:
        return EndReason.PACKETS_LOST
    if not packet.is_keyframe:
        return None
    expected_90k = segment.start_90k + packet.dts_90k - base_dts_90k
    if abs(packet.captured_at_90k - expected_90k) > CLOCK_STEP_90K:
        return EndReason.CLOCK_STEPPED
    if packet.captured_at_90k // every_90k > segment.start_90k // every_90k:
        return EndReason.BOUNDARY
    return None


class Recording:
    """The blocking half; see the module. One worker thread at a time.

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
    ) -> None:
        self.camera_id = camera_id
        self.dropped = 0
        """Packets that the disk did not get."""
        self.numbers = SequenceNumbers()
        self._data_dir = data_dir
        self._every_90k = segment_s * CLOCK_RATE
        self._fsync = fsync
        self._check_data_dir = check_data_dir
        self._sync_s = sync_s
        self._writer: SegmentWriter | None = None
        self._info: StreamInfo | None = None
        self._transcoder: AudioTranscoder | None = None
        self._base_dts_90k = 0
        self._closed: list[SegmentWithFragments] = []
        self._error: str | None = None
        self._retry_at_s = 0.0

    def write(self, batch: Sequence[tuple[Packet, int]]) -> WriteResult:
        """Take packets, each with the number of those that were lost before it. Never raises for a failing disk."""
        for packet, lost in batch:
            try:
                self._take(packet, lost)
            except (OSError, StorageError, av.FFmpegError, ValueError) as error:
                self._fail(error)
        return self._progress()

    def finish(self, reason: EndReason) -> WriteResult:
        """End the segment under way, if there is one."""
        try:
            self._close(reason)
        except (OSError, av.FFmpegError, ValueError) as error:
            self._fail(error)
        return self._progress()

    def _take(self, packet: Packet, lost: int) -> None:
        writer = self._writer
        if not packet.is_video:
            if writer is None or self._info is None or packet.run != writer.start.run:
                return
            for coded in self._coded(packet):
                writer.write(coded)
            return
        reason: EndReason | None = None
        if writer is not None and self._info is not None:
            reason = segment_end_reason(writer.start, self._info, self._base_dts_90k, packet, lost, self._every_90k)
            if reason is not None:
                self._close(reason)
        if self._writer is None:
            if not packet.is_keyframe or time.monotonic() < self._retry_at_s:
                self.dropped += 1
                return
            self._open(packet, continues=reason is EndReason.BOUNDARY)
        assert self._writer is not None
        self._writer.write(packet)

    def _coded(self, packet: Packet) -> list[Packet]:
        """An audio packet as MP4 carries it. Audio that breaks never stops video."""
        if self._transcoder is None:
            return [packet]
        try:
            frames = self._transcoder.transcode(packet.data, packet.pts_90k)
        except (av.FFmpegError, ValueError):
            return []
        rate_hz = self._transcoder.info.sample_rate_hz
        duration_90k = AAC_FRAME * CLOCK_RATE // rate_hz
        times = [(position * CLOCK_RATE // rate_hz, data) for position, data in frames]
        return [replace(packet, data=data, pts_90k=at, dts_90k=at, duration_90k=duration_90k) for at, data in times]

    def _open(self, packet: Packet, *, continues: bool) -> None:
        self._check_data_dir()
        source = packet.info.audio
        carried = fmp4_audio(source)
        info = packet.info if carried is source else replace(packet.info, audio=carried)
        self._transcoder = aac_transcoder(source) if source is not None and carried not in (None, source) else None
        video, audio = info.video, info.audio
        segment = Segment(
            camera_id=self.camera_id,
            name="",
            state=SegmentState.GROWING,
            start_90k=packet.captured_at_90k,
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
            run=packet.run,
            continues=continues,
            sequence=self.numbers.sequence,
            discontinuities=self.numbers.discontinuities,
        )
        for suffix in range(NAME_SUFFIX_MAX + 1):
            segment = replace(segment, name=segment_name(segment.start_90k, suffix))
            try:
                path = segment_path(self._data_dir, self.camera_id, segment.name)
                self._writer = SegmentWriter(path, segment, info, self._fsync)
                self._writer.sync_s = self._sync_s
                break
            except FileExistsError:
                continue
        else:
            raise FileExistsError(f"{NAME_SUFFIX_MAX} segments began within one second")
        self._info = packet.info
        self._base_dts_90k = packet.dts_90k
        self._error = None

    def _close(self, reason: EndReason) -> None:
        writer = self._writer
        if writer is None:
            return
        segment = writer.close(reason)
        self._writer = None
        self._ended(segment, tuple(writer.fragments))

    def _fail(self, error: Exception) -> None:
        self.dropped += 1
        reason = error.strerror if isinstance(error, OSError) and error.strerror else redact(error)
        self._error = f"recording has stopped: {reason}"
        log.error(
            "camera %s: %s; it is tried again every %.0f s",
            self.camera_id,
            self._error,
            DISK_RETRY_S,
            extra={"camera": self.camera_id},
        )
        self._retry_at_s = time.monotonic() + DISK_RETRY_S
        writer, self._writer = self._writer, None
        if writer is not None:
            self._ended(writer.abandon(), tuple(writer.fragments))

    def _ended(self, segment: Segment, fragments: tuple[Fragment, ...]) -> None:
        if not fragments:
            return
        segment = replace(segment, hls_segments=len(hls_segments(fragments, is_whole=True)))
        self.numbers.sequence += segment.hls_segments
        self.numbers.discontinuities += 1
        self._closed.append(SegmentWithFragments(segment, fragments))

    def _progress(self) -> WriteResult:
        writer = self._writer
        growing = None
        if writer is not None and writer.fragments:
            growing = SegmentWithFragments(writer.segment, tuple(writer.fragments))
        closed, self._closed = self._closed, []
        return WriteResult(growing, closed, self._error)


@dataclass(slots=True)
class RecorderStatus:
    """How one camera's recording is. ``lag_s``: how far the disk is behind the newest picture, in seconds."""

    is_recording: bool = False
    segment: str | None = None
    lag_s: float = 0.0
    bytes_written: int = 0
    segments_closed: int = 0
    gaps: int = 0
    """Finished segments before which something is missing."""
    packets_dropped: int = 0
    error: str | None = None


class CameraRecorder:
    """The half on the event loop; see the module.

    ``is_live`` tells whether the camera may still send on the present run. ``on_progress`` is called, on the event
    loop, whenever :attr:`growing` or :attr:`closed` has changed.
    """

    def __init__(
        self,
        hub: PacketHub,
        recording: Recording,
        executor: Executor,
        *,
        is_live: Callable[[], bool],
        on_progress: Callable[["CameraRecorder"], None],
    ) -> None:
        self.camera_id = recording.camera_id
        self.growing: SegmentWithFragments | None = None
        """The segment under way, as far as it is on disk."""
        self.closed: deque[SegmentWithFragments] = deque(maxlen=UNINDEXED_MAX)
        """Segments that have ended and that the index does not know yet, oldest first."""
        self.stop_reason = EndReason.STOPPED
        self._hub = hub
        self._recording = recording
        self._executor = executor
        self._is_live = is_live
        self._on_progress = on_progress
        self._subscription = hub.subscribe()
        self._task: asyncio.Task[None] | None = None
        self._writing_since_s: float | None = None
        self._error: str | None = None
        self._bytes_before = 0
        self._segments_closed = 0
        self._gaps = 0

    def start(self, numbers: SequenceNumbers) -> None:
        """Begin to record, with what the hub has sent since this was made."""
        self._recording.numbers = numbers
        self._task = asyncio.create_task(self._run(), name=f"record-{self.camera_id}")

    async def close(self) -> None:
        """Write what is queued and finish the segment under way."""
        self._subscription.close()
        if self._task is not None:
            await asyncio.wait([self._task])
            self._task = None

    def status(self) -> RecorderStatus:
        """How it is at this moment."""
        growing = self.growing[0] if self.growing else None
        newest = self._hub.newest
        behind_90k = newest.captured_at_90k - growing.end_90k if growing and newest else 0
        # What hangs before the segment's first fragment is seen by the clock alone.
        hanging_s = time.monotonic() - self._writing_since_s if self._writing_since_s is not None else 0.0
        return RecorderStatus(
            is_recording=growing is not None,
            segment=growing.name if growing else None,
            lag_s=max(0.0, behind_90k / CLOCK_RATE, hanging_s),
            bytes_written=self._bytes_before + (growing.size if growing else 0),
            segments_closed=self._segments_closed,
            gaps=self._gaps,
            packets_dropped=self._subscription.dropped + self._recording.dropped,
            error=self._error,
        )

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):
                    packet = await self._subscription.get()
            except TimeoutError:
                if self.growing is not None and not self._is_live():
                    await self._work(self._recording.finish, EndReason.CAMERA_LOST)
                continue
            except SubscriptionClosed:
                break
            batch = [(packet, self._subscription.lost_before)]
            if not len(self._subscription):
                await asyncio.sleep(BATCH_S)
            while (more := self._subscription.get_nowait()) is not None:
                batch.append((more, self._subscription.lost_before))
            await self._work(self._recording.write, batch)
        await self._work(self._recording.finish, self.stop_reason)

    async def _work(self, function: Callable[[T], WriteResult], argument: T) -> None:
        """One call of the blocking half, in a worker thread."""
        self._writing_since_s = time.monotonic()
        try:
            progress = await asyncio.get_running_loop().run_in_executor(self._executor, function, argument)
        finally:
            self._writing_since_s = None
        self._took(progress)

    def _took(self, progress: WriteResult) -> None:
        for segment, fragments in progress.closed:
            self.closed.append(SegmentWithFragments(segment, fragments))
            self._bytes_before += segment.size
            self._segments_closed += 1
            self._gaps += not segment.continues
        changed = bool(progress.closed) or (progress.growing and progress.growing[0].size) != (
            self.growing and self.growing[0].size
        )
        self.growing = progress.growing
        self._error = progress.error
        if changed:
            self._on_progress(self)
