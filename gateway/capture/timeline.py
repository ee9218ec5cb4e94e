"""Timeline: repairs a camera's timestamps, so that they follow the rules of :mod:`gateway.media`. Sans-IO.

Theory of operation. There are two repairs, one after the other.

*The media timeline.* A source timestamp becomes 90 kHz ticks, plus an offset that is kept for each track. As long as a
packet's time agrees with its arrival, nothing else is done: the time of a healthy camera passes unchanged. A source
clock that runs at another rate is replaced (:mod:`gateway.capture.clock_drift`). A packet whose time is far before the
last one's, or that would come before its time, is a jump of the source. It may have wrapped (32 bits of RTP, 33 of
MPEG-TS), returned from a single bad timestamp, or followed a jump that the other track made before. The first of these
that explains the packet is used. Where none does, the packet counts as one without a time, and the new offset is
remembered.

*The capture time.* A frame cannot have been captured after it arrived, and delay is never negative. So the frame with
the smallest ``arrival - pts`` had the least delay, and its difference maps the timeline to the wall clock for all
frames.

Sound that is too late for the pictures is moved (:mod:`gateway.capture.sound_delay`).

Rules:

1. A run begins at 0. Within a track ``dts_90k`` grows strictly, and ``pts_90k >= dts_90k``. All arithmetic is in
   integers and from absolute source values, so that no error accumulates.
2. A missing timestamp is the previous one plus the time between two arrivals, on average, pulled gently towards the
   arrival. A source time that does not change (some cameras always send 0), or that steps back for
   ``BACKWARDS_PACKETS`` in a row, counts as missing. A first packet without a time is at source time 0, where libav's
   RTP timelines begin.
3. ``captured_at_90k`` is never later than the arrival. It falls to the least delayed frame at once, and follows it as
   :mod:`gateway.capture.least_delay` says. Where the source clock was replaced, it is that of the exact clock to which
   that one is led back.
4. A step of the wall clock (it moves and the monotonic clock does not) moves the capture time with it.
5. The capture time is learned from video only: audio often arrives before its time, by the length of a buffer.
"""

from bisect import insort
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from gateway.capture.clock_drift import AHEAD_90K, SourceClock
from gateway.capture.counters import CaptureCounters
from gateway.capture.least_delay import LeastDelay
from gateway.capture.sound_delay import SoundDelay
from gateway.clock import CLOCK_RATE, seconds_90k
from gateway.media import AUDIO, VIDEO, MediaKind

MAX_AHEAD_90K = 3 * CLOCK_RATE
"""How far two tracks may begin apart, and how long a frame of a backlog may be, in ticks."""

MAX_BACKWARDS_90K = CLOCK_RATE // 2
"""Steps back up to this, in ticks, are jitter and are flattened. Larger ones are jumps."""

BACKWARDS_PACKETS = 3

WALL_STEP_90K = CLOCK_RATE // 10
"""A difference between wall and monotonic clock above this, between two packets, is a step and not NTP's slewing."""

WRAPS = (1 << 32, 1 << 33)
"""Where source timestamps wrap, in their own ticks: RTP (RFC 3550 §5.1) and MPEG-TS (ISO/IEC 13818-1 §2.4.3.6)."""

DEFAULT_FRAME_90K = CLOCK_RATE // 25
"""A frame's duration where neither the stream nor earlier frames say it."""

PULL = 8
"""A missing timestamp is pulled by 1/8 of its distance to the arrival. That is smooth, and within 0.5 s of the arrival
even where the assumed frame rate is half the real one."""

PULL_MAX_90K = 3 * CLOCK_RATE // 2
"""A larger distance, in ticks, is a pause of the camera, and is made up for at once."""

INTERVALS = 64
"""Packets over which the time between two arrivals is averaged, and a fourth of it until the average is used."""


