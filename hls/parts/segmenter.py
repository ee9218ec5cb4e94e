"""Segmenter: one camera's packets in, parts and segment ends out, each part of a legal length.

Theory of operation. Parts and segments lie on one *media timeline* of 90 kHz without gaps; every run of the camera is
placed after the one before it. A part is a half-open interval of decode time on that line. The end of a frame is the
beginning of the next, so a part is closed when the frame after it arrives. The rules of rfc8216bis for the length of
parts are strict, and cameras are not. So the boundary between two parts is chosen here:

1. A part lasts 85 to 100 % of the part target, except the last one of a segment (§4.4.4.9). It ends at the first frame
   that comes at 85 % or later. If that frame is beyond 100 %, the boundary is placed at 100 %, and the frame *decodes*
   there, earlier than its time stamp. Its presentation time never changes.
2. The decode timeline may so fall behind the frames, by as long as pictures were lost for example. The parts after that
   have one frame each, until it has caught up. A camera that is slower than its parts has *whole* segments, whose parts
   are not listed (:mod:`hls.parts.pace`). What not even that makes up for is a discontinuity at the next keyframe, and
   so is a gap of more than ``GAP_MAX_90K``.
3. A segment begins with a keyframe and ends before the first keyframe at which it has lasted ``MIN_SEGMENT_S``. If no
   keyframe comes in time, it ends before it would exceed the target duration, and the next one begins without one. That
   one ends before the next keyframe, so that no keyframe of a long GOP is in the middle of a part.
4. A new run or a new StreamInfo is a discontinuity: the segment ends, and the next has its own init segment. So is a
   step of the wall clock, from the next keyframe on (:mod:`hls.parts.clock_step`).
5. While no frames come, nothing happens: the timeline waits, and PROGRAM-DATE-TIME tells afterwards how much time has
   passed. Packets that come late continue where the stream stopped. There are no gaps (EXT-X-GAP): hls.js skips them,
   but shaka and video.js request each of them. After an outage of ``FRESH_TARGETS`` target durations the playlist
   begins afresh.
6. Audio is in the same fragments (:mod:`hls.parts.run_sound`). If a track of silence begins in a playlist without
   sound, the playlist begins afresh.
7. Packets that cannot be shown (those of a run before its first keyframe) are dropped and counted.

Sans-IO: feed packets and the time, then take the events.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.clock import CLOCK_RATE, to_seconds
from gateway.media import AudioInfo, Packet, StreamInfo
from hls.mp4.fragments import VIDEO_TRACK_ID, FragmentMuxer, FragmentTrack, fragment
from hls.parts.clock_step import is_clock_step
from hls.parts.counters import PartCounters
from hls.parts.fragment_borders import FragmentBorders
from hls.parts.pace import WHOLE_SEGMENT_90K, Pace
from hls.parts.part import Part, PartSamples, SegmentEnd, video_samples
from hls.parts.run_sound import SOUND_WAIT_90K, RunSound, can_have_sound
from hls.parts.target_duration import MIN_SEGMENT_90K, TargetDurations
from hls.parts.timeline_end import TimelineEnd

STALL_S = 1.5
"""After this long without a frame the stream is stalled. A shorter pause is usually the network's."""

FRESH_TARGETS = 3
"""After an outage of so many target durations, what came before it is no live video any more. For so long, requests
wait for the camera (§6.2.5.2)."""

GAP_MAX_90K = 15 * CLOCK_RATE
"""A keyframe after a longer gap is a discontinuity. Pictures are missing for less where one was lost: engines wait 12 s
for the next keyframe. A camera of stills has no gap before :data:`GAP_FRAMES` times its usual step."""

GAP_FRAMES = 3

MuxerFactory = Callable[[StreamInfo], FragmentMuxer]
SegmenterEvent = Part | SegmentEnd


