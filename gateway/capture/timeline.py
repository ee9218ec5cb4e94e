"""Timeline: repairs a camera's timestamps, so that they follow the rules of :mod:`gateway.media`. Sans-IO.

Theory of operation. There are two repairs, one after the other.

*The media timeline.* A source timestamp becomes 90 kHz ticks, plus an offset that is kept for each track. As long as a
packet's time agrees with its arrival, nothing else is done: the time of a healthy camera passes unchanged. Otherwise
the source has jumped. It may have wrapped (32 bits of RTP, 33 of MPEG-TS), returned from a single bad
timestamp, or followed a jump that the other track made before. The first of these that explains the packet is used.
Where none does, the timeline continues by the monotonic clock, and the new offset is remembered. A source clock that
runs at another rate is replaced before all this (:mod:`gateway.capture.clock_drift`).

*The capture time.* A frame cannot have been captured after it arrived, and delay is never negative. So the frame with
the smallest ``arrival - pts`` had the least delay, and its difference maps the timeline to the wall clock for all
frames.

Rules:

1. A run begins at 0. Within a track ``dts_90k`` grows strictly, and ``pts_90k >= dts_90k``. All arithmetic is in
   integers and from absolute source values, so that no error accumulates.
2. A missing timestamp is the previous one plus a frame's duration, pulled gently towards the arrival. A source time
   that does not change (some cameras always send 0) counts as missing. A first packet without a time is at source time
   0, where libav's RTP timelines begin.
3. ``captured_at_90k`` is never later than the arrival. It falls to the least delayed frame at once. Where the camera's
   clock is slow it rises by at most ``MAX_RISE_PPM``: a stall of the network does not move it. Only when every frame of
   a whole window is later than ``LOST_90K`` is the mapping discarded and begun anew. A source clock that was replaced
   is led back to the arrival, and the mapping follows as quickly, within a shorter window.
4. A step of the wall clock (it moves and the monotonic clock does not) moves the capture time with it.
5. The capture time is learned from video only: audio often arrives before its time, by the length of a buffer.
"""

from bisect import insort
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from gateway.capture.clock_drift import SourceClock
from gateway.capture.counters import CaptureCounters
from gateway.clock import CLOCK_RATE, seconds_90k
from gateway.media import MediaKind

MAX_AHEAD_90K = 3 * CLOCK_RATE
"""How far a packet's step may exceed the time that really passed, in ticks. Cameras and networks delay packets by 1-2 s
now and then. A larger step is a jump, and would make a gap in every consumer's buffer."""

MAX_BACKWARDS_90K = CLOCK_RATE // 2
"""Steps back up to this, in ticks, are jitter and are flattened. Larger ones are jumps."""

MAX_RISE_PPM = 500
"""How fast the capture time may rise: 0.5 ms a second. A bad quartz needs a tenth of that; no viewer notices it."""

WINDOW_90K = 10 * CLOCK_RATE
"""The capture time rises towards the least delayed frame of this period, in ticks: several GOPs and TCP stalls."""

LOST_90K = 2 * CLOCK_RATE
"""A mapping that is off by more than this for a whole window, in ticks, is wrong. A slow rise would take too long."""

REPLACED_RISE_PPM = 350_000
REPLACED_WINDOW_90K = 2 * CLOCK_RATE
"""The same where the source clock was replaced: it is led back by a quarter of the real time."""

WALL_STEP_90K = CLOCK_RATE // 10
"""A difference between wall and monotonic clock above this, between two packets, is a step and not NTP's slewing."""

WRAPS = (1 << 32, 1 << 33)
"""Where source timestamps wrap, in their own ticks: RTP (RFC 3550 §5.1) and MPEG-TS (ISO/IEC 13818-1 §2.4.3.6)."""

DEFAULT_FRAME_90K = CLOCK_RATE // 25
"""A frame's duration where neither the stream nor earlier frames say it."""

PULL = 8
"""A missing timestamp is pulled by 1/8 of its distance to the arrival. That is smooth, and within 0.5 s of the arrival
even where the assumed frame rate is half the real one."""


class SourceTime(NamedTuple):
    """A packet's times as its source sent them, in ticks of ``time_base`` seconds; ``duration`` 0 is unknown."""

    pts: int | None
    dts: int | None
    time_base: Fraction
    duration: int = 0

    def ticks_90k(self, value: int) -> int:
        """``value`` at 90 kHz, rounded down."""
        return value * self.time_base.numerator * CLOCK_RATE // self.time_base.denominator


class ArrivalTime(NamedTuple):
    """When a packet arrived: wall clock in ticks since the Unix epoch, monotonic clock in seconds."""

    wall_90k: int
    monotonic: float


class Timestamps(NamedTuple):
    """The repaired times, by the rules of :mod:`gateway.media`."""

    pts_90k: int
    dts_90k: int
    duration_90k: int
    captured_at_90k: int


