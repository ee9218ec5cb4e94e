"""LiveWindow: the live playlist of one camera, and the media that it names. Sans-IO: no sockets and no clock.

Theory of operation. Packets go in with the time at which they came. A
:class:`~hls.parts.target_duration.TargetDurationProbe` finds the target durations, a
:class:`~hls.parts.segmenter.Segmenter` makes parts, and a :class:`~hls.live.segment_buffer.SegmentBuffer` keeps the
newest of them in memory. The window numbers them, and answers whether a part is there yet. Each change makes a new
:attr:`LiveWindow.version`; a playlist is rendered once per version, and only on request.

Rules (sections of draft-pantos-hls-rfc8216bis):

1. Target duration, part target and SERVER-CONTROL never change (§6.2.1). A camera that has become slower than the part
   target has segments without parts (:mod:`hls.parts.segmenter`, rule 2), and no hint. A request for a part of such a
   segment is answered when the segment is complete (§6.2.5.2).
2. Media sequence numbers begin with the wall clock, ``MSN_RATE`` a second, and then grow by one. So a window that is
   made later begins higher, also in another process (§6.2.2). Discontinuity sequence numbers begin with
   ``first_discontinuity``, see :mod:`hls.live.discontinuities`.
3. A name is never used twice, so its media may be cached without limit. Parts are numbered independently of segments:
   the hinted part is the next part, whatever segment it is in.
4. Dates are by :mod:`hls.live.program_date`.
"""

from collections.abc import Callable
from dataclasses import replace

from gateway.media import AudioInfo, Packet
from hls.live import blocking_reload, playlist
from hls.live.counters import LiveCounters
from hls.live.measured_start import MeasuredStart
from hls.live.program_date import next_program_date_90k
from hls.live.segment import LivePart, LiveSegment
from hls.live.segment_buffer import MAX_BYTES, WINDOW_TARGETS, SegmentBuffer
from hls.live.window_state import WindowNumbers, WindowState, first_msn
from hls.parts.part import Part
from hls.parts.segmenter import Segmenter
from hls.parts.target_duration import MAX_TARGET_S, TargetDurations


