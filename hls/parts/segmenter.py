"""Segmenter: one camera's packets in, parts and segment ends out, each part of a legal length.

Theory of operation. Parts and segments lie on one *media timeline* of 90 kHz without gaps; every run of the camera is
placed after the one before it. A part is a half-open interval of decode time on that line. The end of a frame is the
beginning of the next, so a part is closed when the frame after it arrives. The rules of rfc8216bis for the length of
parts are strict, and cameras are not. So the boundary between two parts is chosen here:

1. A part lasts 85 to 100 % of the part target, except the last one of a segment (§4.4.4.9). It ends at the first frame
   that comes at 85 % or later. If that frame is beyond 100 %, the boundary is placed at 100 %, and the frame *decodes*
   there, earlier than its time stamp. Its presentation time never changes.
2. The decode timeline may so fall behind the frames, by as long as pictures were lost for example. The parts after that
   have one frame each, until it has caught up: that takes a fifth of the time at 25 frames a second. If the lag grows
   from keyframe to keyframe, or if ``LONG_FRAMES`` in a row were longer than the part target, the camera has become
   slower than its parts, at night or because it loses most of its pictures. Then segments are *whole* (§6.2.1 demands
   parts of nobody): their parts end where frames do, and are not listed, and they end after ``WHOLE_SEGMENT_S``. A
   segment with listed parts begins again after ``SHORT_FRAMES``. What not even segments of one frame make up for is a
   discontinuity at the next keyframe, and so is a gap of more than ``GAP_MAX_S``.
3. A segment begins with a keyframe and ends before the first keyframe at which it has lasted ``MIN_SEGMENT_S``. If no
   keyframe comes in time, it ends before it would exceed the target duration, and the next one begins without one. That
   one ends before the next keyframe, so that no keyframe of a long GOP is in the middle of a part.
4. A new run or a new StreamInfo is a discontinuity: the segment ends, and the next has its own init segment. So is a
   step of the wall clock, from the next keyframe on: the capture time differs from that of the segment's first frame
   plus media time by more than ``CLOCK_STEP_S``, or has fallen by more than ``BEGINNING_FALL_90K`` in the
   first seconds.
5. While no frames come, nothing happens: the timeline waits, and PROGRAM-DATE-TIME tells afterwards how much time has
   passed. Packets that come late continue where the stream stopped. There are no gaps (EXT-X-GAP): hls.js skips them,
   but shaka and video.js request each of them. After an outage of ``FRESH_TARGETS`` target durations the playlist
   begins afresh.
6. Audio is in the same fragments. It is in the init segment only if audio was received, because the init segment
   promises it, and :mod:`hls.mp4.audio` keeps the promise. What is received during the first part of a run begins with
   that part. What comes later begins with a segment, after a discontinuity.
7. Packets that cannot be shown (those of a run before its first keyframe) are dropped and counted.

Sans-IO: feed packets and the time, then take the events.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.clock import CLOCK_RATE, seconds_90k, to_seconds
from gateway.media import Packet, StreamInfo
from hls.mp4.audio import AudioTrack, fmp4_audio
from hls.mp4.fragments import FragmentMuxer, FragmentTrack, Sample, fragment
from hls.parts.counters import PartCounters
from hls.parts.part import Part, PartSamples, SegmentEnd
from hls.parts.target_duration import MIN_SEGMENT_S, TargetDurations
from hls.parts.timeline_end import TimelineEnd

STALL_S = 1.5
"""After this long without a frame the stream is stalled. A shorter pause is usually the network's."""

LONG_FRAMES = 2
"""A single one is that before frames that were lost. After two, and a lag of a part target, there are more to come."""

SHORT_FRAMES = 5
"""So many in a row of at most the part target: the camera is as fast again as when it was measured."""

FRESH_TARGETS = 3
"""After an outage of so many target durations, what came before it is no live video any more. For so long, requests
wait for the camera (§6.2.5.2)."""

WHOLE_SEGMENT_S = 2.0
"""A whole segment ends after that, also without a keyframe: there are no parts to tell players what is new."""

