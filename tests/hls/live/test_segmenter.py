"""Parts have a legal length and lose no frame, whatever the camera's time stamps."""

from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise

import av
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import CLOCK_RATE, seconds_90k
from gateway.media import Packet
from hls.live.counters import LiveCounters
from hls.live.segmenter import Part, Segmenter
from hls.live.target_duration import TargetDurations
from tests.support.sources.packets import AAC, START_90K, PacketSource, Shape

TARGETS = TargetDurations(part_target_90k=18_450, target_duration_s=3)
SHAPE = Shape(gop=10)


@dataclass
class Output:
    """A segmenter, and everything that it gave."""

    counters: LiveCounters = field(default_factory=LiveCounters)
    segments: list[list[Part]] = field(default_factory=list)
    open: list[Part] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.segmenter = Segmenter(TARGETS, self.counters)

    def feed(self, packet: Packet, now_s: float) -> None:
        self.segmenter.feed(packet, now_s)
        self._take()

    def advance(self, now_s: float) -> None:
        self.segmenter.advance(now_s)
        self._take()

    def _take(self) -> None:
        for event in self.segmenter.take_events():
            if isinstance(event, Part):
                self.open.append(event)
                continue
            assert self.open
            self.segments.append(self.open)
            self.open = []

    @property
    def parts(self) -> list[Part]:
        return [part for segment in (*self.segments, self.open) for part in segment]

    def frames(self) -> list[tuple[int, int]]:
        """(dts, pts) of every video sample."""
        found: list[tuple[int, int]] = []
        for part in self.parts:
            if not part.is_gap:
                with av.open(BytesIO(part.muxer.init + part.data), "r") as container:
                    packets = (packet for packet in container.demux(video=0) if packet.size)
                    found += [(packet.dts or 0, packet.pts or 0) for packet in packets]
        return found


def assert_legal(output: Output) -> None:
    for segment in output.segments:
        for index, part in enumerate(segment):
            assert 0 < part.duration_90k <= TARGETS.part_target_90k
            exempt = part.is_independent or part.is_gap or index == len(segment) - 1
            assert exempt or part.duration_90k >= TARGETS.part_min_90k
        assert sum(part.duration_90k for part in segment) <= TARGETS.target_duration_90k
    parts = output.parts
    for before, after in pairwise(parts):
        assert before.start_90k + before.duration_90k == after.start_90k


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(200, 60_000), min_size=20, max_size=120))
def test_any_frame_intervals_give_legal_parts_and_keep_every_frame(steps: list[int]) -> None:
    output = Output()
    source = PacketSource(SHAPE)
    dts_90k, sent = 0, []
    for step_90k in steps:
        output.feed(source.frame(START_90K + dts_90k, dts_90k), dts_90k / CLOCK_RATE)
        sent.append(dts_90k)
        dts_90k += step_90k
    output.advance(dts_90k / CLOCK_RATE + 3)
    assert_legal(output)
    frames = output.frames()
    assert [pts for _, pts in frames] == sent
    decode_times = [dts for dts, _ in frames]
    assert decode_times == sorted(set(decode_times))
    assert all(dts <= pts for dts, pts in frames)


def test_segments_go_from_keyframe_to_keyframe_and_last_a_second() -> None:
    output = Output()
    for packet in PacketSource(SHAPE).frames(100):
        output.feed(packet, packet.dts_90k / CLOCK_RATE)
    # A GOP is two thirds of a second: two of them make a segment.
    assert [sum(part.duration_90k for part in segment) for segment in output.segments] == [120_000] * 4
    assert all(segment[0].is_independent for segment in output.segments)
    assert all(part.duration_90k == 18_000 for segment in output.segments for part in segment[:-1])


def test_a_gop_beyond_the_target_duration_is_cut_within_it() -> None:
    output = Output()
    for packet in PacketSource(Shape(gop=150)).frames(310):
        output.feed(packet, packet.dts_90k / CLOCK_RATE)
    assert_legal(output)
    assert [segment[0].is_independent for segment in output.segments[:4]] == [True, False, False, False]
    assert len(output.frames()) > 300


def test_b_frames_keep_their_presentation_times() -> None:
    output = Output()
    source = PacketSource(SHAPE)
    leads = [12_000, 18_000, 6_000, 6_000]
    sent = []
    for number in range(40):
        packet = source.frame(START_90K, number * 6000, lead_90k=leads[number % 4])
        sent.append(packet.pts_90k)
        output.feed(packet, number / 15)
    output.advance(100)
    assert [pts for _, pts in output.frames()] == sent


def test_a_stall_adds_gap_parts_when_due_and_ends_with_a_keyframe_after_a_discontinuity() -> None:
    output = Output()
    source = PacketSource(SHAPE)
    for packet in source.frames(33):
        output.feed(packet, packet.dts_90k / CLOCK_RATE)
    stalled_from_s = 32 / 15
    assert output.segmenter.due_s == stalled_from_s + 1.5
    output.advance(output.segmenter.due_s - 0.01)
    assert not any(part.is_gap for part in output.parts)
    output.advance(output.segmenter.due_s)
    gaps = [part for part in output.parts if part.is_gap]
    assert len(gaps) == (seconds_90k(1.5) - SHAPE.frame_90k) // TARGETS.part_target_90k
    due_s = output.segmenter.due_s
    output.advance(due_s)
    assert len([part for part in output.parts if part.is_gap]) == len(gaps) + 1
    # The camera continues in the middle of its GOP, which cannot be shown.
    source.number = 105
    for packet in source.frames(10):
        output.feed(packet, due_s + 1 + packet.dts_90k / CLOCK_RATE - 7)
    assert output.counters.packets_dropped == 5
    (first,) = [part for part in output.parts if part.is_discontinuity]
    assert first.is_independent
    assert_legal(output)


def test_a_quick_reconnect_is_a_discontinuity_without_a_gap() -> None:
    output = Output()
    for packet in PacketSource(SHAPE).frames(23):
        output.feed(packet, packet.dts_90k / CLOCK_RATE)
    for packet in PacketSource(SHAPE, run=2, first_dts_90k=999).frames(23):
        output.feed(packet, 22 / 15 + 0.1 + packet.dts_90k / CLOCK_RATE)
    assert not any(part.is_gap for part in output.parts)
    assert [part.is_discontinuity for part in output.parts].count(True) == 1
    assert_legal(output)


def test_audio_that_begins_late_joins_at_the_next_keyframe() -> None:
    output = Output()
    shape = Shape(gop=15, audio=AAC)
    for packet in PacketSource(shape).with_sound(90):
        if packet.is_video or packet.dts_90k > 2.5 * CLOCK_RATE:
            output.feed(packet, packet.dts_90k / CLOCK_RATE)
    with_sound = [segment[0].muxer.info.audio is not None for segment in output.segments]
    assert with_sound == [False, False, False, True, True]
    assert [segment[0].is_discontinuity for segment in output.segments] == [False, False, False, True, False]
    assert_legal(output)