class SourceTime(NamedTuple):
    """A packet's times as its source sent them, in ticks of ``time_base`` seconds; ``duration`` 0 is unknown."""

    pts: int | None
    dts: int | None
    time_base: Fraction
    duration: int = 0

    def ticks_90k(self, value: int) -> int:
        """``value`` at 90 kHz, rounded down."""
        numerator, denominator = self.time_base.as_integer_ratio()
        return value if denominator == CLOCK_RATE and numerator == 1 else value * numerator * CLOCK_RATE // denominator


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
    """One track. ``offset_90k`` maps source time to the timeline."""

    frame_90k: int = 0
    interval_90k: float = 0.0
    """The average time between two arrivals, and of how many."""
    intervals: int = 0
    elapsed_90k: int = 0
    """The time between the latest two arrivals."""
    was_repaired: bool = False
    backwards: int = 0
    """Source times in a row that were before the one before them."""
    offset_90k: int = 0
    earlier_offset_90k: int = 0
    last: _Last | None = None
    clock: SourceClock = field(default_factory=SourceClock)
    presented: list[int] = field(default_factory=list)
    """The latest presentation times of a stream with B-frames, in their order."""

    @property
    def assumed_frame_90k(self) -> int:
        return self.frame_90k or DEFAULT_FRAME_90K

    @property
    def expected_step_90k(self) -> int:
        """What the step to a packet without a time should be."""
        return round(self.interval_90k) if self.intervals >= INTERVALS // 4 else self.assumed_frame_90k

    @property
    def presented_step_90k(self) -> int:
        """The shortest step between two of the latest presentation times; 0 where there are no two."""
        return min((after - before for before, after in pairwise(self.presented)), default=0)

    def learn_frame(self, step_90k: int) -> None:
        """Take the step between two packets for a frame's duration, unless some are missing between them."""
        most_90k = CLOCK_RATE if not self.frame_90k else min(CLOCK_RATE, 3 * max(self.frame_90k, self.interval_90k))
        if 1 < step_90k < most_90k:
            self.frame_90k = step_90k

    def due_90k(self, arrival: ArrivalTime) -> int:
        """The time that a packet of the least delay has now."""
        return self.clock.due_90k(arrival.monotonic) + self.offset_90k

    def note(self, dts_90k: int, arrival: ArrivalTime, source_90k: int | None) -> None:
        """Note a packet after its time was found."""
        if self.last is not None:
            self._note_interval(max(0, seconds_90k(arrival.monotonic - self.last.monotonic)))
        self.last = _Last(dts_90k, arrival.monotonic, source_90k)

    def _note_interval(self, elapsed_90k: int) -> None:
        """A pause counts as a second. Two in a row are what a camera of stills sends."""
        before_90k, self.elapsed_90k = self.elapsed_90k, elapsed_90k
        if min(before_90k, elapsed_90k) > CLOCK_RATE:
            self.intervals = INTERVALS
            self.interval_90k = float(min(before_90k, elapsed_90k))
            return
        if self.interval_90k > max(CLOCK_RATE, 4 * elapsed_90k):
            self.intervals = 0
        self.intervals = min(INTERVALS, self.intervals + 1)
        self.interval_90k += (min(CLOCK_RATE, elapsed_90k) - self.interval_90k) / self.intervals


@dataclass(slots=True)
class _CaptureTime:
    """The mapping from the timeline to the wall clock; rules 3 and 4."""

    least: LeastDelay = field(default_factory=LeastDelay)
    skew_90k: int | None = None

    def follow_steps(self, arrival: ArrivalTime) -> None:
        skew = arrival.wall_90k - seconds_90k(arrival.monotonic)
        step = 0 if self.skew_90k is None else skew - self.skew_90k
        self.skew_90k = skew
        if abs(step) > WALL_STEP_90K:
            self.least.shift(step)

    def learn(self, pts_90k: int, arrival: ArrivalTime, track: _Track) -> None:
        if track.clock.is_replaced and self.skew_90k is not None:
            self.least.set(pts_90k, track.clock.exact_90k - track.offset_90k + self.skew_90k)
        else:
            self.least.learn(pts_90k, arrival.wall_90k - pts_90k)

    def of(self, pts_90k: int, arrival: ArrivalTime) -> int:
        least_90k = self.least.value_90k
        return arrival.wall_90k if least_90k is None else min(pts_90k + least_90k, arrival.wall_90k)