BEHIND_SEGMENTS = 3
"""A lag of fewer segments is caught up: segments of one frame last longer than the frame."""

GAP_MAX_S = 15.0
"""A keyframe after a longer gap is a discontinuity. Pictures are missing for less where one was lost: engines wait 12 s
for the next keyframe."""

CLOCK_STEP_S = 1.0
"""A change of the capture time above this, within a segment, is a step of the wall clock. A smaller one is that of the
network or of NTP, and just changes PROGRAM-DATE-TIME."""

SOUND_WAIT_90K = 6 * CLOCK_RATE // 5
"""How long the beginning of a run waits for sound that is declared and was never heard, so that it need not begin anew
with sound. Some cameras send a packet of it only every second."""

BEGINNING_90K = 15 * CLOCK_RATE
BEGINNING_FALL_90K = 12 * CLOCK_RATE
"""In the beginning of a run, capture times fall by so much without a step of the clock: those of a camera that sends
pictures in bursts, or first what it has kept since its last keyframe, are only known when one came late."""

MuxerFactory = Callable[[StreamInfo], FragmentMuxer]


SegmenterEvent = Part | SegmentEnd


class Segmenter:
    """See the module. ``now_s`` is monotonic time everywhere, in seconds.

    With ``for_recording`` no playlist has the parts. They end where their frames do, the first frame need not be a
    keyframe, and the first part of a run lasts :data:`SOUND_WAIT_90K` if sound is declared and not heard. ``is_heard``
    as in :class:`~hls.mp4.audio.AudioTrack`. ``after`` is the timeline that it continues, with a discontinuity.
    """

    def __init__(
        self,
        targets: TargetDurations,
        counters: PartCounters | None = None,
        make_muxer: MuxerFactory = FragmentMuxer,
        *,
        for_recording: bool = False,
        is_heard: Callable[[], bool] = lambda: True,
        after: TimelineEnd | None = None,
    ) -> None:
        self.targets = targets
        self.on_samples: Callable[[PartSamples], None] | None = None
        """Gets the samples of each part, as soon as the part is complete."""
        self.has_audio = False
        """Whether any audio was received. Set it if that is known beforehand."""
        self.frame_90k = targets.part_target_90k
        """Duration of the second newest frame."""
        self.longest_gop_90k = 0
        """The longest time without a keyframe."""
        self.longest_whole_gop_90k = 0
        """The longest time from one keyframe to the next."""
        self._counters = counters if counters is not None else PartCounters()
        self._is_heard = is_heard
        self._for_recording = self._joins = for_recording
        self._make_muxer = make_muxer
        self._events: list[SegmenterEvent] = []
        self._muxer: FragmentMuxer | None = None
        self._info: StreamInfo | None = None
        self._audio: AudioTrack | None = None
        self._sequence = 0
        self._run = 0
        self._offset_90k = 0
        self._follows = after is not None
        self._end_90k = after.end_90k if after is not None else 0
        """Where the last part ended, and the open one begins."""
        self._segment_start_90k = self._end_90k
        self._frames: list[Packet] = []
        """The open part."""
        self._is_running = False
        """Whether frames are taken; else the next keyframe begins a run."""
        self._is_opening = False
        """Whether the open part is the first of a run, so that audio may still begin with it."""
        self._begins_with_keyframe = True
        """Whether the open segment does."""
        self._is_discontinuous = False
        self._begins_afresh = False
        self._ends_soon = False
        self._has_whole_segments = False
        """Whether the parts of the open segment are not listed."""
        self._long_frames = self._short_frames = 0
        """Frames in a row that were longer than the part target, or not."""
        self._lag_90k = 0
        """By how much the newest frame decodes earlier than it should, if a part begins with it."""
        self._keyframe_lag_90k = 0
        """The lag of the part before the newest keyframe."""
        self._keyframe_90k = 0
        self._skew_90k: int | None = None
        """Capture time minus place on the timeline, of the open segment's first frame."""
        # The newest frame: its place on the timeline, when it came, and when it was captured.
        self._edge_90k = self._end_90k
        self._edge_at_s = after.at_s if after is not None else 0.0
        self._edge_captured_90k = 0

    def feed(self, packet: Packet, now_s: float) -> None:
        """Take the next packet."""
        if not packet.is_video:
            self._feed_audio(packet)
            return
        if self._is_running and packet.run == self._run:
            self._note_frame(packet.dts_90k + self._offset_90k - self._edge_90k)
        if self._is_running and self._is_discontinuity(packet):
            self._stop()
        if not self._is_running:
            if not packet.is_keyframe and not self._joins:
                self._counters.packets_dropped += 1
                return
            self._joins = False
            self._start(packet, now_s)
        else:
            self._close_part_before(packet)
            if packet.is_keyframe:
                gop_90k = packet.dts_90k + self._offset_90k - self._keyframe_90k
                self.longest_whole_gop_90k = max(self.longest_whole_gop_90k, gop_90k)
        self._frames.append(packet)
        self._edge_90k = packet.dts_90k + self._offset_90k
        if self._skew_90k is None:
            self._begins_with_keyframe = packet.is_keyframe
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
    def end(self) -> TimelineEnd:
        """Where the last part ended."""
        return TimelineEnd(self._end_90k, self._edge_at_s)

    @property
    def is_running(self) -> bool:
        """Whether frames are taken without a keyframe before them."""
        return self._is_running

    def begins_with(self, packet: Packet) -> bool:
        """Whether the open part does, and with a keyframe."""
        return packet.is_keyframe and bool(self._frames) and self._frames[0] is packet

    def open_samples(self) -> PartSamples | None:
        """The frames of the open part, which stays as it is; ``None`` if there is none."""
        if not self._frames or not self._is_running:
            return None
        end_90k = self._edge_90k + self.frame_90k
        video = self._video(self._frames, self._end_90k, end_90k)
        audio = self._audio.waiting(end_90k) if self._audio is not None else ()
        return self._samples(self._frames, self._part_muxer().tracks(video, audio), None)

    def end_run(self, following: Packet | None = None) -> None:
        """End part and segment. ``following``: the camera's next packet, if another segmenter has it."""
        if not self._is_running:
            return
        follows = following is not None and following.is_video and following.run == self._run
        self._stop(following.dts_90k if following is not None and follows else None)

    @property
    def is_interrupted(self) -> bool:
        """Whether there is no part yet since the camera was lost or changed."""
        return not self._is_running or self._is_discontinuous

    @property
    def stalls_at_s(self) -> float:
        """When the stream counts as stalled. A camera of a frame a second is not stalled between two frames."""
        longest_90k = max(self.targets.part_target_90k, self.frame_90k if self._has_whole_segments else 0)
        return self._edge_at_s + max(STALL_S, 2.5 * to_seconds(longest_90k))

    @property
    def lists_parts(self) -> bool:
        """Whether the next part will be listed; else only its segment is: rule 2."""
        return not self._has_whole_segments

    def end_segment_soon(self) -> None:
        """End the open segment with its next part, because a player needs a complete segment to begin with."""
        self._ends_soon = True

    # --- frames

    def _close_part_before(self, packet: Packet) -> None:
        """Close the open part before ``packet`` if it is long enough."""
        target_90k = self.targets.part_target_90k
        at_90k = packet.dts_90k + self._offset_90k
        self.frame_90k = at_90k - self._edge_90k
        boundary_90k = self._boundary_90k(at_90k)
        self._lag_90k = at_90k - boundary_90k
        if self._is_too_slow(at_90k, packet):
            self._close_part(boundary_90k, packet.dts_90k)
            self._end_segment()
            self._has_whole_segments = True
            return
        if self._waits_for_sound() and at_90k - self._end_90k < SOUND_WAIT_90K:
            return
        is_long_enough = at_90k - self._segment_start_90k >= seconds_90k(MIN_SEGMENT_S)
        if packet.is_keyframe and (is_long_enough or not self._begins_with_keyframe):
            self._close_part(boundary_90k, packet.dts_90k)
            self._end_segment()
        elif at_90k - self._end_90k >= self.targets.part_min_90k:
            self._close_part(boundary_90k, packet.dts_90k)
            duration_90k = self._end_90k - self._segment_start_90k
            next_90k = max(target_90k, self.frame_90k) if self._has_whole_segments else target_90k
            is_whole = self._has_whole_segments and duration_90k >= seconds_90k(WHOLE_SEGMENT_S)
            if self._ends_soon or is_whole or duration_90k + next_90k > self.targets.segment_max_90k:
                self._end_segment()

    def _boundary_90k(self, at_90k: int) -> int:
        """Where the open part ends before a frame at ``at_90k``: rule 1."""
        if self._for_recording:
            return at_90k
        if self._has_whole_segments:
            return min(at_90k, self._segment_start_90k + self.targets.segment_max_90k)
        return min(at_90k, self._end_90k + self.targets.part_target_90k)

    def _note_frame(self, duration_90k: int) -> None:
        is_long = duration_90k > self.targets.part_target_90k
        self._long_frames = self._long_frames + 1 if is_long else 0
        self._short_frames = 0 if is_long else self._short_frames + 1

    def _is_too_slow(self, at_90k: int, packet: Packet) -> bool:
        """Whether a segment must be whole from ``packet`` at ``at_90k`` on: rule 2."""
        if self._for_recording or self._has_whole_segments:
            return False
        limit_90k = 2 * self.targets.part_target_90k
        if packet.is_keyframe:
            before_90k, self._keyframe_lag_90k = self._keyframe_lag_90k, self._open_lag_90k
            if self._keyframe_lag_90k >= before_90k > limit_90k:
                return True
        return self._long_frames >= LONG_FRAMES and at_90k - self._end_90k > limit_90k

    @property
    def _open_lag_90k(self) -> int:
        """By how much the open part begins earlier than its first frame."""
        return self._frames[0].dts_90k + self._offset_90k - self._end_90k

    def _close_part(self, boundary_90k: int, next_dts_90k: int | None) -> None:
        frames, self._frames = self._frames, []
        start_90k, self._end_90k = self._end_90k, boundary_90k
        self._muxer = muxer = self._part_muxer()
        self._is_opening = False
        audio = self._audio.take(boundary_90k) if self._audio is not None else ()
        tracks = muxer.tracks(self._video(frames, start_90k, boundary_90k), audio)
        self._sequence += 1
        part = Part(
            muxer=muxer,
            start_90k=start_90k,
            duration_90k=boundary_90k - start_90k,
            data=fragment(tracks, self._sequence),
            captured_at_90k=frames[0].captured_at_90k - (frames[0].dts_90k + self._offset_90k - start_90k),
            is_independent=any(frame.is_keyframe for frame in frames),
            is_discontinuity=self._is_discontinuous,
            is_listed=not self._has_whole_segments,
            begins_afresh=self._begins_afresh,
        )
        self._is_discontinuous = self._begins_afresh = False
        self._events.append(part)
        if self.on_samples is not None:
            self.on_samples(self._samples(frames, tracks, next_dts_90k))

    def _part_muxer(self) -> FragmentMuxer:
        """The muxer of the open part. That of a run's first part is made when the part is complete."""
        if not self._is_opening and self._muxer is not None:
            return self._muxer
        assert self._info is not None
        muxed = replace(self._info, audio=self._audio.info if self._audio is not None else None)
        return self._muxer if self._muxer is not None and self._muxer.info == muxed else self._make_muxer(muxed)

    def _video(self, frames: Sequence[Packet], start_90k: int, end_90k: int) -> list[Sample]:
        """The frames of a part as samples on the timeline, each up to the next one."""
        starts = [start_90k, *(frame.dts_90k + self._offset_90k for frame in frames[1:])]
        ends = [*starts[1:], end_90k]
        return [
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

    def _samples(
        self, frames: Sequence[Packet], tracks: Sequence[FragmentTrack], next_dts_90k: int | None
    ) -> PartSamples:
        first, last = frames[0], frames[-1]
        return PartSamples(
            run=self._run,
            info=self._part_muxer().info,
            dts_90k=first.dts_90k,
            end_90k=next_dts_90k if next_dts_90k is not None else last.dts_90k + (last.duration_90k or self.frame_90k),
            captured_at_90k=first.captured_at_90k,
            is_keyframe=first.is_keyframe,
            tracks=tracks,
            offset_90k=self._offset_90k,
            audio_offset=self._audio.offset if self._audio is not None else 0,
        )

    def _end_segment(self) -> None:
        if self._end_90k > self._segment_start_90k:
            self._events.append(SegmentEnd())
        self._segment_start_90k = self._end_90k
        self._skew_90k = None
        self._ends_soon = False
        if self._short_frames >= SHORT_FRAMES and self._lag_90k <= self.targets.part_target_90k:
            self._has_whole_segments = False

    # --- discontinuities

    def _is_discontinuity(self, packet: Packet) -> bool:
        is_change = packet.info is not self._info and packet.info != self._info
        is_first_audio = packet.is_keyframe and self.has_audio and self._audio is None
        if packet.run != self._run or is_change or self._is_clock_step(packet) or self._is_behind(packet):
            return True
        return is_first_audio and self._can_carry_audio(packet)

    def _is_clock_step(self, packet: Packet) -> bool:
        if not packet.is_keyframe or self._skew_90k is None:
            return False
        step_90k = packet.captured_at_90k - packet.dts_90k - self._offset_90k - self._skew_90k
        fall_90k = BEGINNING_FALL_90K if packet.dts_90k < BEGINNING_90K else seconds_90k(CLOCK_STEP_S)
        return not -fall_90k <= step_90k <= seconds_90k(CLOCK_STEP_S)

    def _is_behind(self, packet: Packet) -> bool:
        """Rule 2."""
        if not packet.is_keyframe:
            return False
        if packet.dts_90k + self._offset_90k - self._edge_90k > seconds_90k(GAP_MAX_S):
            return True
        return self._has_whole_segments and self._open_lag_90k > BEHIND_SEGMENTS * self.targets.segment_max_90k

    def _can_carry_audio(self, packet: Packet) -> bool:
        return fmp4_audio(packet.info.audio) is not None

    def _stop(self, next_dts_90k: int | None = None) -> None:
        """End the segment. The last frame gets the usual duration, if the part target permits it."""
        self._close_part(self._boundary_90k(self._edge_90k + self.frame_90k), next_dts_90k)
        self._end_segment()
        self._is_running = False

    def _start(self, keyframe: Packet, now_s: float) -> None:
        """Place the first frame of a run on the timeline, after what came before."""
        if self._muxer is not None or self._follows:
            self._is_discontinuous = True
            self._begins_afresh = now_s - self._edge_at_s > FRESH_TARGETS * self.targets.target_duration_s
            if self._begins_afresh:
                self.end_segment_soon()
        self._run = keyframe.run
        self._offset_90k = self._end_90k - keyframe.dts_90k
        self._info = keyframe.info
        self._audio = None
        self._is_opening = self._is_running = True
        if self.has_audio and self._can_carry_audio(keyframe):
            self._begin_audio()

    def _feed_audio(self, packet: Packet) -> None:
        self.has_audio = True
        if packet.run != self._run or not self._is_running:
            return
        if self._audio is None and self._is_opening and self._can_carry_audio(packet):
            self._begin_audio()
        if self._audio is not None:
            self._audio.feed(packet)

    def _waits_for_sound(self) -> bool:
        has_silent_track = self._info is not None and self._info.audio is not None and self._audio is None
        return self._for_recording and self._is_opening and has_silent_track

    def _begin_audio(self) -> None:
        """Have audio in the run, from the open part on, which is the first one."""
        assert self._info is not None
        if self._info.audio is not None:
            self._audio = AudioTrack(
                self._info.audio, self._end_90k, self._offset_90k, self._counters.audio, self._is_heard
            )
