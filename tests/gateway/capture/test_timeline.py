"""The timeline's rules hold for any timestamps of a camera, and a healthy camera's time is unchanged."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.capture.clock_drift import AHEAD_90K
from gateway.capture.counters import CaptureCounters
from gateway.capture.least_delay import MAX_RISE_PPM
from gateway.capture.timeline import (
    MAX_AHEAD_90K,
    ArrivalTime,
    SourceTime,
    Timeline,
    Timestamps,
)
from gateway.clock import CLOCK_RATE, seconds_90k
from gateway.media import MediaKind

VIDEO, AUDIO = MediaKind.VIDEO, MediaKind.AUDIO
RTP = Fraction(1, 90_000)
MS = Fraction(1, 1000)
FRAME = 3600
EPOCH = 1_700_000_000 * CLOCK_RATE


@dataclass
class Camera:
    """A timeline and the clocks of a gateway; ``at`` is the monotonic time in seconds."""

    timeline: Timeline
    at: float = 100.0
    wall_90k: int = EPOCH

    def wait(self, seconds: float) -> None:
        self.at += seconds
        self.wall_90k += seconds_90k(seconds)

    def send(
        self,
        pts: int | None,
        dts: int | None = None,
        *,
        kind: MediaKind = VIDEO,
        base: Fraction = RTP,
        reorder: int = 0,
        wait: float = 0.04,
        duration: int = 0,
    ) -> Timestamps:
        time = SourceTime(pts, dts, base, duration)
        stamp = self.timeline.timestamp(kind, time, ArrivalTime(self.wall_90k, self.at), reorder)
        self.wait(wait)
        return stamp


@pytest.fixture
def camera() -> Camera:
    return Camera(Timeline())


def dts_of(stamps: list[Timestamps]) -> list[int]:
    return [stamp.dts_90k for stamp in stamps]


def test_healthy_time_is_unchanged(camera: Camera) -> None:
    stamps = [camera.send(1_000_000 + n * FRAME, 1_000_000 + n * FRAME) for n in range(50)]
    assert dts_of(stamps) == [n * FRAME for n in range(50)]
    assert [stamp.captured_at_90k for stamp in stamps] == [EPOCH + n * FRAME for n in range(50)]
    assert {stamp.duration_90k for stamp in stamps[1:]} == {FRAME}
    assert camera.timeline.counters == CaptureCounters()


def test_other_time_bases_do_not_drift(camera: Camera) -> None:
    stamps = [camera.send(33 * n, base=MS, wait=0.033) for n in range(1000)]
    assert stamps[-1].dts_90k == 33 * 999 * 90
    thirds = Camera(Timeline())
    assert [thirds.send(n, base=Fraction(1, 7), wait=1 / 7).dts_90k for n in range(8)][-1] == CLOCK_RATE


def test_a_first_packet_without_time_is_at_zero(camera: Camera) -> None:
    assert dts_of([camera.send(None), camera.send(3600, 3600), camera.send(7200, 7200)]) == [0, 3600, 7200]


def test_missing_times_follow_the_arrival(camera: Camera) -> None:
    stamps = [camera.send(None, wait=1 / 15) for _ in range(150)]
    assert abs(stamps[-1].dts_90k - 149 * CLOCK_RATE // 15) < CLOCK_RATE / 2
    steps = {after.dts_90k - before.dts_90k for before, after in pairwise(stamps[-30:])}
    assert max(steps) - min(steps) < 10, "and smoothly"


def test_a_burst_without_time_is_spread(camera: Camera) -> None:
    camera.timeline.expect(VIDEO, FRAME)
    camera.send(None, wait=0)
    stamps = [camera.send(None, wait=0) for _ in range(5)]
    assert all(after.dts_90k - before.dts_90k > 1 for before, after in pairwise(stamps))


def test_a_time_that_is_always_zero_counts_as_missing(camera: Camera) -> None:
    stamps = [camera.send(0, 0) for _ in range(100)]
    assert abs(stamps[-1].dts_90k - 99 * FRAME) < FRAME


def test_after_a_jump_the_timeline_follows_the_clock(camera: Camera) -> None:
    before = camera.send(0, 0)
    after = camera.send(10**9, 10**9)
    assert after.dts_90k - before.dts_90k == FRAME
    assert camera.send(10**9 + FRAME, 10**9 + FRAME).dts_90k - after.dts_90k == FRAME
    assert camera.timeline.counters.timestamp_jumps == 1


def test_a_jump_back_does_not_freeze(camera: Camera) -> None:
    for n in range(100):
        camera.send(n * FRAME, n * FRAME)
    back = [camera.send(n * FRAME, n * FRAME) for n in range(10)]
    assert dts_of(back) == [(100 + n) * FRAME for n in range(10)]


def test_a_single_bad_time_has_no_later_effect(camera: Camera) -> None:
    times = [0, 1, 2, 2**40, 4, 5]
    assert dts_of([camera.send(n * FRAME, n * FRAME) for n in times]) == [n * FRAME for n in range(6)]


Times = Callable[[int], int]


@pytest.mark.parametrize("jump_s", [0.7, 2.0, 2.9, 10.0, 3600.0, 10 * 365 * 86_400.0, -0.6, -2.0, -3600.0])
@pytest.mark.parametrize("kind", ["stays", "returns", "one", "every"])
def test_jumps_change_nothing(camera: Camera, jump_s: float, kind: str) -> None:
    jump = round(jump_s * CLOCK_RATE)
    jumps: dict[str, Times] = {
        "stays": lambda n: jump * (n >= 150),
        "returns": lambda n: jump * (150 <= n < 250),
        "one": lambda n: jump * (n % 100 == 60),
        "every": lambda n: jump * (n // 50),
    }
    stamps = [camera.send(10**9 + n * FRAME + jumps[kind](n)) for n in range(400)]
    assert [stamp.dts_90k for stamp in stamps] == pytest.approx([n * FRAME for n in range(400)], abs=1)
    assert [stamp.captured_at_90k - EPOCH for stamp in stamps] == pytest.approx([n * FRAME for n in range(400)], abs=2)
    assert camera.timeline.counters.timestamp_jumps >= 1


@pytest.mark.parametrize(
    "times",
    [
        *(lambda n, ms=ms: n * FRAME // (90 * ms) * 90 * ms for ms in (10, 50, 100, 200, 500, 1000)),
        lambda n: 4711,
        lambda n: n // 2 * 2 * FRAME,
        lambda n: 2**31 - n * FRAME,
        lambda n: 2**31 - n,
        lambda n: (n ^ 1) * FRAME,
        lambda n: n * FRAME - 9000 * (n % 25 == 13),
        lambda n: n * FRAME - 18_000 * (n // 250),
        lambda n: n * FRAME + Random(n).randrange(-5400, 5400),
        lambda n: n * FRAME + Random(n).randrange(-18_000, 18_000),
        lambda n: n * FRAME + Random(n).randrange(-90_000, 90_000),
        lambda n: Random(n).randrange(2**32),
        lambda n: n * 25 // 25,
        lambda n: n * 40,
        lambda n: n * 1_080_000,
        lambda n: 5 * n * FRAME,
        lambda n: n * FRAME // 10,
    ],
)
def test_time_goes_on_whatever_the_source_says(camera: Camera, times: Times) -> None:
    stamps = [camera.send(times(n)) for n in range(1500)]
    errors = [stamp.dts_90k - n * FRAME for n, stamp in enumerate(stamps)]
    assert max(errors) <= AHEAD_90K + FRAME
    assert min(errors) > -2 * CLOCK_RATE
    assert all(0 < after - before < CLOCK_RATE // 2 for before, after in pairwise(dts_of(stamps)))
    late = stamps[1000:]
    assert late[-1].dts_90k - late[0].dts_90k == pytest.approx(499 * FRAME, rel=0.03)
    # A recording ends where its time of capture steps.
    skews = [stamp.captured_at_90k - stamp.dts_90k - EPOCH for stamp in stamps]
    assert max(skews) - min(skews) < CLOCK_RATE


@pytest.mark.parametrize("bits", [32, 33])
def test_wraps_are_exact(camera: Camera, bits: int) -> None:
    start = (1 << bits) - 5 * FRAME + 17
    stamps = []
    for n in range(10):
        time = (start + n * FRAME) % (1 << bits)
        # A late arrival shows that the wrap itself is undone: a jump would follow the clock.
        stamps.append(camera.send(time, time, wait=0.04 if n % 3 else 0.07))
    assert dts_of(stamps) == [n * FRAME for n in range(10)]


def test_a_stall_and_its_burst_keep_their_time(camera: Camera) -> None:
    for n in range(25):
        camera.send(n * FRAME, n * FRAME)
    camera.wait(4)
    burst = [camera.send(n * FRAME, n * FRAME, wait=0) for n in range(25, 125)]
    assert dts_of(burst) == [n * FRAME for n in range(25, 125)]
    assert [stamp.captured_at_90k for stamp in burst] == [EPOCH + n * FRAME for n in range(25, 125)]


def test_small_steps_back_are_flattened(camera: Camera) -> None:
    stamps = [camera.send(time, time) for time in (0, 3600, 3500, 7200)]
    assert dts_of(stamps) == [0, 3600, 5400, 7200]
    assert camera.timeline.counters.timestamp_jumps == 0


def test_b_frames_without_dts(camera: Camera) -> None:
    # What libav gives for I P B B P B B…: the first has no time, the next ones no dts.
    given_times: list[tuple[int | None, int | None]] = [
        (None, None),
        (10_800, None),
        (3600, None),
        (7200, 3600),
        (21_600, 7200),
        (14_400, 10_800),
        (18_000, 14_400),
    ]
    camera.timeline.expect(VIDEO, FRAME)
    stamps = [camera.send(pts, dts, reorder=2) for pts, dts in given_times]
    presented = [stamp.pts_90k - stamps[0].pts_90k for stamp in stamps]
    assert presented == [0, 10_800, 3600, 7200, 21_600, 14_400, 18_000]
    assert dts_of(stamps) == [n * FRAME for n in range(7)]


def test_b_frames_after_a_gap_are_decoded_right_before_they_are_shown(camera: Camera) -> None:
    camera.timeline.expect(VIDEO, FRAME)
    order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11]
    stamps = []
    for first in (0, 40, 100):
        stamps += [camera.send((first + number) * FRAME, reorder=2) for number in order]
        camera.wait((40 if first == 0 else 60) * 0.04 - 13 * 0.04)
    assert camera.timeline.counters.timestamp_jumps == 0
    assert all(after.dts_90k > before.dts_90k for before, after in pairwise(stamps))
    assert all(0 <= stamp.pts_90k - stamp.dts_90k <= 4 * FRAME for stamp in stamps[1:])


def test_both_tracks_are_on_one_timeline(camera: Camera) -> None:
    alaw = Fraction(1, 8000)
    video = camera.send(900_000, 900_000, wait=0)
    audio = camera.send(80_160, 80_160, kind=AUDIO, base=alaw, duration=160)
    assert video.dts_90k == 0
    assert audio.dts_90k == 1800
    assert audio.duration_90k == 1800


def test_an_unrelated_second_track_is_placed_by_its_arrival(camera: Camera) -> None:
    camera.send(0, 0, wait=0.5)
    assert camera.send(7 * 10**9, kind=AUDIO).dts_90k == CLOCK_RATE // 2


def test_tracks_that_jump_together_stay_together(camera: Camera) -> None:
    for n in range(10):
        camera.send(n * FRAME, wait=0.01)
        camera.send(n * FRAME, kind=AUDIO, wait=0.03)
    jump = 10**8
    video = camera.send(jump + 10 * FRAME, wait=0.035)
    audio = camera.send(jump + 10 * FRAME, kind=AUDIO)
    assert video.dts_90k == audio.dts_90k


def test_the_least_delayed_frame_wins(camera: Camera) -> None:
    # The camera sends a GOP that is 2 s old at once, and goes on live.
    burst = [camera.send(n * FRAME, wait=0) for n in range(50)]
    live = [camera.send(n * FRAME) for n in range(50, 60)]
    assert [stamp.captured_at_90k for stamp in burst] == [EPOCH] * 50
    assert [stamp.captured_at_90k for stamp in live] == [EPOCH + n * FRAME for n in range(10)]


def test_a_slow_camera_clock_is_followed_gently(camera: Camera) -> None:
    # The camera's crystal is 200 ppm slow: its ticks are worth more real time.
    errors = []
    for n in range(25 * 60):
        real_90k = camera.wall_90k
        stamp = camera.send(n * FRAME, wait=0.04 * 1.0002)
        errors.append(real_90k - stamp.captured_at_90k)
    assert max(errors) < 90 * 5, "within 5 ms after a minute"


@pytest.mark.parametrize("pause_s", [0.8, 4.5])
def test_a_clock_that_stood_still_is_led_back_without_a_step(camera: Camera, pause_s: float) -> None:
    for n in range(50):
        camera.send(n * FRAME)
    camera.wait(pause_s)
    stamps, lags = [], []
    for n in range(50, 1000):
        now = camera.wall_90k
        stamps.append(camera.send(n * FRAME))
        lags.append(now - stamps[-1].captured_at_90k)
    assert lags[0] == pause_s * CLOCK_RATE
    assert lags[-1] < CLOCK_RATE // 5
    skews = [stamp.captured_at_90k - stamp.dts_90k for stamp in stamps]
    assert max(skews) - min(skews) < CLOCK_RATE


def test_wall_clock_steps_are_followed(camera: Camera) -> None:
    camera.send(0)
    camera.wall_90k -= 3600 * CLOCK_RATE
    assert camera.send(FRAME).captured_at_90k == EPOCH + FRAME - 3600 * CLOCK_RATE
    camera.wall_90k += 7200 * CLOCK_RATE
    assert camera.send(2 * FRAME).captured_at_90k == EPOCH + 2 * FRAME + 3600 * CLOCK_RATE


TICKS = st.one_of(st.none(), st.integers(-(2**40), 2**40), st.integers(0, 100_000), st.just(0))
PACKETS = st.lists(
    st.tuples(st.sampled_from(MediaKind), TICKS, TICKS, st.integers(0, 3), st.floats(0, 4), st.integers(-5, 10_000)),
    max_size=60,
)


@given(PACKETS, st.sampled_from([RTP, MS, Fraction(1, 8000), Fraction(1001, 30_000)]))
@settings(max_examples=200)
def test_the_rules_hold_for_any_source(
    packets: list[tuple[MediaKind, int | None, int | None, int, float, int]], base: Fraction
) -> None:
    camera = Camera(Timeline())
    last: dict[MediaKind, int] = {}
    for kind, pts, dts, reorder, wait, duration in packets:
        wall_90k, at = camera.wall_90k, camera.at
        stamp = camera.send(pts, dts, kind=kind, base=base, reorder=reorder, wait=wait, duration=duration)
        assert stamp.pts_90k >= stamp.dts_90k
        assert stamp.captured_at_90k <= wall_90k
        assert stamp.duration_90k >= 0
        if kind in last:
            # Never more than since the beginning, and what a backlog may be ahead.
            assert 0 < stamp.dts_90k - last[kind] <= seconds_90k(at - 100) + 2 * MAX_AHEAD_90K
        last[kind] = stamp.dts_90k


@given(st.lists(st.floats(0, 0.5), min_size=2, max_size=200))
@settings(max_examples=100)
def test_jitter_never_moves_capture_time_backwards_and_barely_raises_it(delays: list[float]) -> None:
    timeline = Timeline()
    arrived = 0.0
    previous: Timestamps | None = None
    for n, delay in enumerate(delays):
        arrived = max(arrived, n * 0.04 + delay)
        arrival = ArrivalTime(EPOCH + seconds_90k(arrived), 100 + arrived)
        stamp = timeline.timestamp(VIDEO, SourceTime(n * FRAME, n * FRAME, RTP), arrival)
        if previous is not None:
            step = stamp.captured_at_90k - previous.captured_at_90k
            assert 0 <= step <= FRAME + FRAME * MAX_RISE_PPM // 1_000_000 + 1
        previous = stamp
