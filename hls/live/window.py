"""LiveWindow: the live playlist of one camera, and the media that it names. No sockets, no clock: sans-IO.

Theory of operation. Packets go in with the time at which they came. A :class:`~hls.live.target_duration.PlanProbe`
finds the plan, a :class:`~hls.live.segmenter.PartCutter` makes parts, and the window keeps the newest of them in
memory: as a playlist, as the bytes behind its URIs, and as the answer to "is it there yet". Each change makes a new
:attr:`LiveWindow.version`; whatever is rendered is rendered once per version, and only if somebody asks.

Rules (sections of draft-pantos-hls-rfc8216bis):

1. Target duration, part target and SERVER-CONTROL never change (§6.2.1).
2. Media sequence numbers come from the wall clock, ``MSN_RATE`` a second, and then grow by one: a window that is made
   later begins higher, also in another process (§6.2.2). Discontinuity sequence numbers do so by the hour: hls.js walks
   from 0 up to them at each reload, which took it seconds when they counted seconds.
3. Names are unique for ever and so may be cached for ever. Parts are numbered through, whatever segment they fall in:
   the part that was hinted at is the part that comes.
4. A segment leaves the playlist when ``WINDOW_SEGMENTS`` and ``WINDOW_TARGETS`` are kept without it, never below three
   target durations (§6.2.2). It stays to be fetched for its availability duration, and its parts with it.
5. PART tags are listed for the last three target durations (§6.2.2). The bytes behind them live as long as the segment.
6. The window holds ``max_bytes`` at most: the oldest goes first, rules 4 and 5 notwithstanding, and is counted.
7. PROGRAM-DATE-TIME is the time of capture, and never maps a date to two places (§6.2.1): where the clock was set back,
   time goes on from the last segment until the clock has caught up.
"""

import math
from collections import deque

from gateway.clock import CLOCK_RATE, to_seconds
from gateway.errors import BadRequestError
from gateway.media import Packet
from hls.live import playlist
from hls.live.segment import LivePart, LiveSegment
from hls.live.segmenter import Part, PartCutter
from hls.live.target_duration import MAX_TARGET_S, LivePlan, PlanProbe

MSN_RATE = 4
"""Media sequence numbers a second. Segments last a second and more; a camera that comes and goes makes shorter ones,
and must not outrun the clock either."""

MSN_EPOCH_90K = 1_577_836_800 * CLOCK_RATE
"""2020-01-01T00:00:00Z: with it the numbers stay below 2^31, which some players need, until 2037."""

DISCONTINUITY_EPOCH_90K = 1_767_225_600 * CLOCK_RATE
"""2026-01-01T00:00:00Z."""

DISCONTINUITY_UNIT_90K = 3600 * CLOCK_RATE
"""A camera that is lost once an hour, all the time, does not outrun the clock."""

WINDOW_SEGMENTS = 6
WINDOW_TARGETS = 7
"""The playlist's length in target durations: one more than CAN-SKIP-UNTIL, so that delta updates skip something."""

PART_TARGETS = 3
"""PART tags are listed for so many target durations from the end."""

MAX_BYTES = 64 * 1024 * 1024
"""A window of GOPs of 2 s at 16 Mbit/s takes 52 MB."""

PROBE_MAX_BYTES = 32 * 1024 * 1024
"""A stream that does not show its second keyframe within this is not waited for."""


