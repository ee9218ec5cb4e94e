"""Segmenter: one camera's packets in, parts and segment ends out, each part of a legal length.

Theory of operation. Parts and segments lie on one *media timeline* of 90 kHz without gaps; every run of the camera is
placed after the one before it. A part is a half-open interval of decode time on that line. The end of a frame is the
beginning of the next, so a part is closed when the frame after it arrives. The rules of rfc8216bis for the length of
parts are strict, and cameras are not. So the boundary between two parts is chosen here:

1. A part lasts 85 to 100 % of the part target, except the last one of a segment (§4.4.4.9). It ends at the first frame
   that comes at 85 % or later. If that frame is beyond 100 %, the boundary is placed at 100 %, and the frame *decodes*
   there, earlier than its time stamp. Its presentation time never changes.
2. The decode timeline may so fall behind the frames; each part of fewer frames brings it nearer. A lag of more than one
   part target ends with a discontinuity at the next keyframe.
3. A segment begins with a keyframe and ends before the first keyframe at which it has lasted ``MIN_SEGMENT_S``. If no
   keyframe comes in time, it ends before it would exceed the target duration, and the next one begins without one.
4. A new run or a new StreamInfo is a discontinuity: the segment ends, and the next has its own init segment. So is a
   step of the wall clock, from the next keyframe on: the capture time differs from that of the segment's first frame
   plus media time by more than ``CLOCK_STEP_S``.
5. While no frames come, nothing happens: the timeline waits, and PROGRAM-DATE-TIME tells afterwards how much time has
   passed. Packets that come late continue where the stream stopped. There are no gaps (EXT-X-GAP): hls.js skips them,
   but shaka and video.js request each of them. After an outage of ``FRESH_TARGETS`` target durations the playlist
   begins afresh.
6. Audio is in the same fragments. It is in the init segment only after the first audio packet, because the init segment
   promises it, and :mod:`hls.mp4.audio` keeps the promise. It begins with a segment, after a discontinuity.
7. Packets that cannot be shown (those of a run before its first keyframe) are dropped and counted.

Sans-IO: feed packets and the time, then take the events.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gateway.clock import seconds_90k, to_seconds
from gateway.media import Packet, StreamInfo
from hls.live.counters import LiveCounters
from hls.live.target_duration import MIN_SEGMENT_S, TargetDurations
from hls.mp4.audio import AudioTrack, fmp4_audio
from hls.mp4.fragments import FragmentMuxer, Sample

STALL_S = 1.5
"""After this long without a frame the stream is stalled. A shorter pause is usually the network's."""

FRESH_TARGETS = 3
"""After an outage of so many target durations, what came before it is no live video any more. For so long, requests
wait for the camera (§6.2.5.2)."""

LAG_MAX_S = 3.0
"""A frame further ahead than this, without a stall, is a jump of the camera's clock: a discontinuity."""

CLOCK_STEP_S = 1.0
"""A change of the capture time above this, within a segment, is a step of the wall clock. A smaller one is that of the
network or of NTP, and just changes PROGRAM-DATE-TIME."""

MuxerFactory = Callable[[StreamInfo], FragmentMuxer]


@dataclass(frozen=True, slots=True)
class Part:
    """A partial segment. ``captured_at_90k`` is the capture time of its first frame."""

    muxer: FragmentMuxer
    start_90k: int
    duration_90k: int
    data: bytes | memoryview
    captured_at_90k: int
    is_independent: bool = False
    is_discontinuity: bool = False
    """Whether it follows a discontinuity; only the first part of a segment does."""
    begins_afresh: bool = False
    """Whether it follows a long outage, so that the playlist begins with it."""


@dataclass(frozen=True, slots=True)
class SegmentEnd:
    """The parts since the last one of these make a segment."""


SegmenterEvent = Part | SegmentEnd