@dataclass(slots=True)
class _Last:
    """The previous packet of a track: its repaired time, its arrival, and its source time if it had one."""

    dts_90k: int
    monotonic: float
    source_90k: int | None


@dataclass(slots=True)
class _Track:
    """One track. ``offset_90k`` maps source time to the timeline.

    ``anchor`` is the last packet whose time came from the source: dts, and monotonic arrival.
    """

    frame_90k: int = 0
    offset_90k: int = 0
    earlier_offset_90k: int = 0
    anchor: tuple[int, float] = (0, 0.0)
    last: _Last | None = None
    clock: SourceClock = field(default_factory=SourceClock)
    presented: list[int] = field(default_factory=list)
    """The latest presentation times of a stream with B-frames, in their order."""

    @property
    def assumed_frame_90k(self) -> int:
        return self.frame_90k or DEFAULT_FRAME_90K


@dataclass(slots=True)
class _CaptureTime:
    """The mapping from the timeline to the wall clock; rules 3 and 4.

    ``delays`` holds (pts, arrival - pts) of the window, rising in both, so that its front is the smallest delay.
    """

    offset_90k: int | None = None
    delays: deque[tuple[int, int]] = field(default_factory=deque)
    raised_at_90k: int = 0
    skew_90k: int | None = None

    def follow_steps(self, arrival: ArrivalTime) -> None:
        skew = arrival.wall_90k - seconds_90k(arrival.monotonic)
        step = 0 if self.skew_90k is None else skew - self.skew_90k
        self.skew_90k = skew
        if abs(step) > WALL_STEP_90K and self.offset_90k is not None:
            self.offset_90k += step
            self.delays = deque((pts, delay + step) for pts, delay in self.delays)

    def learn(self, pts_90k: int, arrival: ArrivalTime, *, is_replaced: bool) -> None:
        window_90k = REPLACED_WINDOW_90K if is_replaced else WINDOW_90K
        delay = arrival.wall_90k - pts_90k
        while self.delays and self.delays[-1][1] >= delay:
            self.delays.pop()
        self.delays.append((pts_90k, delay))
        is_lost = not is_replaced and self.delays[0][0] < pts_90k - window_90k
        while self.delays[0][0] < pts_90k - window_90k:
            self.delays.popleft()
        least = self.delays[0][1]
        if self.offset_90k is None or delay <= self.offset_90k or (is_lost and least > self.offset_90k + LOST_90K):
            self.offset_90k, self.raised_at_90k = least, pts_90k
            return
        # Below one tick, the time since the last rise is kept: otherwise short frames would never add up to a rise.
        rise_ppm = REPLACED_RISE_PPM if is_replaced else MAX_RISE_PPM
        room = (pts_90k - self.raised_at_90k) * rise_ppm // 1_000_000
        if room > 0:
            self.raised_at_90k = pts_90k
            self.offset_90k += min(room, max(0, least - self.offset_90k))

    def of(self, pts_90k: int, arrival: ArrivalTime) -> int:
        return arrival.wall_90k if self.offset_90k is None else min(pts_90k + self.offset_90k, arrival.wall_90k)


