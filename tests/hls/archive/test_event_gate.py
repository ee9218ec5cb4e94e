"""EventGate: what goes to the disk, by the spans of events."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest

from gateway.clock import CLOCK_RATE
from hls.archive.event_gate import BACK_90K, LATE_S, EventGate, Span, merged
from hls.archive.part_queue import QueuedPart
from hls.archive.recording import GRACE_90K
from hls.archive.segment import EndReason
from tests.support.recording import parts_of
from tests.support.sources.encoded import START_90K, EncoderSettings, encode

PART_90K = CLOCK_RATE // 5


class Stream:
    """Parts of 0.2 s with a keyframe each second; their times are seconds from the start."""

    def __init__(self, pre_roll_s: float = 3.0, max_bytes: int = 1 << 26) -> None:
        self.gate = EventGate(self._take, self._close, pre_roll_s, max_bytes)
        self.recordings: list[list[float]] = []
        """The times of the parts that went out, apart where one recording ended and another began."""
        self.closed = 0
        self.part = parts_of(encode(EncoderSettings(seconds=1)))[0]
        self.now = 0

    def _take(self, item: QueuedPart) -> None:
        if item.after is EndReason.EVENT_ENDED or not self.recordings:
            assert item.part.is_keyframe or item.is_start
            self.recordings.append([])
        self.recordings[-1].append((item.part.captured_at_90k - START_90K) / CLOCK_RATE)

    def _close(self) -> None:
        self.closed += 1

    def want(self, *spans: tuple[float, float]) -> None:
        self.gate.set_spans(merged([(at(start), at(end)) for start, end in spans]))

    def play(self, until_s: float, *, gop: int = 5) -> None:
        while self.now * 0.2 < until_s - 0.001:
            self.offer(self.now * PART_90K, self.now % gop == 0)
            self.now += 1

    def offer(self, time_90k: int, is_keyframe: bool) -> None:
        part = replace(
            self.part,
            captured_at_90k=START_90K + time_90k,
            dts_90k=time_90k,
            end_90k=time_90k + PART_90K,
            is_keyframe=is_keyframe,
        )
        self.gate.offer(part)

    @property
    def ranges(self) -> list[tuple[float, float]]:
        """First and last moment of each recording, without holes inside."""
        for recording in self.recordings:
            steps = {round(after - before, 3) for before, after in pairwise(recording)}
            assert steps <= {0.2}
        return [(round(each[0], 3), round(each[-1] + 0.2, 3)) for each in self.recordings]


def at(seconds: float) -> int:
    return START_90K + round(seconds * CLOCK_RATE)


def test_nothing_goes_out_until_an_event_wants_it_and_then_from_the_keyframe_before() -> None:
    stream = Stream()
    stream.play(20.5)
    assert stream.recordings == []
    stream.want((17.4, 22.1))
    assert stream.ranges == [(17.0, 20.6)]
    stream.play(25)
    assert stream.ranges == [(17.0, 23.0)]  # to the keyframe after its end
    assert stream.closed == 1
    assert not stream.gate.is_open


def test_memory_has_the_pre_roll_of_an_event_that_is_heard_of_late_and_not_much_more() -> None:
    stream = Stream(pre_roll_s=3)
    stream.play(60)
    held_s = stream.gate.held_90k / CLOCK_RATE
    assert 3 + LATE_S <= held_s <= 3 + LATE_S + 1.2
    assert stream.gate.size == pytest.approx(held_s * 5 * stream.part.size, abs=stream.part.size)
    stream.want((60 - 3 - LATE_S, 60))
    assert stream.ranges[0][0] <= 60 - 3 - LATE_S
    assert stream.gate.size == 0
    assert stream.gate.dropped == 0


def test_an_event_of_the_past_is_recorded_alone_and_at_once() -> None:
    stream = Stream()
    stream.play(20)
    stream.want((14.2, 16.9))
    assert stream.ranges == [(14.0, 17.0)]
    assert stream.closed == 1
    stream.play(30)
    assert stream.ranges == [(14.0, 17.0)]


def test_overlapping_events_are_one_recording_and_distant_ones_are_two() -> None:
    stream = Stream(pre_roll_s=10)
    stream.play(20)
    stream.want((9.0, 12.0), (11.5, 14.0), (17.2, 17.8))
    assert stream.ranges == [(9.0, 14.0), (17.0, 18.0)]


def test_two_events_with_a_gap_of_less_than_a_gop_are_one_recording() -> None:
    stream = Stream()
    stream.play(10)
    stream.want((8.0, 10.1))
    stream.play(10.9)
    stream.want((8.0, 10.1), (10.8, 12))
    stream.play(15)
    assert stream.ranges == [(8.0, 12.0)]


def test_what_is_recorded_already_is_not_recorded_twice() -> None:
    stream = Stream()
    stream.play(10)
    stream.want((8.0, 10.1))
    stream.play(13)
    assert stream.ranges == [(8.0, 11.0)]
    stream.want((8.0, 10.1), (9.0, 14.0))
    stream.play(16)
    # The GOPs from 11 on follow at once, as one file if that is not finished yet.
    assert stream.ranges == [(8.0, 14.0)]
    assert len(stream.recordings[0]) == len(set(stream.recordings[0]))


def test_an_older_span_that_is_heard_of_after_newer_footage_went_out_gets_the_rest() -> None:
    stream = Stream(pre_roll_s=10)
    stream.play(20)
    stream.want((18.0, 25.0))
    stream.play(21)
    stream.want((12.0, 25.0))
    stream.play(27)
    assert stream.ranges == [(18.0, 25.0)]


def test_an_open_event_goes_on_until_it_gets_an_end() -> None:
    stream = Stream()
    stream.play(10)
    stream.want((9.0, 10_000.0))
    stream.play(100)
    stream.want((9.0, 101.5))
    stream.play(110)
    assert stream.ranges == [(9.0, 102.0)]


def test_an_event_in_the_future_begins_when_its_time_comes() -> None:
    stream = Stream()
    stream.play(10)
    stream.want((14.5, 15.5))
    assert stream.recordings == []
    stream.play(20)
    assert stream.ranges == [(14.0, 16.0)]


def test_a_deleted_event_ends_its_recording_with_the_gop() -> None:
    stream = Stream()
    stream.play(10)
    stream.want((9.0, 10_000.0))
    stream.play(12.5)
    stream.want()
    stream.play(20)
    assert stream.ranges == [(9.0, 13.0)]


def test_memory_is_bounded_in_bytes_and_loses_whole_gops() -> None:
    size = Stream().part.size
    stream = Stream(pre_roll_s=60, max_bytes=17 * size)
    stream.play(30)
    assert stream.gate.size <= 17 * size
    assert stream.gate.dropped > 0
    stream.want((0.0, 100.0))
    assert stream.ranges[0][0] == 27.0


def test_a_gop_that_is_larger_than_the_bound_is_dropped_to_the_next_keyframe() -> None:
    size = Stream().part.size
    stream = Stream(max_bytes=8 * size)
    stream.play(9, gop=50)
    assert stream.gate.size == 0
    stream.want((8.0, 12.0))
    assert stream.recordings == []
    stream.play(20, gop=50)
    assert stream.ranges == [(10.0, 20.0)]
    assert stream.gate.dropped == 50 * stream.part.packets


def test_a_camera_without_keyframes_is_recorded() -> None:
    stream = Stream()
    stream.play(100, gop=100_000)
    stream.want((99.0, 200.0))
    assert stream.ranges[0][0] <= 99.0
    assert stream.ranges[0][0] % (GRACE_90K / CLOCK_RATE) == 0
    stream.play(300, gop=100_000)
    assert stream.ranges[0][1] <= 200.0 + GRACE_90K / CLOCK_RATE
    assert stream.closed == 1


def test_a_clock_that_was_set_back_ends_what_is_in_memory() -> None:
    stream = Stream()
    stream.play(10)
    stream.offer(10 * CLOCK_RATE - 2 * BACK_90K, True)
    assert stream.gate.held_90k == PART_90K
    stream.want((0.0, 10.0))
    assert len(stream.recordings) == 1
    assert stream.recordings[0] == [6.0]


def test_what_is_in_memory_becomes_too_old_while_no_parts_come() -> None:
    stream = Stream()
    stream.play(10)
    stream.gate.advance(at(12))
    assert stream.gate.size > 0
    stream.gate.advance(at(10 + 3 + LATE_S + 1.5))
    assert stream.gate.size == 0
    stream.play(12.5)
    stream.want((10.0, 12.0))
    assert stream.ranges == [(10.0, 12.0)]


def spans_by_hand(spans: list[Span]) -> Iterator[int]:
    for start, end in spans:
        yield from range(start, end)


@pytest.mark.parametrize("spans", [[], [(1, 3), (2, 5), (7, 7), (9, 8)], [(5, 6), (1, 9), (9, 10)], [(3, 4), (3, 4)]])
def test_merged_spans_cover_the_same_and_are_apart(spans: list[Span]) -> None:
    result = merged(spans)
    assert set(spans_by_hand(result)) == set(spans_by_hand(spans))
    assert all(before[1] < after[0] for before, after in pairwise(result))