class Segmenter:
    """See the module. ``now_s`` is monotonic time everywhere, in seconds."""

    def __init__(
        self,
        targets: TargetDurations,
        counters: LiveCounters | None = None,
        make_muxer: MuxerFactory = FragmentMuxer,
    ) -> None:
        self.targets = targets
        self.has_audio = False
        """Whether any audio was received. Set it if that is known beforehand."""
        self.frame_90k = targets.part_target_90k
        """Duration of the second newest frame."""
        self.longest_gop_90k = 0
        """The longest time without a keyframe."""
        self._counters = counters if counters is not None else LiveCounters()
        self._make_muxer = make_muxer
        self._events: list[SegmenterEvent] = []
        self._muxer: FragmentMuxer | None = None
        self._info: StreamInfo | None = None
        self._audio: AudioTrack | None = None
        self._sequence = 0
        self._run = 0
        self._offset_90k = 0
        self._end_90k = 0
        """Where the last part ended, and the open one begins."""
        self._segment_start_90k = 0
        self._frames: list[Packet] = []
        """The open part."""
        self._is_running = False
        """Whether frames are taken; else the next keyframe begins a run."""
        self._is_discontinuous = False
        self._begins_afresh = False
        self._ends_soon = False
        self._keyframe_90k = 0
        self._skew_90k: int | None = None
        """Capture time minus place on the timeline, of the open segment's first frame."""
        # The newest frame: its place on the timeline, when it came, and when it was captured.
        self._edge_90k = 0
        self._edge_at_s = 0.0
        self._edge_captured_90k = 0

    def feed(self, packet: Packet, now_s: float) -> None:
        """Take the next packet."""
        if not packet.is_video:
            self.has_audio = True
            if self._audio is not None and packet.run == self._run and self._is_running:
                self._audio.feed(packet)
            return
        if self._is_running and self._is_discontinuity(packet):
            self._stop()
        if not self._is_running:
            if not packet.is_keyframe:
                self._counters.packets_dropped += 1
                return
            self._start(packet, now_s)
        else:
            self._close_part_before(packet)
        self._frames.append(packet)
        self._edge_90k = packet.dts_90k + self._offset_90k
        if self._skew_90k is None:
            self._skew_90k = packet.captured_at_90k - self._edge_90k
        if packet.is_keyframe:
            self._keyframe_90k = self._edge_90k
        self.longest_gop_90k = max(self.longest_gop_90k, self._edge_90k - self._keyframe_90k)
        self._edge_at_s = now_s
        self._edge_captured_90k = packet.captured_at_90k

    def take_events(self) -> Sequence[SegmenterEvent]:
        """The events since the last call, in order."""
        if not self._events:
            return ()
        events, self._events = self._events, []
        return events

    @property
    def is_interrupted(self) -> bool:
        """Whether there is no part yet since the camera was lost or changed."""
        return not self._is_running or self._is_discontinuous

    @property
    def stalls_at_s(self) -> float:
        """When the stream counts as stalled. A camera of a frame a second is not stalled between two frames."""
        return self._edge_at_s + max(STALL_S, 2.5 * to_seconds(self.targets.part_target_90k))

    def end_segment_soon(self) -> None:
        """End the open segment with its next part, because a player needs a complete segment to begin with."""
        self._ends_soon = True

    # --- frames

    def _close_part_before(self, packet: Packet) -> None:
        """Close the open part before ``packet`` if it is long enough."""
        target_90k = self.targets.part_target_90k
        at_90k = packet.dts_90k + self._offset_90k
        self.frame_90k = at_90k - self._edge_90k
        boundary_90k = min(at_90k, self._end_90k + target_90k)
        if packet.is_keyframe and at_90k - self._segment_start_90k >= seconds_90k(MIN_SEGMENT_S):
            self._close_part(boundary_90k)
            self._end_segment()
        elif at_90k - self._end_90k >= self.targets.part_min_90k:
            self._close_part(boundary_90k)
            duration_90k = self._end_90k - self._segment_start_90k
            if self._ends_soon or duration_90k + target_90k > self.targets.segment_max_90k:
                self._end_segment()

    def _close_part(self, boundary_90k: int) -> None:
        assert self._muxer is not None
        frames, self._frames = self._frames, []
        start_90k, self._end_90k = self._end_90k, boundary_90k
        starts = [start_90k, *(frame.dts_90k + self._offset_90k for frame in frames[1:])]
        ends = [*starts[1:], boundary_90k]
        video = [
            Sample(
                frame.data,
                at_90k,
                frame.pts_90k + self._offset_90k,
                end_90k - at_90k,
                frame.is_keyframe,
                frame.info.video.has_changing_sets,
            )
            for frame, at_90k, end_90k in zip(frames, starts, ends, strict=True)
        ]
        audio = self._audio.take(boundary_90k) if self._audio is not None else ()
        self._sequence += 1
        part = Part(
            muxer=self._muxer,
            start_90k=start_90k,
            duration_90k=boundary_90k - start_90k,
            data=self._muxer.fragment(video, audio, self._sequence),
            captured_at_90k=frames[0].captured_at_90k,
            is_independent=any(frame.is_keyframe for frame in frames),
            is_discontinuity=self._is_discontinuous,
            begins_afresh=self._begins_afresh,
        )
        self._is_discontinuous = self._begins_afresh = False
        self._events.append(part)

    def _end_segment(self) -> None:
        if self._end_90k > self._segment_start_90k:
            self._events.append(SegmentEnd())
        self._segment_start_90k = self._end_90k
        self._skew_90k = None
        self._ends_soon = False

    # --- discontinuities

    def _is_discontinuity(self, packet: Packet) -> bool:
        assert self._muxer is not None
        is_jump = packet.dts_90k + self._offset_90k - self._edge_90k > seconds_90k(LAG_MAX_S)
        is_change = packet.info is not self._info and packet.info != self._info
        is_first_audio = packet.is_keyframe and self.has_audio and self._audio is None
        if packet.run != self._run or is_jump or is_change or self._is_clock_step(packet) or self._is_behind(packet):
            return True
        return is_first_audio and self._can_carry_audio(packet)

    def _is_clock_step(self, packet: Packet) -> bool:
        if not packet.is_keyframe or self._skew_90k is None:
            return False
        skew_90k = packet.captured_at_90k - packet.dts_90k - self._offset_90k
        return abs(skew_90k - self._skew_90k) > seconds_90k(CLOCK_STEP_S)

    def _is_behind(self, packet: Packet) -> bool:
        """Rule 2. The open part takes up to one part target of the distance."""
        at_90k = packet.dts_90k + self._offset_90k
        return packet.is_keyframe and at_90k - self._end_90k > 2 * self.targets.part_target_90k

    def _can_carry_audio(self, packet: Packet) -> bool:
        return fmp4_audio(packet.info.audio) is not None

    def _stop(self) -> None:
        """End the segment. The last frame gets the usual duration, if the part target permits it."""
        self._close_part(min(self._edge_90k + self.frame_90k, self._end_90k + self.targets.part_target_90k))
        self._end_segment()
        self._is_running = False

    def _start(self, keyframe: Packet, now_s: float) -> None:
        """Place the first frame of a run on the timeline, after what came before."""
        if self._muxer is not None:
            self._is_discontinuous = True
            self._begins_afresh = now_s - self._edge_at_s > FRESH_TARGETS * self.targets.target_duration_s
            if self._begins_afresh:
                self.end_segment_soon()
        self._run = keyframe.run
        self._offset_90k = self._end_90k - keyframe.dts_90k
        self._info = info = keyframe.info
        self._audio = None
        if info.audio is not None and self.has_audio and self._can_carry_audio(keyframe):
            self._audio = AudioTrack(info.audio, self._end_90k, self._offset_90k, self._counters.audio)
        muxed = replace(info, audio=self._audio.info if self._audio is not None else None)
        if self._muxer is None or self._muxer.info != muxed:
            self._muxer = self._make_muxer(muxed)
        self._is_running = True
