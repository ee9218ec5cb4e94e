"""Parts have a legal length and lose no frame, whatever the camera's time stamps."""

from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import groupby, pairwise

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import CLOCK_RATE
from gateway.media import AudioInfo, Packet
from hls.parts.counters import PartCounters
from hls.parts.fragment_borders import FragmentBorders
from hls.parts.part import Part, PartSamples
from hls.parts.segmenter import Segmenter
from hls.parts.target_duration import TargetDurations
from tests.support.sources.packets import AAC, PCMU, START_90K, PacketSource, Shape

TARGETS = TargetDurations(part_target_90k=18_450, target_duration_s=3)
SHAPE = Shape(gop=10)


@dataclass
class Output:
    """A segmenter, and everything that it gave."""

    counters: PartCounters = field(default_factory=PartCounters)
    segments: list[list[Part]] = field(default_factory=list)
    open: list[Part] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.segmenter = Segmenter(TARGETS, self.counters)

    def feed(self, packet: Packet, now_s: float) -> None:
        self.segmenter.feed(packet, now_s)
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
            with av.open(BytesIO(part.muxer.init + part.data), "r") as container:
                packets = (packet for packet in container.demux(video=0) if packet.size)
                found += [(packet.dts or 0, packet.pts or 0) for packet in packets]
        return found


def assert_legal(output: Output) -> None:
    for segment in output.segments:
        assert len({part.is_listed for part in segment}) == 1
        for index, part in enumerate(segment):
            assert part.duration_90k > 0
            if not part.is_listed:
                continue
            assert part.duration_90k <= TARGETS.part_target_90k
            exempt = part.is_independent or index == len(segment) - 1
            assert exempt or part.duration_90k >= TARGETS.part_min_90k
        assert sum(part.duration_90k for part in segment) <= TARGETS.segment_max_90k
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
    output.feed(PacketSource(SHAPE, run=2).frame(START_90K), dts_90k / CLOCK_RATE + 3)
    assert_legal(output)
    frames = output.frames()
    assert len(frames) == len(sent)
    lags = [
        (b - a) - (pts_b - pts_a)
        for (a, b), ((_, pts_a), (_, pts_b)) in zip(pairwise(sent), pairwise(frames), strict=True)
    ]
    # Presentation times are those of the camera, but for a discontinuity at a keyframe after too few frames.
    assert all(lag == 0 or (lag > 0 and number % SHAPE.gop == 0) for number, lag in enumerate(lags, 1))
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
    assert [segment[0].is_independent for segment in output.segments[:4]] == [True, False, False, True]
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
    output.feed(PacketSource(SHAPE, run=2).frame(START_90K), 100)
    assert [pts for _, pts in output.frames()] == sent


def test_packets_that_come_late_continue_the_stream() -> None:
    output = Output()
    source = PacketSource(SHAPE)
    for packet in source.frames(33):
        output.feed(packet, packet.dts_90k / CLOCK_RATE)
    assert output.segmenter.stalls_at_s == 32 / 15 + 1.5
    # A network that stood still for 20 s brings everything.
    for packet in source.frames(60):
        output.feed(packet, 22)
    assert output.counters.packets_dropped == 0
    assert not any(part.is_discontinuity for part in output.parts)
    assert len(output.frames()) > 88
    assert_legal(output)


def fed_with_gaps(gaps_s: dict[int, float], count: int, fps: int = 25, gop: int = 25) -> Output:
    """Frames, before some of which nothing came for so long."""
    output = Output()
    source = PacketSource(Shape(gop=gop))
    dts_90k = 0
    for number in range(count):
        dts_90k += round(gaps_s.get(number, 0) * CLOCK_RATE)
        output.feed(source.frame(START_90K + dts_90k, dts_90k), dts_90k / CLOCK_RATE)
        dts_90k += CLOCK_RATE // fps
    assert_legal(output)
    return output