class Timeline:
    """One run's timeline, for video and audio together."""

    def __init__(self, counters: CaptureCounters | None = None) -> None:
        self.counters = counters if counters is not None else CaptureCounters()
        """``timestamps_repaired`` and ``timestamp_jumps`` are counted here."""
        self._tracks = {kind: _Track() for kind in MediaKind}
        self._capture = _CaptureTime()

    def expect(self, kind: MediaKind, frame_90k: int) -> None:
        """Set a frame's usual duration in ticks, where the stream declares one."""
        self._tracks[kind].frame_90k = frame_90k

    def timestamp(self, kind: MediaKind, time: SourceTime, arrival: ArrivalTime, reorder: int = 0) -> Timestamps:
        """The times of a track's next packet. ``reorder`` is by how many frames decoding may run ahead of
        presentation."""
        track = self._tracks[kind]
        last = track.last
        pts, dts = time.pts, time.dts
        if pts is None and dts is None and last is None:
            pts = 0
        source = dts if dts is not None else pts
        source_90k = None if source is None else time.ticks_90k(source)
        is_constant = last is not None and source_90k is not None and last.source_90k == source_90k
        repaired = False
        if source_90k is None or is_constant:
            repaired = True
            dts_90k = self._predict(track, arrival)
            pts_90k = dts_90k
        else:
            track.clock.observe(source_90k, arrival.monotonic, may_be_gross=kind is MediaKind.VIDEO and not reorder)
            used_90k = track.clock.correct(source_90k)
            if dts is None and reorder:
                dts_90k, pts_90k = self._reordered(track, used_90k, arrival, reorder)
            else:
                offset_90k = self._offset(track, used_90k, arrival, time.time_base)
                dts_90k = used_90k + offset_90k
                pts_90k = dts_90k if pts is None else track.clock.correct(time.ticks_90k(pts)) + offset_90k
        if last is not None and dts_90k <= last.dts_90k:
            repaired, dts_90k = True, last.dts_90k + 1
        if pts_90k < dts_90k:
            repaired, pts_90k = True, dts_90k
        self.counters.timestamps_repaired += repaired or track.clock.is_replaced
        if not repaired:
            track.anchor = (dts_90k, arrival.monotonic)
            if last is not None and 1 < dts_90k - last.dts_90k < CLOCK_RATE:
                track.frame_90k = dts_90k - last.dts_90k
        elif last is None:
            track.anchor = (dts_90k, arrival.monotonic)
        # With B-frames a pts without a dts says nothing about the decoding order, so an unchanged one means nothing.
        known_90k = None if dts is None and reorder else source_90k
        track.last = _Last(dts_90k, arrival.monotonic, known_90k)
        self._capture.follow_steps(arrival)
        if kind is MediaKind.VIDEO:
            self._capture.learn(pts_90k, arrival, is_replaced=track.clock.is_replaced)
        # The duration of audio is the number of its samples. The declared duration of video is often wrong.
        duration_90k = track.frame_90k
        if time.duration > 0 and (kind is MediaKind.AUDIO or not duration_90k):
            duration_90k = time.ticks_90k(time.duration)
        return Timestamps(pts_90k, dts_90k, duration_90k, self._capture.of(pts_90k, arrival))

    def _reordered(self, track: _Track, pts_90k: int, arrival: ArrivalTime, reorder: int) -> tuple[int, int]:
        """dts and pts of a frame that has only a pts, in a stream with B-frames.

        Decoding times are the presentation times in ascending order, ``reorder`` frames ahead.
        """
        ahead_90k = reorder * track.assumed_frame_90k
        # Presentation times may be up to ``reorder`` frames off decoding order. The earliest must not look like a jump.
        pts_90k += self._offset(track, pts_90k - ahead_90k, arrival, Fraction(1, CLOCK_RATE))
        insort(track.presented, pts_90k)
        del track.presented[: -(reorder + 1)]
        if len(track.presented) > reorder:
            return track.presented[0], pts_90k
        if track.last is None:
            return pts_90k - ahead_90k, pts_90k
        return min(track.last.dts_90k + track.assumed_frame_90k, pts_90k), pts_90k

    def _predict(self, track: _Track, arrival: ArrivalTime) -> int:
        """The time of a packet without a timestamp."""
        if track.last is None:
            return 0
        next_90k = track.last.dts_90k + track.assumed_frame_90k
        arrived_90k = track.anchor[0] + seconds_90k(arrival.monotonic - track.anchor[1])
        return next_90k + (arrived_90k - next_90k) // PULL

    def _offset(self, track: _Track, source_90k: int, arrival: ArrivalTime, time_base: Fraction) -> int:
        """The offset that explains this source time. Where no known one does, a new one, which is remembered."""
        last = track.last
        others = [other for other in self._tracks.values() if other is not track and other.last is not None]
        if last is None:
            track.offset_90k = track.earlier_offset_90k = self._first_offset(source_90k, arrival, others)
            return track.offset_90k
        elapsed_90k = max(0, seconds_90k(arrival.monotonic - last.monotonic))

        def explains(offset_90k: int) -> bool:
            step_90k = source_90k + offset_90k - last.dts_90k
            return -MAX_BACKWARDS_90K <= step_90k <= elapsed_90k + MAX_AHEAD_90K

        if explains(track.offset_90k):
            return track.offset_90k
        self.counters.timestamp_jumps += 1
        known = [track.earlier_offset_90k, *(other.offset_90k for other in others)]
        for wrap in WRAPS:
            wrap_90k = wrap * time_base.numerator * CLOCK_RATE // time_base.denominator
            known += [track.offset_90k + wrap_90k, track.offset_90k - wrap_90k]
        offset_90k = next(
            filter(explains, known), last.dts_90k + max(elapsed_90k, track.assumed_frame_90k) - source_90k
        )
        track.earlier_offset_90k, track.offset_90k = track.offset_90k, offset_90k
        return offset_90k

    def _first_offset(self, source_90k: int, arrival: ArrivalTime, others: list[_Track]) -> int:
        """The tracks of one source share a timeline, unless the second to begin is far from the first."""
        for other in others:
            assert other.last is not None
            now_90k = other.last.dts_90k + seconds_90k(arrival.monotonic - other.last.monotonic)
            if abs(source_90k + other.offset_90k - now_90k) <= MAX_AHEAD_90K:
                return other.offset_90k
            self.counters.timestamp_jumps += 1
            return now_90k - source_90k
        return -source_90k