class Segmenter:
    """See the module. ``now_s`` is monotonic time everywhere, in seconds.

    With ``for_recording`` no playlist has the parts. They end where their frames do, the first frame need not be a
    keyframe, and the first part of a run lasts :data:`SOUND_WAIT_90K` if sound is declared and not heard. ``is_heard``
    as in :class:`~hls.mp4.audio.AudioTrack`. ``sound_may_wait`` is asked for each part: whether its sound may come with
    the part that completes a fragment of the recording. ``after`` is the timeline that it continues, with a
    discontinuity; ``playlist_sound`` and ``wanted_sound`` as in :class:`~hls.parts.run_sound.RunSound`.
    """

    def __init__(
        self,
        targets: TargetDurations,
        counters: PartCounters | None = None,
        make_muxer: MuxerFactory = FragmentMuxer,
        *,
        for_recording: bool = False,
        is_heard: Callable[[], bool] = lambda: True,
        sound_may_wait: Callable[[], bool] = lambda: False,
        after: TimelineEnd | None = None,
        playlist_sound: AudioInfo | None = None,
        wanted_sound: Callable[[], AudioInfo | None] = lambda: None,
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
        self._for_recording = self._joins = for_recording
        self._make_muxer = make_muxer
        self._events: list[SegmenterEvent] = []
        self._muxer: FragmentMuxer | None = None
        self._info: StreamInfo | None = None
        self._sound = RunSound(self._counters.audio, is_heard, playlist_sound, wanted_sound)
        self._sound_may_wait = sound_may_wait
        self._borders = FragmentBorders()
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
        self._pace = Pace(targets.part_target_90k)
        self._lag_90k = 0
        """By how much the newest frame decodes earlier than it should, if a part begins with it."""
        self._gap_90k = 0
        """The gap before the newest discontinuity, until a frame follows without one."""
        self._keyframe_90k = 0
        self._skew_90k: int | None = None
        """Capture time minus place on the timeline, of the open segment's first frame."""
        # The newest frame: its place on the timeline, and when it came.
        self._edge_90k = self._end_90k
        self._edge_at_s = after.at_s if after is not None else 0.0

    def feed(self, packet: Packet, now_s: float) -> None:
        """Take the next packet."""
        if not packet.is_video:
            self.has_audio = True
            if packet.run == self._run and self._is_running:
                self._sound.feed(packet, self._is_opening)
            return
        if self._is_running and packet.run == self._run:
            self._pace.note(packet.dts_90k + self._offset_90k - self._edge_90k)
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
    def sound(self) -> AudioInfo | None:
        """The stream's own sound, as it is in MP4, that was there last."""
        return self._sound.newest

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
        video = video_samples(self._frames, self._end_90k, end_90k, self._offset_90k)
        audio = self._sound.waiting(end_90k)
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
        longest_90k = max(self.targets.part_target_90k, self.frame_90k if not self._pace.lists_parts else 0)
        return self._edge_at_s + max(STALL_S, 2.5 * to_seconds(longest_90k))

    @property
    def lists_parts(self) -> bool:
        """Whether the next part will be listed; else only its segment is: rule 2."""
        return self._pace.lists_parts

    def end_segment_soon(self) -> None:
        """End the open segment with its next part, because a player needs a complete segment to begin with."""
        self._ends_soon = True

    # --- frames

    def _close_part_before(self, packet: Packet) -> None:
        """Close the open part before ``packet`` if it is long enough."""
        target_90k = self.targets.part_target_90k
        at_90k = packet.dts_90k + self._offset_90k
        self.frame_90k, self._gap_90k = at_90k - self._edge_90k, 0
        boundary_90k = self._boundary_90k(at_90k)
        self._lag_90k = at_90k - boundary_90k
        open_90k = at_90k - self._end_90k
        is_too_slow = self._pace.is_too_slow(self._open_lag_90k, open_90k, is_keyframe=packet.is_keyframe)
        if is_too_slow and not self._for_recording:
            self._close_part(boundary_90k, packet.dts_90k, ends_fragment=packet.is_keyframe)
            self._end_segment()
            self._pace.lists_parts = False
            return
        waits_for_sound = self._for_recording and self._is_opening and self._sound.is_awaited
        if waits_for_sound and open_90k < SOUND_WAIT_90K:
            return
        is_long_enough = at_90k - self._segment_start_90k >= MIN_SEGMENT_90K
        if packet.is_keyframe and (is_long_enough or not self._begins_with_keyframe):
            self._close_part(boundary_90k, packet.dts_90k, ends_fragment=True)
            self._end_segment()
        elif open_90k >= self.targets.part_min_90k:
            self._close_part(boundary_90k, packet.dts_90k, ends_fragment=packet.is_keyframe)
            duration_90k = self._end_90k - self._segment_start_90k
            next_90k = max(target_90k, self.frame_90k) if not self._pace.lists_parts else target_90k
            is_whole = not self._pace.lists_parts and duration_90k >= WHOLE_SEGMENT_90K
            if self._ends_soon or is_whole or duration_90k + next_90k > self.targets.segment_max_90k:
                self._end_segment()

    def _boundary_90k(self, at_90k: int) -> int:
        """Where the open part ends before a frame at ``at_90k``: rule 1."""
        if self._for_recording:
            return at_90k
        if not self._pace.lists_parts:
            return min(at_90k, self._segment_start_90k + self.targets.segment_max_90k)
        return min(at_90k, self._end_90k + self.targets.part_target_90k)

    @property
    def _open_lag_90k(self) -> int:
        """By how much the open part begins earlier than its first frame."""
        return self._frames[0].dts_90k + self._offset_90k - self._end_90k

    def _close_part(self, boundary_90k: int, next_dts_90k: int | None, *, ends_fragment: bool) -> None:
        """``ends_fragment``: that of the recording ends in any case."""
        frames, self._frames = self._frames, []
        start_90k, self._end_90k = self._end_90k, boundary_90k
        lasts_90k = self._part_end_90k(frames[-1], next_dts_90k) - frames[0].dts_90k
        ends_fragment |= self._borders.is_complete(lasts_90k, is_keyframe=frames[0].is_keyframe)
        self._muxer = muxer = self._part_muxer()
        self._is_opening = False
        audio = self._sound.take(boundary_90k, may_wait=not ends_fragment and self._sound_may_wait())
        tracks = muxer.tracks(video_samples(frames, start_90k, boundary_90k, self._offset_90k), audio)
        self._sequence += 1
        part = Part(
            muxer=muxer,
            start_90k=start_90k,
            duration_90k=boundary_90k - start_90k,
            data=fragment(tracks, self._sequence),
            captured_at_90k=frames[0].captured_at_90k - (frames[0].dts_90k + self._offset_90k - start_90k),
            is_independent=any(frame.is_keyframe for frame in frames),
            is_discontinuity=self._is_discontinuous,
            is_listed=self._pace.lists_parts,
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
        muxed = replace(self._info, audio=self._sound.info)
        return self._muxer if self._muxer is not None and self._muxer.info == muxed else self._make_muxer(muxed)

    def _samples(
        self, frames: Sequence[Packet], tracks: Sequence[FragmentTrack], next_dts_90k: int | None
    ) -> PartSamples:
        first, last = frames[0], frames[-1]
        info = self._part_muxer().info
        if not self._sound.is_own:
            info = replace(info, audio=None)
            tracks = [track for track in tracks if track.track_id == VIDEO_TRACK_ID]
        return PartSamples(
            run=self._run,
            info=info,
            dts_90k=first.dts_90k,
            end_90k=self._part_end_90k(last, next_dts_90k),
            captured_at_90k=first.captured_at_90k,
            is_keyframe=first.is_keyframe,
            tracks=tracks,
            offset_90k=self._offset_90k,
            audio_offset=self._sound.offset if self._sound.is_own else 0,
        )

    def _part_end_90k(self, last: Packet, next_dts_90k: int | None) -> int:
        return next_dts_90k if next_dts_90k is not None else last.dts_90k + (last.duration_90k or self.frame_90k)

    def _end_segment(self) -> None:
        if self._end_90k > self._segment_start_90k:
            self._events.append(SegmentEnd())
        self._segment_start_90k = self._end_90k
        self._skew_90k = None
        self._ends_soon = False
        self._pace.end_segment(self._lag_90k)

    # --- discontinuities

    def _is_discontinuity(self, packet: Packet) -> bool:
        """Rules 2, 4 and 6."""
        if packet.run != self._run or (packet.info is not self._info and packet.info != self._info):
            return True
        if not packet.is_keyframe:
            return False
        at_90k = packet.dts_90k + self._offset_90k
        if self._skew_90k is not None and is_clock_step(packet, packet.captured_at_90k - at_90k - self._skew_90k):
            return True
        step_90k = at_90k - self._edge_90k
        is_gap = step_90k > max(GAP_MAX_90K, GAP_FRAMES * max(self.frame_90k, self._gap_90k))
        self._gap_90k = step_90k if is_gap else self._gap_90k
        if is_gap or self._pace.is_behind(self._open_lag_90k, self.targets.segment_max_90k):
            return True
        is_first_sound = self.has_audio and not self._sound.is_own and can_have_sound(packet)
        return is_first_sound or self._sound.is_wanted

    def _stop(self, next_dts_90k: int | None = None) -> None:
        """End the segment. The last frame gets the usual duration, if the part target permits it."""
        self._close_part(self._boundary_90k(self._edge_90k + self.frame_90k), next_dts_90k, ends_fragment=True)
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
        self._is_opening = self._is_running = True
        had_sound = self._sound.playlist_sound is not None
        self._sound.begin_run(keyframe, self._end_90k, self._offset_90k, is_expected=self.has_audio)
        if self._muxer is not None and not had_sound and self._sound.info is not None and not self._sound.is_own:
            self._begins_afresh = True
            self.end_segment_soon()
