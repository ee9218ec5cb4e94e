"""PartCutter: one camera's packets in, parts out, each of a legal length.

Theory of operation. Parts and segments lie on one *media timeline* of 90 kHz without holes, on which every run of the
camera is laid after the one before it. A part is a half-open interval of decode time on that line; since the end of a
frame is the beginning of the next, a part is cut when the frame after it arrives. The rules of rfc8216bis for the
length of parts are strict, and cameras are not; so the boundary between two parts is chosen here:

1. A part lasts 85 to 100 % of the part target, but for the last one of a segment and those beside a gap (§4.4.4.9). It
   is cut at the first frame that comes at 85 % or later. Where that frame is beyond 100 %, the boundary is put at 100 %
   and the frame *decodes* there, before its time. Its presentation time is never touched.
2. The decode timeline may so fall behind the frames; each part of fewer frames brings it nearer. A lag of more than one
   part target is settled at the next segment, by a gap before its keyframe.
3. A segment begins with a keyframe and ends before the first keyframe at which it has lasted ``MIN_SEGMENT_S``. Where
   no keyframe comes in time, it ends before it would outgrow the target duration, and the next one begins without.
4. A new run or a new StreamInfo is a discontinuity: the segment ends, and the next has its own init segment.
5. Silence of ``SILENCE_S`` ends the segment; from there to the next keyframe there are gap parts, published as they
   fall due. Shorter silence is a network's, and its packets are still to come: they are worth more than a punctual gap.
6. Audio lies in the same fragments, and is in the init segment only once any was heard; then its presence is promised,
   and :mod:`hls.mp4.audio` keeps the promise. It begins with a segment, after a discontinuity.
7. Whatever cannot be shown (before the first keyframe, after a gap) is dropped and counted.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from gateway.clock import CLOCK_RATE, seconds_90k, to_seconds
from gateway.media import Packet, StreamInfo
from hls.live.target_duration import MIN_SEGMENT_S, LivePlan
from hls.mp4.audio import AudioTrack, carried_audio
from hls.mp4.fragments import FragmentMuxer, Sample

SILENCE_S = 1.5
"""After this much silence the playlist says so. Shorter than any target duration, within which a segment must come."""

GAP_SEGMENT_S = 2.0
"""How long a segment of silence is. The same for all target durations, none of which is smaller."""

LAG_MAX_S = 3.0
"""A frame further ahead than this, though no silence was heard, is a jump of the camera's clock: a discontinuity."""

GAP_MAX_S = 30.0
"""A longer outage is told by PROGRAM-DATE-TIME alone: a gap as long as the window leaves nothing else in it."""

MuxerFactory = Callable[[StreamInfo], FragmentMuxer]


@dataclass(frozen=True, slots=True)
class Part:
    """A partial segment. ``data`` is empty for a gap. ``captured_at_90k`` is when its first frame was made."""

    muxer: FragmentMuxer
    start_90k: int
    duration_90k: int
    data: bytes
    captured_at_90k: int
    is_independent: bool = False
    is_discontinuity: bool = False
    """Whether it follows a discontinuity; only the first part of a segment does."""

    @property
    def is_gap(self) -> bool:
        return not self.data


class PartSink(Protocol):
    """Where parts go."""

    def add_part(self, part: Part) -> None:
        """The next part is whole."""
        ...

    def end_segment(self) -> None:
        """The parts since the last call make a segment."""
        ...