class LiveWindow:
    """See the module. ``now_s`` is monotonic time in seconds, ``wall_90k`` the wall clock at the start.

    ``after`` is the window of the same camera that this one replaces: the numbers continue after its numbers, whatever
    the clock says. ``least_target_s`` is called once: the target duration is at least that.
    ``is_heard`` and ``wanted_sound`` as in :class:`~hls.parts.run_sound.RunSound`, ``sound_may_wait`` as in
    :class:`~hls.parts.segmenter.Segmenter`. ``is_awaited``: whether a viewer
    waits for the playlist.
    ``state`` is that of the window of an earlier process, which this one goes on with.
    ``epoch`` tells the owners of a camera among several nodes apart, 0 where there is one: names have it, the numbers
    begin higher (:func:`~hls.live.window_state.first_msn`), and the playlist with a discontinuity.
    """

    def __init__(
        self,
        wall_90k: int,
        *,
        first_discontinuity: int = 0,
        after: "LiveWindow | None" = None,
        counters: LiveCounters | None = None,
        max_bytes: int = MAX_BYTES,
        least_target_s: Callable[[], int] = lambda: 0,
        is_heard: Callable[[], bool] = lambda: True,
        sound_may_wait: Callable[[], bool] = lambda: False,
        is_awaited: Callable[[], bool] = lambda: True,
        wanted_sound: Callable[[], AudioInfo | None] = lambda: None,
        state: WindowState | None = None,
        epoch: int = 0,
    ) -> None:
        self.version = 0
        """Grows with each change of the playlist."""
        self.targets: TargetDurations | None = None
        """Known once the first playlist can be made."""
        self.counters = counters if counters is not None else LiveCounters()
        self._buffer = SegmentBuffer(self.counters, max_bytes)
        self._name_prefix = f"{epoch:x}-{wall_90k // 90:x}" if epoch else f"{wall_90k // 90:x}"
        self._next_msn = first_msn(wall_90k, epoch)
        self._follows_another = epoch > 0
        """Whether the next segment is the first of an owner: players may know those of the owner before."""
        self._first_discontinuity = first_discontinuity
        self._discontinuities = 0
        self._longest_gop_90k = 0
        if after is not None:
            self._longest_gop_90k = after._known_gop_90k
            self._next_msn = max(self._next_msn, after._next_msn)
            self._first_discontinuity = max(self._first_discontinuity, after.newest_discontinuity + 1)
        self._least_target_s = least_target_s
        self._is_heard = is_heard
        self._sound_may_wait = sound_may_wait
        self._is_awaited = is_awaited
        self._wanted_sound = wanted_sound
        self._next_part = 0
        self._now_s = 0.0
        self._measured = MeasuredStart(self._longest_gop_90k)
        self._segmenter: Segmenter | None = None
        self._last: LiveSegment | None = None
        """The newest complete segment."""
        self._edge: tuple[int, int, int] | None = None
        self._rendered: dict[int, playlist.Rendered] = {}
        """The playlists of this version with the newest report, by how many segments they skip."""
        self._report = ""
        if state is not None:
            self._resume(state)

    # --- over a restart of the gateway

    def state(self, now_s: float) -> WindowState | None:
        """What the next process needs to go on, after :meth:`end_run`; ``None`` without a playlist."""
        if self.targets is None or self._segmenter is None or not self._buffer.segments:
            return None
        numbers = WindowNumbers(
            name_prefix=self._name_prefix,
            next_msn=self._next_msn,
            next_part=self._next_part,
            first_discontinuity=self._first_discontinuity,
            discontinuities=self._discontinuities,
            discontinuities_removed=self._buffer.discontinuities_removed,
            longest_gop_90k=self._known_gop_90k,
        )
        return WindowState(self.targets, numbers, self._segmenter.end, tuple(self._buffer.segments), now_s)

    def _resume(self, state: WindowState) -> None:
        numbers = state.numbers
        self.targets = state.targets
        self._name_prefix, self._next_part = numbers.name_prefix, numbers.next_part
        self._next_msn = numbers.next_msn
        self._first_discontinuity, self._discontinuities = numbers.first_discontinuity, numbers.discontinuities
        self._longest_gop_90k = numbers.longest_gop_90k
        self._segmenter = Segmenter(
            state.targets,
            self.counters,
            is_heard=self._is_heard,
            sound_may_wait=self._sound_may_wait,
            after=state.end,
            playlist_sound=state.segments[-1].muxer.info.audio,
            wanted_sound=self._wanted_sound,
        )
        self._buffer.resume(state.segments, numbers.discontinuities_removed)
        self._last = state.segments[-1]
        self._changed()

    # --- in

    def feed(self, packet: Packet, now_s: float) -> None:
        """Take the camera's next packet."""
        self._now_s = now_s
        if self._segmenter is None:
            self._feed_probe(packet, now_s)
            return
        try:
            self._segmenter.feed(packet, now_s)
        finally:
            self._handle_events(self._segmenter)

    def advance(self, now_s: float) -> None:
        """Let time pass: discard expired segments."""
        self._now_s = now_s
        self._buffer.expire(now_s)

    def clear(self) -> None:
        """Discard the complete segments of a camera that stopped, when no player needs them any more."""
        self._buffer.clear()
        self._changed()

    def end_run(self) -> None:
        """The camera is lost: take what it has sent to the end."""
        if self._segmenter is not None:
            self._segmenter.end_run()
            self._handle_events(self._segmenter)

    # --- out

    @property
    def segmenter(self) -> Segmenter | None:
        """What makes the parts; ``None`` until the target durations are known."""
        return self._segmenter

    @property
    def sound(self) -> AudioInfo | None:
        """The stream's own sound, as it is in MP4."""
        return self._segmenter.sound if self._segmenter is not None else None

    @property
    def is_playable(self) -> bool:
        """Whether a new player finds a complete segment, and frames at the live edge."""
        return bool(self._buffer.segments) and not self.is_stalled

    @property
    def is_stalled(self) -> bool:
        """Whether the live edge is not live: nothing yet, or nothing new at the time of the last :meth:`advance`."""
        segmenter = self._segmenter
        return segmenter is None or segmenter.is_interrupted or self._now_s >= segmenter.stalls_at_s

    @property
    def has_better_targets(self) -> bool:
        """Whether others are better: GOPs have become longer than the target duration, or known, or frames long."""
        segmenter = self._segmenter
        if self.targets is None or segmenter is None or self.targets.target_duration_s >= MAX_TARGET_S:
            return False
        is_known_now = self._measured.is_guess and segmenter.longest_whole_gop_90k > 0
        is_too_short = segmenter.longest_gop_90k > self.targets.segment_max_90k
        return is_known_now or is_too_short or not segmenter.lists_parts

    @property
    def _known_gop_90k(self) -> int:
        """The longest GOP of the camera. One that a loss has cut short is none, unless it was too long already."""
        if self._segmenter is None:
            return self._longest_gop_90k
        known_90k = max(self._longest_gop_90k, self._segmenter.longest_whole_gop_90k)
        longest_90k = self._segmenter.longest_gop_90k
        return max(known_90k, longest_90k) if longest_90k > self._segmenter.targets.segment_max_90k else known_90k

    @property
    def lifetime_s(self) -> int:
        """How long a segment or part is available, approximately; 0 before the target durations are known."""
        return (WINDOW_TARGETS + 1) * self.targets.target_duration_s if self.targets is not None else 0

    @property
    def live_edge(self) -> tuple[int, int, int] | None:
        """Of the newest part with a frame: media sequence number, part index, time of capture in 90 kHz."""
        return self._edge

    @property
    def newest_discontinuity(self) -> int:
        """The discontinuity sequence number of the newest segment."""
        return self._first_discontinuity + self._discontinuities

    @property
    def media_bytes(self) -> int:
        """Bytes of media in memory."""
        return self._buffer.size

    def media_playlist(self, *, delta: bool = False, report: str = "") -> playlist.Rendered:
        """The playlist of this version, to be sent. ``delta`` skips what the client knows already (§6.2.5.1).

        ``report`` is the line of the camera's other playlist, if there is one (§4.4.5.4).
        """
        if report != self._report:
            # While this playlist stands still, the other one goes on.
            self._report = report
            self._rendered.clear()
        skipped = self._skippable() if delta else 0
        if skipped not in self._rendered:
            self._rendered[skipped] = playlist.Rendered(self._media_text(skipped) + report)
            self._buffer.sent()
        return self._rendered[skipped]

    def variant(self) -> playlist.Variant | None:
        """The stream's codecs, size and rates; ``None`` before the first complete segment."""
        if self._last is None or self._segmenter is None:
            return None
        return playlist.Variant.of([*self._buffer.segments] or [self._last], self._segmenter.frame_90k)

    def media(self, name: str) -> bytes | memoryview | None:
        """The bytes of an init segment, a segment or a part; ``None`` if there are none (yet, or any more)."""
        return self._buffer.media(name)

    def is_hinted(self, name: str) -> bool:
        """Whether ``name`` is the next part, so that a request for it waits."""
        return self._lists_parts and name == self._part_name(self._next_part)

    def has(self, msn: int, part: int | None) -> bool:
        """Whether a blocking reload for this is answered now (§6.2.5.2).

        Raises :class:`~gateway.errors.BadRequestError` if it is too far ahead.
        """
        if self.targets is None or self._last is None:
            return False
        return blocking_reload.is_answered(
            msn, part, self._last, self._buffer.open_segment, self.targets.part_target_90k
        )

    # --- target durations

    def _feed_probe(self, packet: Packet, now_s: float) -> None:
        """Keep the first packets until the target durations are known, then feed them to the segmenter."""
        targets = self._measured.feed(packet, is_awaited=self._is_awaited())
        self.counters.packets_dropped += self._measured.take_dropped()
        if targets is None:
            return
        targets = replace(targets, target_duration_s=max(targets.target_duration_s, self._least_target_s()))
        self.targets = targets
        self._segmenter = segmenter = Segmenter(
            targets,
            self.counters,
            is_heard=self._is_heard,
            sound_may_wait=self._sound_may_wait,
            wanted_sound=self._wanted_sound,
        )
        kept = self._measured.take()
        segmenter.has_audio = any(not each.is_video for each in kept)
        for each in kept:
            segmenter.feed(each, now_s)
        self._handle_events(segmenter)
        if not self._buffer.segments:
            segmenter.end_segment_soon()

    # --- parts and segments

    def _handle_events(self, segmenter: Segmenter) -> None:
        for event in segmenter.take_events():
            if isinstance(event, Part):
                self._add_part(event)
            else:
                self._end_segment()

    def _add_part(self, part: Part) -> None:
        segment = self._buffer.open_segment
        if segment is None:
            if part.begins_afresh:
                self._buffer.begin_afresh()
            segment = self._buffer.open_segment = self._new_segment(part)
        name = self._part_name(self._next_part)
        self._next_part += 1
        is_listed = part.is_listed
        line = playlist.part(name, part.duration_90k, is_independent=part.is_independent) if is_listed else ""
        self._buffer.add_part(LivePart(name, part, line))
        if is_listed:
            self._edge = (segment.msn, len(segment.parts) - 1, part.captured_at_90k)
            self._changed()

    def _end_segment(self) -> None:
        segment = self._buffer.open_segment
        assert segment is not None
        assert self.targets is not None
        tail = playlist.segment_tail(segment.name, segment.duration_90k)
        if not segment.lists_parts:
            self._edge = (segment.msn, 0, segment.parts[-1].part.captured_at_90k)
        self._last = self._buffer.complete_segment(tail, self.targets.target_duration_90k, self._now_s)
        self._changed()

    def _new_segment(self, part: Part) -> LiveSegment:
        assert self.targets is not None
        program_date_90k = next_program_date_90k(self._last, part, self.targets.part_target_90k)
        msn = self._next_msn
        self._next_msn += 1
        is_discontinuity = part.is_discontinuity or self._follows_another
        self._follows_another = False
        self._discontinuities += is_discontinuity
        return LiveSegment(
            msn=msn,
            name=f"segment-{self._name_prefix}-{msn}.m4s",
            muxer=part.muxer,
            program_date_90k=program_date_90k,
            is_discontinuity=is_discontinuity,
            lists_parts=part.is_listed,
            head=playlist.segment_head(program_date_90k, is_discontinuity=is_discontinuity),
        )

    # --- text

    @property
    def _lists_parts(self) -> bool:
        return self._segmenter is None or self._segmenter.lists_parts

    def _changed(self) -> None:
        self.version += 1
        self._rendered.clear()

    def _part_name(self, number: int) -> str:
        return f"part-{self._name_prefix}-{number}.m4s"

    @property
    def _discontinuity_sequence(self) -> int:
        return self._first_discontinuity + self._buffer.discontinuities_removed

    def _skippable(self) -> int:
        """The number of segments that lie entirely beyond the skip boundary."""
        assert self.targets is not None
        return self._buffer.beyond(playlist.SKIP_TARGETS * self.targets.target_duration_90k)

    def _media_text(self, skipped: int) -> str:
        assert self.targets is not None
        segments = [*self._buffer.segments]
        open_segment = self._buffer.open_segment
        if open_segment is not None and open_segment.lists_parts:
            segments.append(open_segment)
        media_sequence = segments[0].msn if segments else self._next_msn
        version = playlist.DELTA_VERSION if skipped else playlist.FULL_VERSION
        header = playlist.header(self.targets, version, media_sequence, self._discontinuity_sequence)
        body = playlist.segments(segments, skipped, self.targets.target_duration_90k)
        hint = playlist.preload_hint(self._part_name(self._next_part)) if self._lists_parts else ""
        return header + body + hint