class LiveWindow:
    """See the module. ``now_s`` is monotonic time in seconds, ``wall_90k`` the wall clock at the making.

    ``after`` is a window of the same camera that this one replaces: its numbers are passed, whatever the clock says.
    """

    def __init__(self, wall_90k: int, *, after: "LiveWindow | None" = None, max_bytes: int = MAX_BYTES) -> None:
        self.version = 0
        """Grows with each change of the playlist."""
        self.plan: LivePlan | None = None
        """Known once the first playlist can be made."""
        self.segments_cut_short = 0
        """Segments that left before their time, for want of memory."""
        self._max_bytes = max_bytes
        self._stamp = f"{wall_90k // 90:x}"
        self._next_msn = max(0, wall_90k - MSN_EPOCH_90K) * MSN_RATE // CLOCK_RATE
        self._discontinuities = max(0, wall_90k - DISCONTINUITY_EPOCH_90K) // DISCONTINUITY_UNIT_90K
        """Discontinuity tags that have left the playlist; the first number is the clock's."""
        self._longest_gop_90k = 0
        if after is not None:
            self._longest_gop_90k = after._longest_gop_90k
            if after._cutter is not None:
                self._longest_gop_90k = max(self._longest_gop_90k, after._cutter.longest_gop_90k)
            self._next_msn = max(self._next_msn, after._next_msn)
            self._discontinuities = max(self._discontinuities, after._discontinuities + len(after._segments) + 1)
        self._next_serial = 0
        self._now_s = 0.0
        self._probe: PlanProbe | None = None
        self._probed: list[Packet] = []
        self._probed_bytes = 0
        self._cutter: PartCutter | None = None
        self._segments: deque[LiveSegment] = deque()
        self._open: LiveSegment | None = None
        self._expiring: deque[LiveSegment] = deque()
        self._last: LiveSegment | None = None
        self._media: dict[str, bytes | memoryview] = {}
        self._bytes = 0
        self._duration_90k = 0
        self._edge: tuple[int, int, int] | None = None
        self._rendered: dict[str, playlist.Rendered] = {}

    # --- in

    def feed(self, packet: Packet, now_s: float) -> None:
        """Take the camera's next packet."""
        self._now_s = now_s
        if self._cutter is not None:
            self._cutter.feed(packet, now_s)
        else:
            self._feed_probe(packet, now_s)

    def advance(self, now_s: float) -> None:
        """Let time pass: silence shows, and what was kept long enough goes."""
        self._now_s = now_s
        if self._cutter is not None:
            self._cutter.advance(now_s)
        self._expire()

    @property
    def due_s(self) -> float:
        """When :meth:`advance` has something to publish, unless a packet comes before."""
        return self._cutter.due_s if self._cutter is not None else math.inf

    # --- out

    @property
    def is_playable(self) -> bool:
        """Whether a player that comes now finds a whole segment, and pictures at the live edge."""
        return bool(self._segments) and not self._segments[-1].is_gap

    @property
    def is_silent(self) -> bool:
        """Whether no picture is there, or none has come for so long that the playlist says so."""
        return self._cutter is None or self._cutter.is_silent

    @property
    def packets_dropped(self) -> int:
        """Packets that could not be shown: before a keyframe, or after a gap."""
        return self._cutter.packets_dropped if self._cutter is not None else 0

    @property
    def is_outgrown(self) -> bool:
        """Whether GOPs turned out to be longer than the target duration, and a longer one would be better."""
        if self.plan is None or self._cutter is None or self.plan.target_duration_s >= MAX_TARGET_S:
            return False
        return self._cutter.longest_gop_90k > self.plan.target_duration_90k

    @property
    def lifetime_s(self) -> int:
        """For how long a segment or part may be fetched, about; 0 before the plan is known."""
        return (WINDOW_TARGETS + 1) * self.plan.target_duration_s if self.plan is not None else 0

    @property
    def live_edge(self) -> tuple[int, int, int] | None:
        """Of the newest part with a picture: media sequence number, part index, time of capture in 90 kHz."""
        return self._edge

    @property
    def held_bytes(self) -> int:
        """Bytes of media in memory."""
        return self._bytes

    def media_playlist(self, *, delta: bool = False) -> playlist.Rendered:
        """The playlist of this version. ``delta`` leaves out what the client is known to have (§6.2.5.1)."""
        skipped = self._skippable() if delta else 0
        key = f"media-{skipped}"
        if key not in self._rendered:
            self._rendered[key] = playlist.Rendered(self._media_text(skipped))
        return self._rendered[key]

    def multivariant_playlist(self) -> playlist.Rendered:
        """The playlist that names the media playlist, with what the stream says of itself."""
        if "multivariant" not in self._rendered:
            self._rendered["multivariant"] = playlist.Rendered(self._multivariant_text())
        return self._rendered["multivariant"]

    def media(self, name: str) -> bytes | memoryview | None:
        """The bytes of an init segment, a segment or a part; ``None`` if there are none (yet, or any more)."""
        return self._media.get(name)

    def is_hinted(self, name: str) -> bool:
        """Whether ``name`` is the part that comes next: whoever asks for it waits for it."""
        return name == self._part_name(self._next_serial)

    def has(self, msn: int, part: int | None) -> bool:
        """Whether a blocking reload for this is to be answered now (§6.2.5.2).

        Raises :class:`~gateway.errors.BadRequestError` if it is so far ahead that it cannot be meant.
        """
        if self.plan is None or self._last is None:
            return False
        last_msn = self._last.msn
        open_parts = len(self._open.parts) if self._open is not None else 0
        if msn > last_msn + 2:
            raise BadRequestError(f"_HLS_msn is {msn}, and the playlist is at {last_msn}: more than two ahead")
        if part is None:
            return msn <= last_msn
        if msn == last_msn and part >= len(self._last.parts):
            ahead, msn, part = part - len(self._last.parts), msn + 1, 0
        else:
            ahead = part - (open_parts if msn == last_msn + 1 else 0) if msn > last_msn else 0
        part_target_s = to_seconds(self.plan.part_target_90k)
        limit = 3 / part_target_s if part_target_s < 1 else 3
        if ahead >= limit:
            raise BadRequestError(f"_HLS_part is {ahead} parts ahead of the playlist, and {limit:.0f} are the limit")
        return msn <= last_msn or (msn == last_msn + 1 and part < open_parts)

    # --- the plan

    def _feed_probe(self, packet: Packet, now_s: float) -> None:
        """Keep the first packets until the plan is known, then play them."""
        is_break = self._probed and (packet.run != self._probed[0].run or packet.info != self._probed[0].info)
        if is_break or self._probed_bytes > PROBE_MAX_BYTES:
            self._probe, self._probed, self._probed_bytes = None, [], 0
        if self._probe is None:
            if not (packet.is_video and packet.is_keyframe):
                return
            self._probe = PlanProbe(self._longest_gop_90k)
        self._probed.append(packet)
        self._probed_bytes += len(packet.data)
        plan = self._probe.add(packet) if packet.is_video else None
        if plan is None:
            return
        self.plan = plan
        self._cutter = PartCutter(plan, self)
        probed, self._probed = self._probed, []
        self._cutter.hears_audio = any(not each.is_video for each in probed)
        for each in probed:
            self._cutter.feed(each, now_s)
        if not self._segments:
            self._cutter.end_segment_soon()

    # --- parts become segments (PartSink)

    def add_part(self, part: Part) -> None:
        """Called by the cutter."""
        segment = self._open
        if segment is None:
            segment = self._open = self._new_segment(part)
        name = self._part_name(self._next_serial)
        self._next_serial += 1
        line = playlist.part(name, part.duration_90k, is_independent=part.is_independent, is_gap=part.is_gap)
        segment.parts.append(LivePart(name, part, line))
        segment.duration_90k += part.duration_90k
        if not part.is_gap:
            segment.size += len(part.data)
            self._media[name] = part.data
            self._media.setdefault(segment.init_name, segment.muxer.init)
            self._bytes += len(part.data)
            self._edge = (segment.msn, len(segment.parts) - 1, part.captured_at_90k)
            self._shed()
        self._changed()

    def end_segment(self) -> None:
        """Called by the cutter."""
        segment, self._open = self._open, None
        assert segment is not None
        if not segment.is_gap:
            # One copy of the bytes: the parts become views of the segment.
            whole = memoryview(b"".join(each.part.data for each in segment.parts))
            self._media[segment.name] = whole
            at = 0
            for each in segment.parts:
                self._media[each.name] = whole[at : at + len(each.part.data)]
                at += len(each.part.data)
        segment.tail = playlist.segment_tail(segment.name, segment.duration_90k, is_gap=segment.is_gap)
        segment.appeared_s = self._now_s
        self._segments.append(segment)
        self._last = segment
        self._duration_90k += segment.duration_90k
        self._slide()
        for each_segment in self._segments:
            each_segment.longest_playlist_90k = max(each_segment.longest_playlist_90k, self._duration_90k)
        self._changed()

    def _new_segment(self, part: Part) -> LiveSegment:
        program_date_90k = part.captured_at_90k
        if self._last is not None:
            due_90k = self._last.program_date_90k + self._last.duration_90k
            if program_date_90k < due_90k - CLOCK_RATE // 2 or program_date_90k <= self._last.program_date_90k:
                program_date_90k = due_90k
        msn = self._next_msn
        self._next_msn += 1
        return LiveSegment(
            msn=msn,
            name=f"segment-{self._stamp}-{msn}.m4s",
            muxer=part.muxer,
            program_date_90k=program_date_90k,
            is_discontinuity=part.is_discontinuity,
            head=playlist.segment_head(program_date_90k, is_discontinuity=part.is_discontinuity),
        )

    # --- what leaves

    def _slide(self) -> None:
        assert self.plan is not None
        target_90k = self.plan.target_duration_90k
        while len(self._segments) > WINDOW_SEGMENTS:
            rest_90k = self._duration_90k - self._segments[0].duration_90k
            if rest_90k < WINDOW_TARGETS * target_90k:
                break
            self._remove_first()
        self._expire()

    def _shed(self) -> None:
        """Keep to ``max_bytes``. The open segment, which a target duration bounds, is never touched."""
        while self._bytes > self._max_bytes and (self._expiring or len(self._segments) > 1):
            if self._expiring:
                self.segments_cut_short += 1
                self._forget(self._expiring.popleft())
            else:
                self._remove_first()

    def _remove_first(self) -> None:
        segment = self._segments.popleft()
        self._duration_90k -= segment.duration_90k
        self._discontinuities += segment.is_discontinuity
        self._expiring.append(segment)

    def _expire(self) -> None:
        while self._expiring:
            segment = self._expiring[0]
            available_90k = segment.duration_90k + segment.longest_playlist_90k
            if self._now_s < segment.appeared_s + to_seconds(available_90k):
                return
            self._forget(self._expiring.popleft())

    def _forget(self, segment: LiveSegment) -> None:
        self._bytes -= segment.size
        self._media.pop(segment.name, None)
        for each in segment.parts:
            self._media.pop(each.name, None)
        kept = (*self._expiring, *self._segments, self._open)
        if not any(other is not None and other.init_name == segment.init_name for other in kept):
            self._media.pop(segment.init_name, None)

    # --- text

    def _changed(self) -> None:
        self.version += 1
        self._rendered.clear()

    def _part_name(self, serial: int) -> str:
        return f"part-{self._stamp}-{serial}.m4s"

    def _skippable(self) -> int:
        """Segments that lie wholly beyond the skip boundary."""
        assert self.plan is not None
        boundary_90k = playlist.SKIP_TARGETS * self.plan.target_duration_90k
        distance_90k = self._duration_90k
        for index, segment in enumerate(self._segments):
            distance_90k -= segment.duration_90k
            if distance_90k <= boundary_90k:
                return index
        return 0

    def _media_text(self, skipped: int) -> str:
        assert self.plan is not None
        segments = [*self._segments]
        if self._open is not None:
            segments.append(self._open)
        media_sequence = segments[0].msn if segments else self._next_msn
        version = playlist.DELTA_VERSION if skipped else playlist.FULL_VERSION
        lines = [playlist.header(self.plan, version, media_sequence, self._discontinuities)]
        if skipped:
            lines.append(playlist.skip(skipped))
        remaining_90k = sum(segment.duration_90k for segment in segments)
        parts_from_90k = PART_TARGETS * self.plan.target_duration_90k
        init_name = ""
        for index, segment in enumerate(segments):
            remaining_90k -= segment.duration_90k
            is_new_map = segment.init_name != init_name or segment.is_discontinuity
            init_name = segment.init_name
            if index < skipped:
                continue
            lines.append(segment.head)
            if is_new_map:
                lines.append(playlist.media_map(init_name))
            if remaining_90k < parts_from_90k:
                lines.extend(each.line for each in segment.parts)
            lines.append(segment.tail)
        lines.append(playlist.preload_hint(self._part_name(self._next_serial)))
        return "".join(lines)

    def _multivariant_text(self) -> str:
        assert self._last is not None
        shown = [segment for segment in self._segments if not segment.is_gap] or [self._last]
        rates_bps = [segment.size * 8 * CLOCK_RATE // segment.duration_90k for segment in shown]
        size = sum(segment.size for segment in shown)
        duration_90k = sum(segment.duration_90k for segment in shown)
        info = shown[-1].muxer.info
        assert self._cutter is not None
        frame_rate = info.video.frame_rate or CLOCK_RATE / self._cutter.frame_90k
        return playlist.multivariant(
            info, frame_rate, max(rates_bps), size * 8 * CLOCK_RATE // duration_90k, playlist.LIVE_NAME
        )