class PartCutter:
    """See the module. ``now_s`` is monotonic time everywhere, in seconds."""

    def __init__(self, plan: LivePlan, sink: PartSink, make_muxer: MuxerFactory = FragmentMuxer) -> None:
        self.plan = plan
        self.packets_dropped = 0
        self._sink = sink
        self._make_muxer = make_muxer
        self.hears_audio = False
        """Whether any audio has come. Set it where that is known beforehand."""
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
        """The open part; not empty but in silence."""
        self.is_silent = True
        self._is_discontinuous = False
        self._ends_soon = False
        self.frame_90k = plan.part_target_90k
        """How long the newest frame but one lasted."""
        self.longest_gop_90k = 0
        """The longest that went without a keyframe."""
        self._keyframe_90k = 0
        # Where the newest frame lies on the timeline, and when it came.
        self._edge_90k = 0
        self._edge_at_s = 0.0
        self._edge_captured_90k = 0

    def feed(self, packet: Packet, now_s: float) -> None:
        """Take the next packet."""
        if not packet.is_video:
            self.hears_audio = True
            if self._audio is not None and packet.run == self._run and not self.is_silent:
                self._audio.feed(packet)
            return
        self.advance(now_s)
        if not self.is_silent and self._is_break(packet):
            self._break_off()
        if self.is_silent:
            if not packet.is_keyframe:
                self.packets_dropped += 1
                return
            self._resume(packet, now_s)
        else:
            self._cut(packet)
        self._frames.append(packet)
        self._edge_90k = packet.dts_90k + self._offset_90k
        if packet.is_keyframe:
            self._keyframe_90k = self._edge_90k
        self.longest_gop_90k = max(self.longest_gop_90k, self._edge_90k - self._keyframe_90k)
        self._edge_at_s = now_s
        self._edge_captured_90k = packet.captured_at_90k

    def advance(self, now_s: float) -> None:
        """Let time pass: silence makes gap parts due."""
        if self._muxer is None:
            return
        if not self.is_silent and now_s >= self._silent_at_s:
            self._break_off()
        if self.is_silent:
            until_90k = self._at_90k(now_s)
            self._fill_gap(until_90k - (until_90k - self._end_90k) % self.plan.part_target_90k)

    @property
    def due_s(self) -> float:
        """When :meth:`advance` has something to do, unless a packet comes before."""
        if self._muxer is None:
            return float("inf")
        if not self.is_silent:
            return self._silent_at_s
        return self._edge_at_s + (self._end_90k + self.plan.part_target_90k - self._edge_90k) / CLOCK_RATE

    def end_segment_soon(self) -> None:
        """End the open segment with its next part: a player wants a whole segment to begin with."""
        self._ends_soon = True

    # --- frames

    def _cut(self, packet: Packet) -> None:
        """Close the open part before ``packet``, where it is time to."""
        target_90k = self.plan.part_target_90k
        at_90k = packet.dts_90k + self._offset_90k
        self.frame_90k = at_90k - self._edge_90k
        boundary_90k = min(at_90k, self._end_90k + target_90k)
        if packet.is_keyframe and at_90k - self._segment_start_90k >= seconds_90k(MIN_SEGMENT_S):
            self._close_part(boundary_90k)
            self._end_segment()
            if at_90k - self._end_90k > target_90k:
                self._fill_gap(at_90k)
                self._end_segment()
        elif at_90k - self._end_90k >= self.plan.part_min_90k:
            self._close_part(boundary_90k)
            lasts_90k = self._end_90k - self._segment_start_90k
            if self._ends_soon or lasts_90k + target_90k > self.plan.target_duration_90k:
                self._end_segment()

    def _close_part(self, boundary_90k: int) -> None:
        assert self._muxer is not None
        frames, self._frames = self._frames, []
        start_90k, self._end_90k = self._end_90k, boundary_90k
        starts = [start_90k, *(frame.dts_90k + self._offset_90k for frame in frames[1:])]
        ends = [*starts[1:], boundary_90k]
        video = [
            Sample(frame.data, at_90k, frame.pts_90k + self._offset_90k, end_90k - at_90k, frame.is_keyframe)
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
        )
        self._is_discontinuous = False
        self._sink.add_part(part)

    def _end_segment(self) -> None:
        if self._end_90k > self._segment_start_90k:
            self._sink.end_segment()
        self._segment_start_90k = self._end_90k
        self._ends_soon = False

    # --- breaks and silence

    def _is_break(self, packet: Packet) -> bool:
        assert self._muxer is not None
        is_jump = packet.dts_90k + self._offset_90k - self._edge_90k > seconds_90k(LAG_MAX_S)
        is_change = packet.info is not self._info and packet.info != self._info
        is_first_audio = packet.is_keyframe and self.hears_audio and self._audio is None
        return packet.run != self._run or is_jump or is_change or (is_first_audio and self._can_carry(packet))

    def _can_carry(self, packet: Packet) -> bool:
        return carried_audio(packet.info.audio) is not None

    def _break_off(self) -> None:
        """What follows does not continue what was. The last frame lasts as long as frames do, if there is room."""
        self._close_part(min(self._edge_90k + self.frame_90k, self._end_90k + self.plan.part_target_90k))
        self._end_segment()
        self.is_silent = True

    def _resume(self, keyframe: Packet, now_s: float) -> None:
        """Lay the first frame of a run, or after silence, on the timeline."""
        if self._muxer is not None:
            at_90k = self._at_90k(now_s)
            if at_90k - self._end_90k > self.plan.part_target_90k or self._end_90k > self._segment_start_90k:
                self._fill_gap(at_90k)
            self._end_segment()
            self._is_discontinuous = True
        self._run = keyframe.run
        self._offset_90k = self._end_90k - keyframe.dts_90k
        self._info = info = keyframe.info
        self._audio = None
        if info.audio is not None and self.hears_audio and self._can_carry(keyframe):
            self._audio = AudioTrack(info.audio, self._end_90k, self._offset_90k)
        carried = replace(info, audio=self._audio.info if self._audio is not None else None)
        if self._muxer is None or self._muxer.info != carried:
            self._muxer = self._make_muxer(carried)
        self.is_silent = False

    @property
    def _silent_at_s(self) -> float:
        """When it is silence. A camera of a frame a second is not silent between two of them."""
        return self._edge_at_s + max(SILENCE_S, 2.5 * to_seconds(self.plan.part_target_90k))

    def _at_90k(self, now_s: float) -> int:
        """The point of the timeline that would be the newest frame's, had the camera gone on."""
        return self._edge_90k + seconds_90k(now_s - self._edge_at_s)

    def _fill_gap(self, until_90k: int) -> None:
        """Gap parts from the end of the last part up to ``until_90k``."""
        assert self._muxer is not None
        skipped_90k = until_90k - seconds_90k(GAP_MAX_S) - self._end_90k
        if skipped_90k > 0:
            self._end_segment()
            self._end_90k += skipped_90k
            self._segment_start_90k = self._end_90k
        while self._end_90k < until_90k:
            start_90k = self._end_90k
            self._end_90k = min(start_90k + self.plan.part_target_90k, until_90k)
            captured_at_90k = self._edge_captured_90k + start_90k - self._edge_90k
            self._sink.add_part(Part(self._muxer, start_90k, self._end_90k - start_90k, b"", captured_at_90k))
            lasts_90k = self._end_90k - self._segment_start_90k
            if lasts_90k + self.plan.part_target_90k > seconds_90k(GAP_SEGMENT_S):
                self._end_segment()
