"""Recording: one camera's packets into archive segments, in a worker thread.

Rules:

1. A segment begins with a keyframe and has one run of one stream. A change of either ends it without loss of a packet.
2. A segment ends with the first keyframe after a multiple of ``ARCHIVE_SEGMENT_SECONDS`` of wall clock since the epoch.
   The first segment of a recording begins at once. Where no keyframe comes for :data:`GRACE_90K` after that, the camera
   sends none (intra refresh), and the segment ends with any frame.
3. Lost packets and a stepped clock end it too, so that within a segment its start plus media time is the wall clock.
4. If the disk fails, the segment ends, and the next begins with a keyframe after :data:`DISK_RETRY_S`. Packets in the
   meantime are dropped and counted.
5. A segment has an audio track only if sound was heard: many cameras declare it and send none. The first segment waits
   for it, at most :data:`HEARD_WITHIN_90K`; sound that comes later begins a new segment with the next keyframe.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av
from prometheus_client import Histogram

from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock
from gateway.codec.audio import AudioTranscoder
from gateway.errors import StorageError, redact
from gateway.media import AudioInfo, Packet, StreamInfo
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
from hls.mp4.audio import AAC_FRAME, BATCH_MAX_PACKETS, aac_transcoder, fmp4_audio
from hls.settings import FsyncMode

log = logging.getLogger(__name__)

DISK_RETRY_S = 2.0
"""Between two attempts to begin a segment on a disk that has failed."""

CLOCK_STEP_90K = 2 * CLOCK_RATE
"""A larger difference between capture time and media time means that a clock was set, not that a network was slow."""


GRACE_90K = 30 * CLOCK_RATE
"""How long a segment goes on without a keyframe, rule 2: longer than the GOPs of smart codecs, 10 to 20 s."""

HEARD_WITHIN_90K = CLOCK_RATE
"""How long a segment's first frames wait for sound, rule 5."""

HELD_MAX_BYTES = 32 * 1024 * 1024
"""Frames that wait for sound."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What is on disk after a batch. ``error``: why nothing can be written at present."""

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
        """The numbers of the segment after the camera's newest one."""
        return cls(newest.sequence + newest.hls_segments, newest.discontinuities + 1) if newest else cls()


