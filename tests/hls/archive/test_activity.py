"""Activity: scores from the sizes of frames, of encoders as different as there are, and the same from the file."""

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import accumulate
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from hls.archive import activity_table
from hls.archive.activity import UNKNOWN, Activity, ActivityMeter
from hls.archive.baseline import LEARN_S, NOTHING_LEARNED, Baseline, baseline_of, baseline_text
from hls.archive.part_queue import QueuedPart
from hls.archive.recording import Recording
from hls.archive.recovery import recover
from hls.archive.scan import scan
from hls.archive.segment import EndReason, RecordedStream, Segment, SegmentWithFragments, segment_name
from hls.archive.table import SegmentTable
from hls.settings import FsyncMode
from tests.support.busy import with_sizes
from tests.support.recording import index_of, parts_of, record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode

FPS = 10
BUSY = range(40, 50)
"""Seconds in which something happens."""

AFTER_S = 4
"""An encoder cleans the picture up for so long."""


def levels(frames: Sequence[tuple[int, bool]], fps: int = FPS, baseline: Baseline = NOTHING_LEARNED) -> list[int]:
    """The scores of frames (size, is it a keyframe), in percent; -1 for none."""
    meter = ActivityMeter(baseline)
    for number, (size, is_keyframe) in enumerate(frames):
        meter.add(number * CLOCK_RATE // fps, size, is_keyframe)
    return [level - 1 for level in meter.finished().levels]


def stream(
    seconds: int, gop: int = 20, bit_rate: float = 1.0, noise: float = 0.1, times: float = 6.0, seed: int = 1
) -> list[tuple[int, bool]]:
    """A camera with noise. In :data:`BUSY` its frames are ``times`` as large."""
    dice = random.Random(seed)
    frames = []
    for number in range(seconds * FPS):
        size = 1000 * dice.lognormvariate(0, noise) * bit_rate
        is_keyframe = number % gop == 0
        if number // FPS in BUSY and not is_keyframe:
            size *= times * dice.uniform(0.7, 1.3)
        frames.append((round(size * (20 if is_keyframe else 1)), is_keyframe))
    return frames


def assert_found(scores: Sequence[int], least: int = 10) -> None:
    """What happened has a score, and nothing else does."""
    busy = [scores[second] for second in BUSY]
    assert sum(score >= least for score in busy) >= 3, busy
    assert all(score < least for score in (*scores[: BUSY.start], *scores[BUSY.stop + AFTER_S :])), scores


@pytest.mark.parametrize("gop", [5, 10, 20, 600])
def test_what_happens_has_a_score_and_noise_has_none(gop: int) -> None:
    scores = levels(stream(80, gop))
    assert_found(scores)
    assert scores[: LEARN_S - 1] == [-1] * (LEARN_S - 1)
    assert min(scores[41:49]) > 50


def test_a_keyframe_is_no_activity_and_neither_is_another_bit_rate() -> None:
    half = [(size // 2, is_keyframe) for size, is_keyframe in stream(30, seed=2)]
    double = [(size * 2, is_keyframe) for size, is_keyframe in stream(30, seed=3)]
    assert max(levels([*stream(30), *half, *double, *stream(30, seed=4)])) < 10


def test_night_and_rain_become_the_baseline_within_minutes() -> None:
    day = stream(30)
    night = [(size if is_keyframe else size * 5, is_keyframe) for size, is_keyframe in stream(300, noise=0.05, times=1)]
    scores = levels([*day, *night])
    assert max(scores[31:60]) > 30
    assert max(scores[-60:]) == 0


def test_what_goes_on_and_moves_does_not_become_the_baseline() -> None:
    dice = random.Random(5)
    quiet, busy = stream(40), stream(300, times=1, seed=6)
    moving = [(size if key else round(size * 2 ** dice.uniform(2, 4)), key) for size, key in busy]
    scores = levels([*quiet, *moving])
    assert sum(scores[-60:]) / 60 > 20


@cache
def _pictures(seconds: int) -> list[av.VideoFrame]:
    """A still scene with the noise of a sensor, through which a box moves in :data:`BUSY`."""
    dice, frames = np.random.default_rng(1), []
    scene = dice.integers(40, 200, (18, 32)).repeat(8, 0).repeat(8, 1).astype(np.int16)
    for number in range(seconds * FPS):
        picture = scene + (dice.standard_normal(scene.shape) * 2).astype(np.int16)
        if number // FPS in BUSY:
            left = (number - BUSY.start * FPS) * 2
            picture[40:100, left : left + 40] = dice.integers(0, 255, (15, 10)).repeat(4, 0).repeat(4, 1)
        planes = np.full((216, 256), 128, np.uint8)
        planes[:144] = np.clip(picture, 0, 255)
        frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
        frame.pts = number
        frames.append(frame)
    return frames


ENCODERS = {
    "constant quality": {"g": "20", "crf": "28", "tune": "zerolatency"},
    "B-frames": {"g": "20", "crf": "28"},
    "constant bit rate": {"g": "40", "b": "60k", "tune": "zerolatency"},
    "intra refresh": {"g": "20", "crf": "28", "tune": "zerolatency", "intra-refresh": "1"},
    "keyframes alone": {"g": "1", "crf": "28", "tune": "zerolatency"},
}


@pytest.mark.parametrize("options", ENCODERS.values(), ids=ENCODERS)
def test_each_kind_of_encoder_shows_that_something_moves(options: dict[str, str]) -> None:
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = 256, 144, "yuv420p"
    context.time_base, context.framerate = Fraction(1, FPS), Fraction(FPS)
    context.options = {"preset": "ultrafast", "threads": "1"} | options
    packets = [packet for frame in [*_pictures(60), None] for packet in context.encode(frame)]
    # A stream of intra refresh begins with a keyframe, and the file marks its first frame as one.
    assert_found(levels([(packet.size, packet.is_keyframe) for packet in packets]), least=5)


# --- files


def busy(second: float) -> bool:
    return 20 <= second < 24


STREAM = EncoderSettings(seconds=30, gop=20)


def _activity(segment: Segment) -> tuple[bytes, bytes]:
    assert segment.activity is not None
    return segment.activity.levels, segment.activity.sound


@pytest.mark.parametrize("segment_s", [600, 7])
def test_a_file_that_is_read_again_has_the_same_activity(tmp_path: Path, segment_s: int) -> None:
    recordings = record(tmp_path, with_sizes(encode(STREAM), busy), segment_s=segment_s)
    for segment, _ in recordings:
        assert segment.activity is not None
        assert scan(segment.path(tmp_path)).activity == segment.activity
    seconds = b"".join(_activity(segment)[0] for segment, _ in recordings)
    assert max(seconds[20:24]) > 40
    assert max(seconds[:20]) <= 1
    # What was learned goes on with the next file.
    assert UNKNOWN not in seconds[LEARN_S + 2 :]


def test_what_was_learned_outlives_the_process(tmp_path: Path) -> None:
    index = index_of(tmp_path, record(tmp_path, with_sizes(encode(STREAM), busy)))
    recording = Recording("door", tmp_path, 600, FsyncMode.NEVER)
    recording.baseline = activity_table.baseline(index, RecordedStream("door"))
    assert recording.baseline != NOTHING_LEARNED
    again = with_sizes(
        encode(replace(STREAM, seconds=6), START_90K + 60 * CLOCK_RATE, run=2), lambda second: second > 3
    )
    recording.write([QueuedPart(part) for part in parts_of(again)])
    [(segment, _)] = recording.finish(EndReason.STOPPED).closed
    assert _activity(segment)[0][:3] == bytes([1, 1, 1])
    assert _activity(segment)[0][4] > 40
    assert activity_table.baseline(index, RecordedStream("gate")) == NOTHING_LEARNED
    assert activity_table.baseline(index, RecordedStream("door", RenditionName.SUB)) == NOTHING_LEARNED
    index.close()


def test_the_index_gets_the_activity_of_cut_and_of_unknown_files(tmp_path: Path) -> None:
    [(segment, fragments)] = record(tmp_path, encode(replace(STREAM, seconds=6, audio=True, g711=True)), finish=False)
    expected, sound = _activity(segment)
    assert max(sound) > 64
    index = index_of(tmp_path, [(segment, fragments)])
    recover(tmp_path, index)
    [found] = activity_table.span(index, segment.stream, 0, segment.end_90k, 9)
    assert found.levels[: len(expected)] == expected
    # The sound that the index had is kept: the file that was cut does not tell it.
    assert found.sound == sound
    index.close()
    for each in tmp_path.glob("index*"):
        each.unlink()
    index = index_of(tmp_path)
    recover(tmp_path, index)
    [rebuilt] = activity_table.span(index, segment.stream, 0, segment.end_90k, 9)
    assert (rebuilt.levels, rebuilt.sound) == (found.levels, b"")
    index.close()


@pytest.mark.parametrize("sound", [b"", bytes(range(1, 7))], ids=["silent", "with sound"])
def test_each_database_keeps_the_activity_of_a_segment(any_index: SegmentTable, sound: bytes, tmp_path: Path) -> None:
    [(segment, fragments)] = record(tmp_path, encode(replace(STREAM, seconds=6)), finish=False)
    assert segment.activity is not None
    growing = replace(segment, activity=replace(segment.activity, levels=b"\x01\xff", sound=b"\x7f"))
    stream, later = segment.stream, replace(segment, activity=replace(segment.activity, sound=sound))
    any_index.save(growing, fragments)
    any_index.save_growing([SegmentWithFragments(later, fragments)])
    [found] = activity_table.span(any_index, stream, segment.start_90k, segment.end_90k, 9)
    assert (found.name, found.start_90k, found.levels) == (segment.name, segment.start_90k, segment.activity.levels)
    assert found.sound == (sound or b"\x7f")  # rule 2 of the table
    learned = activity_table.baseline(any_index, stream)
    assert learned == baseline_of(baseline_text(segment.activity.baseline)) != NOTHING_LEARNED
    # The longest baseline, and all that a byte can be.
    longest = baseline_of(re.sub(r"[-\d.]+", "-99999.12345", baseline_text(learned)))
    assert longest != NOTHING_LEARNED
    every = Activity(bytes(range(256)), bytes(range(256)), longest)
    next_90k = segment.start_90k + 600 * CLOCK_RATE
    after = replace(segment, name=segment_name(next_90k), start_90k=next_90k, sequence=99, activity=every)
    any_index.save(after, fragments)
    assert activity_table.baseline(any_index, stream) == longest
    spans = activity_table.span(any_index, stream, 0, after.end_90k, 9)
    assert [(each.name, each.levels) for each in spans] == [(segment.name, found.levels), (after.name, every.levels)]
    assert activity_table.span(any_index, stream, 0, after.end_90k, 1) == [found]
    assert activity_table.span(any_index, RecordedStream("door", RenditionName.SUB), 0, after.end_90k, 9) == []
    any_index.remove("door", segment.name)
    assert [each.name for each in activity_table.span(any_index, stream, 0, after.end_90k, 9)] == [after.name]


def test_a_finished_file_tells_the_level_of_its_sound(tmp_path: Path) -> None:
    [(segment, _)] = record(tmp_path, encode(EncoderSettings(seconds=5, audio=True, g711=True)))
    activity = scan(segment.path(tmp_path)).activity
    assert activity == segment.activity
    assert len(activity.sound) >= 5
    # A tone at a tenth of full scale or more.
    assert all(128 - 40 < level <= 128 for level in activity.sound[1:5])
    # AAC is not decoded.
    [(segment, _)] = record(tmp_path / "aac", encode(EncoderSettings(seconds=5, audio=True)))
    assert _activity(segment)[1] == b""


# --- what is learned, as text


@given(st.lists(st.tuples(st.integers(0, 100_000), st.booleans(), st.integers(0, 200_000)), max_size=200))
def test_any_frames_give_a_byte_for_each_second_and_a_baseline_that_can_be_kept(
    frames: list[tuple[int, bool, int]],
) -> None:
    meter = ActivityMeter(NOTHING_LEARNED)
    times = list(accumulate(step for _, _, step in frames))
    for (size, is_keyframe, _), dts_90k in zip(frames, times, strict=True):
        meter.add(dts_90k, size, is_keyframe)
    activity = meter.finished()
    assert len(activity.levels) == (times[-1] if times else 0) // CLOCK_RATE + 1
    assert max(activity.levels) <= 101
    kept = activity.baseline.rounded()
    assert baseline_of(baseline_text(activity.baseline)) == kept == kept.rounded()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[[1],[2],3,4,5]", '[[0,0,0,0,0,0],["x",0,0,0,0,0],1,2,3]',
                                  "[[NaN,0,0,0,0,0],[0,0,0,0,0,0],1,2,3]", "[" * 9999, "[[],[],1e99,0,0]"])  # fmt: skip
def test_a_baseline_that_is_none_is_none_that_was_learned(text: str) -> None:
    assert baseline_of(text) == NOTHING_LEARNED