@pytest.mark.parametrize("gap_s", [0.3, 0.9, 1.9, 4.8, 12.0])
def test_lost_pictures_lengthen_the_one_before_them(gap_s: float) -> None:
    output = fed_with_gaps({100: gap_s}, 300)
    assert not any(part.is_discontinuity for part in output.parts)
    frames = output.frames()
    assert len(frames) > 290
    shown = [pts for _, pts in frames]
    assert [after - before for before, after in pairwise(shown)] == [
        3600 + round(gap_s * CLOCK_RATE) * (number == 99) for number in range(len(frames) - 1)
    ]
    # The decoding times catch up, in parts of one frame.
    assert frames[-1][0] == frames[-1][1]
    if gap_s < 5:
        assert all(part.is_listed for part in output.parts)
        assert frames[175][0] == frames[175][1]


def test_the_date_of_a_part_that_begins_before_its_frame_is_that_of_its_beginning() -> None:
    output = fed_with_gaps({100: 4.8}, 300)
    for before, after in pairwise(output.parts):
        assert after.captured_at_90k - before.captured_at_90k == before.duration_90k


def test_a_camera_that_loses_most_of_its_pictures_has_whole_segments() -> None:
    output = fed_with_gaps(dict.fromkeys(range(105, 400, 5), 1.5), 500, gop=5)
    assert not any(part.is_discontinuity for part in output.parts)
    assert {part.is_listed for part in output.parts} == {True, False}
    assert all(part.is_listed for part in output.parts[-5:])
    frames = output.frames()
    assert max(pts - dts for dts, pts in frames) < 4 * CLOCK_RATE
    assert frames[-1][0] == frames[-1][1]


def test_a_long_gap_is_a_discontinuity_at_the_next_keyframe() -> None:
    assert [part.is_discontinuity for part in fed_with_gaps({100: 16.0}, 200).parts].count(True) == 1
    output = fed_with_gaps({105: 16.0}, 200)
    assert len(output.frames()) > 190
    assert not any(part.is_discontinuity for part in output.parts)


def test_a_camera_without_a_frame_a_segment_is_followed_at_keyframes() -> None:
    output = fed_with_gaps(dict.fromkeys(range(100, 200), 5.0), 300)
    assert len(output.frames()) > 290
    assert 2 <= [part.is_discontinuity for part in output.parts].count(True) <= 5


@pytest.mark.parametrize(("outage_s", "is_afresh"), [(0.1, False), (8.9, False), (9.3, True), (600, True)])
def test_a_reconnect_is_a_discontinuity_and_after_a_long_outage_the_playlist_begins_afresh(
    outage_s: float, is_afresh: bool
) -> None:
    output = Output()
    for packet in PacketSource(SHAPE).frames(23):
        output.feed(packet, packet.dts_90k / CLOCK_RATE)
    for packet in PacketSource(SHAPE, run=2, first_dts_90k=999).frames(23):
        output.feed(packet, 22 / 15 + outage_s + (packet.dts_90k - 999) / CLOCK_RATE)
    (first,) = [part for part in output.parts if part.is_discontinuity]
    assert first.begins_afresh == is_afresh
    (segment,) = [segment for segment in output.segments if first in segment]
    assert (segment == [first]) == is_afresh, "a player needs a complete segment to begin with"
    assert_legal(output)


def test_a_frame_rate_below_a_frame_a_part_is_followed_at_keyframes() -> None:
    output = Output()
    now_s = 0.0
    for number in range(80):
        packet = PacketSource(Shape(gop=4, frame_90k=45_000), number=number).frame(START_90K)
        now_s = packet.dts_90k / CLOCK_RATE
        output.feed(packet, now_s)
        lag_90k = packet.dts_90k + output.segmenter._offset_90k - output.segmenter._end_90k
        assert lag_90k < 5 * 45_000
    assert any(part.is_discontinuity for part in output.parts)
    assert len(output.frames()) > 75
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