def segment_end_reason(
    segment: Segment, info: StreamInfo, base_dts_90k: int, packet: Packet, lost: int, every_90k: int
) -> EndReason | None:
    """Why this video packet begins a new segment, or ``None`` if it does not; the module's rules 1 to 3."""
    if packet.run != segment.run:
        return EndReason.CAMERA_RESTARTED
    if packet.info is not info and packet.info != info:
        return EndReason.STREAM_CHANGED
    if lost:
        return EndReason.PACKETS_LOST
    boundary_90k = segment.start_90k // every_90k * every_90k + every_90k
    expected_90k = segment.start_90k + packet.dts_90k - base_dts_90k
    if not packet.is_keyframe:
        # By media time: a clock that steps ahead must not cut a GOP.
        return EndReason.BOUNDARY if expected_90k >= boundary_90k + GRACE_90K else None
    if abs(packet.captured_at_90k - expected_90k) > CLOCK_STEP_90K:
        return EndReason.CLOCK_STEPPED
    return EndReason.BOUNDARY if packet.captured_at_90k >= boundary_90k else None


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
    ) -> None:
        self.camera_id = camera_id
        self.packets_dropped = 0
        """Packets that were not written because the disk failed."""
        self.numbers = SequenceNumbers()
        self._data_dir = data_dir
        self._every_90k = segment_s * CLOCK_RATE
        self._fsync = fsync
        self._check_data_dir = check_data_dir
        self._sync_s = sync_s
        self._clock = clock
        self._writer: SegmentWriter | None = None
        self._info: StreamInfo | None = None
        self._transcoder: AudioTranscoder | None = None
        self._base_dts_90k = 0
        self._closed: list[SegmentWithFragments] = []
        self._error: str | None = None
        self._retry_at_s = float("-inf")
        self._audio_dropped = 0
        self._heard: AudioInfo | None = None
        """The audio that the camera was heard with."""
        self._held: list[tuple[Packet, int]] = []
        """The first frames of a segment, while they wait for sound (rule 5)."""
        self._held_bytes = 0
        self._waited_run: int | None = None
        self._has_audio = False
        self._sound: list[Packet] = []
        """Audio of the open segment to be transcoded, at most :data:`~hls.mp4.audio.BATCH_MAX_PACKETS`."""

    @property
    def audio_packets_dropped(self) -> int:
        """Audio packets that no segment has: from before its first frame, out of order, or broken."""
        return self._audio_dropped + (self._writer.audio_packets_dropped if self._writer is not None else 0)

    def write(self, batch: Sequence[tuple[Packet, int]]) -> WriteResult:
        """Write packets, each with the number of packets lost before it. A failing disk does not raise."""
        for number, (packet, lost) in enumerate(batch, 1):
            try:
                if number == len(batch):
                    # The last packet ends a fragment, which has the sound of its time.
                    self._write_sound()
                self._take(packet, lost)
            except (OSError, StorageError, av.FFmpegError, ValueError) as error:
                self._fail(error)
        return self._result()

    def finish(self, reason: EndReason) -> WriteResult:
        """End the open segment, if there is one."""
        try:
            self._release_held()
            self._close(reason)
        except (OSError, av.FFmpegError, ValueError) as error:
            self._fail(error)
        return self._result()

    def _take(self, packet: Packet, lost: int) -> None:
        """Rule 5: write the packet, or hold it back until it is known whether there is sound."""
        if not packet.is_video and packet.info.audio != self._heard:
            self._heard = packet.info.audio
            self._release_held()
        elif self._held and packet.is_video:
            first = self._held[0][0]
            waited_90k = packet.dts_90k - first.dts_90k
            is_other = lost or packet.run != first.run or packet.info != first.info
            if is_other or waited_90k >= HEARD_WITHIN_90K or self._held_bytes >= HELD_MAX_BYTES:
                self._release_held()
        audio = packet.info.audio
        begins = self._writer is None and packet.is_video and packet.is_keyframe
        if self._held or (begins and audio is not None and audio != self._heard and not self._has_waited(packet)):
            self._held.append((packet, lost))
            self._held_bytes += len(packet.data)
            return
        self._write(packet, lost)

    def _has_waited(self, packet: Packet) -> bool:
        """Whether an earlier segment of this run has waited for sound."""
        return self._waited_run == packet.run

    def _release_held(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        if held:
            self._waited_run = held[0][0].run
        for packet, lost in held:
            self._write(packet, lost)

    def _write(self, packet: Packet, lost: int) -> None:
        writer = self._writer
        if not packet.is_video:
            if writer is None or self._info is None or packet.run != writer.start.run or not self._has_audio:
                return
            if self._transcoder is None:
                writer.write(packet)
                return
            self._sound.append(packet)
            if len(self._sound) >= BATCH_MAX_PACKETS:
                self._write_sound()
            return
        reason: EndReason | None = None
        if writer is not None and self._info is not None:
            reason = segment_end_reason(writer.start, self._info, self._base_dts_90k, packet, lost, self._every_90k)
            if reason is None and packet.is_keyframe and self._is_heard_now(packet.info):
                reason = EndReason.STREAM_CHANGED
            if reason is not None:
                self._close(reason)
        if self._writer is None:
            if reason is EndReason.BOUNDARY:
                # Also without a keyframe (rule 2); players need a sync sample to begin with.
                packet = replace(packet, is_keyframe=True)
            if not packet.is_keyframe or self._clock.monotonic() < self._retry_at_s:
                self.packets_dropped += 1
                return
            self._open(packet, continues=reason is EndReason.BOUNDARY)
        assert self._writer is not None
        self._writer.write(packet)

    def _is_heard_now(self, info: StreamInfo) -> bool:
        """Whether there is sound, and the open segment has no track for it."""
        return info.audio is not None and info.audio == self._heard and not self._has_audio and self._can_carry(info)

    def _can_carry(self, info: StreamInfo) -> bool:
        return fmp4_audio(info.audio) is not None

    def _write_sound(self) -> None:
        """Write the collected sound in a codec that MP4 can have. Broken audio never stops video."""
        sound, self._sound = self._sound, []
        writer, transcoder = self._writer, self._transcoder
        if not sound or writer is None or transcoder is None:
            return
        rate_hz = transcoder.info.sample_rate_hz
        duration_90k = AAC_FRAME * CLOCK_RATE // rate_hz
        for joined, pts_90k in transcoder.joined([(packet.data, packet.pts_90k) for packet in sound]):
            try:
                frames = transcoder.transcode(joined, pts_90k)
            except (av.FFmpegError, ValueError):
                self._audio_dropped += 1
                continue
            for position, data in frames:
                at_90k = position * CLOCK_RATE // rate_hz
                coded = replace(sound[0], data=data, pts_90k=at_90k, dts_90k=at_90k, duration_90k=duration_90k)
                writer.write(coded)

    def _open(self, packet: Packet, *, continues: bool) -> None:
        self._check_data_dir()
        source = packet.info.audio if packet.info.audio == self._heard else None
        written = fmp4_audio(source)
        info = packet.info if written == packet.info.audio else replace(packet.info, audio=written)
        self._transcoder = aac_transcoder(source) if source is not None and written not in (None, source) else None
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
                self._writer = SegmentWriter(path, segment, info, self._fsync, self._sync_s, self._clock)
                break
            except FileExistsError:
                continue
        else:
            raise FileExistsError(f"{NAME_SUFFIX_MAX} segments began within one second")
        self._info = packet.info
        self._has_audio = audio is not None
        self._base_dts_90k = packet.dts_90k
        self._error = None

    def _close(self, reason: EndReason) -> None:
        self._write_sound()
        writer = self._writer
        if writer is None:
            return
        segment = writer.close(reason)
        self._writer = None
        self._add_closed(writer, segment)

    def _fail(self, error: Exception) -> None:
        self.packets_dropped += 1
        reason = error.strerror if isinstance(error, OSError) and error.strerror else redact(error)
        self._error = f"recording has stopped: {reason}"
        log.error(
            "camera %s: %s; next attempt in %.0f s",
            self.camera_id,
            self._error,
            DISK_RETRY_S,
            extra={"camera": self.camera_id},
        )
        self._retry_at_s = self._clock.monotonic() + DISK_RETRY_S
        self._sound.clear()
        writer, self._writer = self._writer, None
        if writer is not None:
            self._add_closed(writer, writer.abandon())

    def _add_closed(self, writer: SegmentWriter, segment: Segment) -> None:
        self._audio_dropped += writer.audio_packets_dropped
        fragments: tuple[Fragment, ...] = tuple(writer.fragments)
        if not fragments:
            return
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
        return WriteResult(growing, closed, self._error)