class Timeline:
    """One run's timeline, for video and audio together."""

    def __init__(self, counters: CaptureCounters | None = None) -> None:
        self.counters = counters if counters is not None else CaptureCounters()
        """``timestamps_repaired`` and ``timestamp_jumps`` are counted here."""
        self._tracks = {kind: _Track() for kind in MediaKind}
        self._capture = _CaptureTime()
        self._sound_delay = SoundDelay()

    def expect(self, kind: MediaKind, frame_90k: int) -> None:
        """Set a frame's usual duration in ticks, where the stream declares one."""
        self._tracks[kind].frame_90k = frame_90k

    def expected_step_90k(self, kind: MediaKind) -> int:
        """The usual time from one frame to the next, in ticks."""
        return self._tracks[kind].expected_step_90k

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
        is_reordered = dts is None and reorder > 0
        repaired = False
        if source_90k is None or self._is_untimed(track, source_90k, is_reordered=is_reordered):
            repaired = True
            dts_90k = pts_90k = self._predict(track, arrival)
        else:
            ahead_90k = reorder * track.assumed_frame_90k if is_reordered else 0
            if not self._jumps(track, source_90k, arrival, time.time_base, ahead_90k):
                may_be_gross = kind is VIDEO and not reorder
                track.clock.observe(source_90k, arrival.monotonic, may_be_gross=may_be_gross, reorder_90k=2 * ahead_90k)
            dts_90k = track.clock.correct(source_90k) + track.offset_90k
            if is_reordered:
                dts_90k, pts_90k = self._reordered(track, dts_90k, ahead_90k, reorder)
            else:
                pts_90k = dts_90k if pts is None else track.clock.correct(time.ticks_90k(pts)) + track.offset_90k
        if kind is AUDIO:
            moved_90k = self._move_sound(track, dts_90k, source_90k, arrival)
            dts_90k, pts_90k = dts_90k + moved_90k, pts_90k + moved_90k
        if last is not None and dts_90k <= last.dts_90k:
            # With B-frames it is the order that is not known, and the time that is.
            step_90k = 1 if is_reordered else self._flattened_step(track, arrival)
            repaired, dts_90k = True, last.dts_90k + step_90k
        if pts_90k < dts_90k:
            repaired, pts_90k = True, dts_90k
        self.counters.timestamps_repaired += repaired or track.clock.is_replaced
        if not repaired and not track.was_repaired and last is not None:
            step_90k = dts_90k - last.dts_90k
            if not is_reordered or step_90k <= 2 * track.presented_step_90k:
                track.learn_frame(step_90k)
        track.was_repaired = repaired
        track.note(dts_90k, arrival, None if is_reordered else source_90k)
        self._capture.follow_steps(arrival)
        if kind is VIDEO:
            self._capture.learn(pts_90k, arrival, track)
        # The duration of audio is the number of its samples. The declared duration of video is often wrong.
        duration_90k = track.frame_90k
        if time.duration > 0 and (kind is AUDIO or not duration_90k):
            duration_90k = time.ticks_90k(time.duration)
        return Timestamps(pts_90k, dts_90k, duration_90k, self._capture.of(pts_90k, arrival))

    def _move_sound(self, track: _Track, sound_90k: int, source_90k: int | None, arrival: ArrivalTime) -> int:
        """Move sound that is too late for the pictures; by how much this packet is moved."""
        video = self._tracks[VIDEO]
        newest = video.last
        if newest is None:
            return 0
        # Up to the next picture, time goes on.
        since_90k = min(max(0, seconds_90k(arrival.monotonic - newest.monotonic)), video.expected_step_90k)
        moved_90k = self._sound_delay.observe(sound_90k, newest.dts_90k + since_90k, arrival.monotonic)
        if moved_90k and source_90k is not None and track.due_90k(arrival) - sound_90k > MAX_BACKWARDS_90K:
            # Its clock stood still, which is no drift. By less, drift is what it may be.
            track.clock.jump(source_90k, arrival.monotonic, moved_90k)
        track.offset_90k += moved_90k
        return moved_90k

    def _is_untimed(self, track: _Track, source_90k: int, *, is_reordered: bool) -> bool:
        """Whether a source time says nothing: rule 2."""
        # With B-frames a pts without a dts says nothing about the decoding order, so an unchanged one means nothing.
        if track.last is None or track.last.source_90k is None or is_reordered:
            return False
        step_90k = source_90k - track.last.source_90k
        track.backwards = track.backwards + 1 if -MAX_BACKWARDS_90K <= step_90k < 0 else 0
        return step_90k == 0 or track.backwards >= BACKWARDS_PACKETS

    def _reordered(self, track: _Track, pts_90k: int, ahead_90k: int, reorder: int) -> tuple[int, int]:
        """dts and pts of a frame that has only a pts, in a stream with B-frames.

        Decoding times are the presentation times in ascending order, ``reorder`` frames ahead.
        """
        frame_90k = track.assumed_frame_90k
        gap_90k = 2 * (reorder + 2) * max(frame_90k, track.expected_step_90k)
        if track.presented and pts_90k - track.presented[-1] > gap_90k:
            # Frames are missing: what was presented before says nothing about the order of these.
            track.presented = [pts_90k - number * frame_90k for number in range(reorder, 0, -1)]
        insort(track.presented, pts_90k)
        del track.presented[: -(reorder + 1)]
        if len(track.presented) > reorder:
            return track.presented[0], pts_90k
        if track.last is None:
            return pts_90k - ahead_90k, pts_90k
        return min(track.last.dts_90k + frame_90k, pts_90k), pts_90k

    def _predict(self, track: _Track, arrival: ArrivalTime) -> int:
        """The time of a packet without a timestamp."""
        assert track.last is not None
        next_90k = track.last.dts_90k + track.expected_step_90k
        due_90k = track.due_90k(arrival)
        if due_90k - next_90k > PULL_MAX_90K:
            return due_90k
        return min(next_90k + (due_90k - next_90k) // PULL, due_90k + AHEAD_90K)

    def _flattened_step(self, track: _Track, arrival: ArrivalTime) -> int:
        """The step from the packet before to one that would not be after it: half a frame, but not ahead of time."""
        assert track.last is not None
        return max(1, min(track.expected_step_90k // 2, track.due_90k(arrival) + AHEAD_90K - track.last.dts_90k))

    def _jumps(self, track: _Track, source_90k: int, arrival: ArrivalTime, time_base: Fraction, ahead_90k: int) -> bool:
        """Find the offset that explains a source time, which may decode ``ahead_90k`` earlier; whether it is another.

        Where no known one does, there is a new one, which is remembered.
        """
        last, clock = track.last, track.clock
        if last is not None:
            # Most times are explained at once.
            at_90k = clock.correct(source_90k) - ahead_90k + track.offset_90k
            ahead_of_due_90k = at_90k - track.due_90k(arrival) - 2 * ahead_90k
            if ahead_of_due_90k <= AHEAD_90K and at_90k - last.dts_90k >= -MAX_BACKWARDS_90K:
                return False
        others = [other for other in self._tracks.values() if other is not track and other.last is not None]
        if last is None:
            first_90k = self._first_offset(source_90k - ahead_90k, arrival, others)
            track.offset_90k = track.earlier_offset_90k = first_90k
            return False
        used_90k = track.clock.correct(source_90k) - ahead_90k
        due_90k = track.due_90k(arrival) + 2 * ahead_90k
        elapsed_90k = max(0, seconds_90k(arrival.monotonic - last.monotonic))
        is_backlog = track.clock.is_backlog(source_90k, arrival.monotonic)

        def explains(offset_90k: int) -> bool:
            at_90k = used_90k + offset_90k
            if at_90k > due_90k + AHEAD_90K and not (is_backlog and at_90k - last.dts_90k <= MAX_AHEAD_90K):
                return False
            return at_90k - last.dts_90k >= -MAX_BACKWARDS_90K

        step_90k = used_90k + track.offset_90k - last.dts_90k
        # What goes ahead gradually is held back by the clock, also where that clock leads it back too fast.
        most_90k = elapsed_90k * (2 if clock.is_replaced else 1) + AHEAD_90K + 2 * ahead_90k
        if explains(track.offset_90k) or 0 <= step_90k <= most_90k:
            return False
        self.counters.timestamp_jumps += 1
        known = [track.earlier_offset_90k, *(other.offset_90k for other in others)]
        for wrap in WRAPS:
            wrap_90k = wrap * time_base.numerator * CLOCK_RATE // time_base.denominator
            known += [track.offset_90k + wrap_90k, track.offset_90k - wrap_90k]
        offset_90k = next(filter(explains, known), None)
        if offset_90k is None:
            offset_90k = max(last.dts_90k + 1, self._predict(track, arrival)) - used_90k
        track.clock.jump(source_90k, arrival.monotonic, offset_90k - track.offset_90k)
        track.earlier_offset_90k, track.offset_90k = track.offset_90k, offset_90k
        return True

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