@pytest.mark.parametrize("gop", [10, 17, 100])
def test_sound_that_only_a_recording_needs_comes_with_the_part_that_completes_a_fragment(gop: int) -> None:
    def fed(*, may_wait: bool) -> list[PartSamples]:
        output, recorded = Output(), list[PartSamples]()
        output.segmenter = Segmenter(TARGETS, sound_may_wait=lambda: may_wait)
        output.segmenter.has_audio = True
        output.segmenter.on_samples = recorded.append
        for packet in PacketSource(Shape(gop=gop, audio=PCMU)).with_sound(150):
            output.feed(packet, packet.dts_90k / CLOCK_RATE)
        output.segmenter.end_run()
        return recorded

    def fragments(parts: list[PartSamples]) -> list[list[int]]:
        """The times of the sound of each fragment of the recording."""
        found: list[list[int]] = [[]]
        borders = FragmentBorders()
        for part in parts:
            if part.is_keyframe and found[-1]:
                found.append([])
            found[-1] += [sample.dts for sample in part.audio.samples] if part.audio is not None else []
            if borders.is_complete(part.duration_90k, is_keyframe=part.is_keyframe):
                found.append([])
        return [each for each in found if each]

    prompt, waiting = fed(may_wait=False), fed(may_wait=True)
    assert fragments(waiting) == fragments(prompt)
    with_sound = sum(part.audio is not None for part in prompt)
    assert sum(part.audio is not None for part in waiting) < 0.75 * with_sound


@pytest.mark.parametrize("slow_fps", [4, 2, 1])
def test_a_camera_that_becomes_slower_than_its_parts_has_whole_segments_until_it_is_fast_again(slow_fps: int) -> None:
    output = Output()
    source = PacketSource(Shape(gop=25))
    dts_90k, sent = 0, []
    for number in range(300):
        output.feed(source.frame(START_90K + dts_90k, dts_90k), dts_90k / CLOCK_RATE)
        sent.append(dts_90k)
        dts_90k += CLOCK_RATE // (slow_fps if 50 <= number < 150 else 25)
    assert_legal(output)
    assert not any(part.is_discontinuity for part in output.parts)
    listed = [segment[0].is_listed for segment in output.segments]
    assert [kind for kind, _ in groupby(listed)] == [True, False, True]
    # All are shown when they were; the lag of the first ones is made up for.
    frames = output.frames()
    assert [pts - frames[0][1] for _, pts in frames] == sent[: len(frames)]
    slow = [segment for segment in output.segments if not segment[0].is_listed]
    assert all(pts - dts < 2 * CLOCK_RATE for dts, pts in frames)
    assert frames[-1][0] == frames[-1][1]
    assert sum(part.duration_90k for segment in slow for part in segment) > 90 * CLOCK_RATE // slow_fps


def test_silence_beside_another_stream_is_in_the_playlist_alone_and_stays() -> None:
    wanted: list[AudioInfo] = []
    recorded: list[PartSamples] = []
    output = Output()
    output.segmenter = Segmenter(TARGETS, wanted_sound=lambda: wanted[0] if wanted else None)
    output.segmenter.on_samples = recorded.append
    for run in (1, 2):
        for packet in PacketSource(SHAPE, run=run).frames(40, START_90K + run * 90_000 * 10):
            output.feed(packet, (run * 40 + packet.dts_90k / 6000) / 15)
            if packet.dts_90k == 15 * 6000:
                wanted.append(AAC)
        # The other stream has lost its sound: a playlist that has a track keeps it.
        wanted.clear()
    tracks = [part.muxer.info.audio is not None for part in output.parts]
    assert [has_track for has_track, _ in groupby(tracks)] == [False, True]
    (first,) = [part for part in output.parts if part.begins_afresh]
    assert first is output.parts[tracks.index(True)]
    assert first.is_independent
    assert first.is_discontinuity
    assert all(part.info.audio is None and part.audio is None for part in recorded)
    silent = output.parts[tracks.index(True) :]
    with av.open(BytesIO(first.muxer.init + b"".join(bytes(part.data) for part in silent)), "r") as container:
        samples = sum(packet.duration or 0 for packet in container.demux(audio=0))
    assert (
        abs(samples / 48_000 - sum(part.duration_90k for part in silent) / CLOCK_RATE) < 2 * 1024 / 48_000
    )  # two runs


def test_sound_of_another_stream_of_which_there_can_be_no_silence_changes_nothing() -> None:
    output = Output()
    output.segmenter = Segmenter(TARGETS, wanted_sound=lambda: replace(AAC, sample_rate_hz=17_000))
    for packet in PacketSource(SHAPE, run=1).frames(60, START_90K):
        output.feed(packet, packet.dts_90k / CLOCK_RATE)
    assert len(output.segments) > 1
    assert not any(part.is_discontinuity for part in output.parts)
