"""Misbehaving cameras: what their clocks do. RTP goes in, LL-HLS and recordings come out.

The measure is that of :mod:`tests.support.camera_media`.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, zip_longest
from pathlib import Path
from random import Random

import pytest

from tests.support.camera_media import FPS, TICK, camera_with_clock, coded, is_good, packets_of
from tests.support.camera_outputs import START_90K, outputs
from tests.support.rtsp_camera import RtpSender, Sent


@pytest.mark.parametrize(
    ("stamped_fps", "sent_fps"),
    [(2250, 25), (2250, 10), (25, 21), (25, 24), (25, 27), (25, 12.5), (25, 5), (25, 2.5), (10, 5), (2.5, 25), (5, 25)],
    ids=lambda value: str(value),
)
def test_a_clock_that_drifts_is_replaced_by_the_arrival(tmp_path: Path, stamped_fps: float, sent_fps: float) -> None:
    count = int(sent_fps * 40)
    random = Random(1)
    jittered = camera_with_clock(
        lambda number: int(number * 90_000 / stamped_fps),
        count,
        sent_fps,
        lambda number: random.random() * 0.4 / sent_fps,
    )
    found = outputs(packets_of(jittered), tmp_path)
    (live,), (recorded,) = found.live, found.files
    assert live.errors == recorded.errors == []
    # What is measured takes some seconds, and what went wrong until then is led back.
    late = [time for time in recorded.times if time >= recorded.times[-1] * 0.6]
    assert (len(late) - 1) / (late[-1] - late[0]) == pytest.approx(sent_fps, rel=0.02)
    assert recorded.times[-1] - recorded.times[0] == pytest.approx(count / sent_fps, rel=0.05)
    for before, after in pairwise(late):
        assert after - before < 3 / sent_fps


@pytest.mark.parametrize("sent_fps", [1, 0.5, 0.2])
def test_a_camera_of_keyframes_alone_that_stamps_25_and_sends_few(tmp_path: Path, sent_fps: float) -> None:
    """While its time is led back, its frames are longer than segments should be."""
    media = camera_with_clock(lambda number: number * TICK, 50, sent_fps, gop=1)
    found = outputs(packets_of(media), tmp_path)
    (live,), (recorded,) = found.live, found.files
    assert live.errors == recorded.errors == []
    for each in (live, recorded):
        assert each.rate_after(30 / sent_fps) == pytest.approx(sent_fps, rel=0.02)


@pytest.mark.parametrize(("stamped_fps", "sent_fps"), [(25, 2.5), (10, 5), (5, 25)])
def test_a_drift_that_begins_late(tmp_path: Path, stamped_fps: float, sent_fps: float) -> None:
    good = int(stamped_fps * 30)
    count = good + int(sent_fps * 40)
    media = camera_with_clock(
        lambda number: int(number * 90_000 / stamped_fps),
        count,
        stamped_fps,
        lambda number: max(0, number - good) * (1 / sent_fps - 1 / stamped_fps) if sent_fps < stamped_fps else 0.0,
    )
    if sent_fps > stamped_fps:
        media = [replace(sent, at_s=min(sent.at_s, 30 + (sent.at_s - 30) * stamped_fps / sent_fps)) for sent in media]
    found = outputs(packets_of(media), tmp_path)
    (live,), (recorded,) = found.live, found.files
    assert live.errors == recorded.errors == []
    assert recorded.times[-1] - recorded.times[0] == pytest.approx(70, abs=1.5)


@pytest.mark.parametrize(
    "times",
    [
        lambda n: int(n / FPS * 25),
        lambda n: int(n / FPS * 1000),
        lambda n: int(n / FPS * 27_000_000),
        lambda n: n * TICK // 18_000 * 18_000,
        lambda n: n * TICK + 180_000 * (n // 50),
        lambda n: n * TICK - 9000 * (n % 25 == 12),
        lambda n: 2**31 - n * TICK,
        lambda n: Random(n).randrange(2**32),
        lambda n: n * TICK + Random(n).randrange(-18_000, 18_000),
    ],
    ids=["25-hz", "1-khz", "27-mhz", "quantised", "jumping", "back", "decreasing", "random", "jitter"],
)
def test_whatever_a_clock_says_there_is_one_file_and_one_playlist(tmp_path: Path, times: Callable[[int], int]) -> None:
    found = outputs(packets_of(camera_with_clock(times, 500, FPS)), tmp_path)
    is_good(found, 500)


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_frame_rate_that_changes(tmp_path: Path, is_declared: bool) -> None:
    fast = coded(100, 25, ":slices=1")
    slow = coded(100, 25, ":slices=1:fps=10") if is_declared else fast
    assert (slow[0] != fast[0]) == is_declared
    sender = RtpSender()
    media: list[Sent] = []
    at_s = 0.0
    for pictures, fps in ((fast, 25), (slow, 10), (fast, 25)):
        for units in pictures:
            media += sender.picture(units, round(at_s * 90_000), at_s)
            at_s += 1 / fps
    received = packets_of(media)
    assert {each.packet.info.video.frame_rate for each in received} == ({25, 10} if is_declared else {25})
    found = outputs(received, tmp_path)
    is_good(found, 300, 300 / 18)


def test_a_source_that_changes_all_the_time(tmp_path: Path) -> None:
    media: list[Sent] = []
    for number, units in enumerate(coded(100, 25, ":slices=1") * 10):
        if number % 30 == 0:
            sender = RtpSender(ssrc=1000 + number, first=Random(number).randrange(2**16))
        media += sender.picture(units, number * TICK + 90 * number // 30, number / FPS)
    is_good(outputs(packets_of(media), tmp_path), 1000)


@pytest.mark.parametrize("mixed", ["pictures", "packets"])
def test_of_two_sources_at_once_one_is_taken(tmp_path: Path, mixed: str) -> None:
    one, other = RtpSender(ssrc=7), RtpSender(ssrc=9, first=30_000)
    pictures = coded(100, 25, ":slices=4") * 5
    media: list[Sent] = []
    for number, units in enumerate(pictures):
        first = one.picture(units, number * TICK, number / FPS)
        second = other.picture(pictures[(number + 40) % 100], 0x5555_5555 + number * TICK, number / FPS)
        if mixed == "pictures":
            media += first + second
        else:
            media += [each for pair in zip_longest(first, second) for each in pair if each is not None]
    received = packets_of(media)
    found = outputs(received, tmp_path)
    (live,), (recorded,) = found.live, found.files
    for each in (live, recorded):
        assert each.rate_after(5) == pytest.approx(FPS, rel=0.01)
    assert len(received) <= 503


@pytest.mark.parametrize(("seconds", "gop"), [(1, 25), (2, 10), (2, 50), (5, 100)])
def test_pictures_in_bursts(tmp_path: Path, seconds: int, gop: int) -> None:
    burst = seconds * FPS
    media = camera_with_clock(lambda n: n * TICK, 500, FPS, lambda n: (burst - n % burst) / FPS, gop=gop)
    found = outputs(packets_of(media), tmp_path)
    is_good(found, 500)


@pytest.mark.parametrize("pause_s", [8.0, 14.0])
def test_a_camera_that_pauses(tmp_path: Path, pause_s: float) -> None:
    media = camera_with_clock(
        lambda n: n * TICK + int(90_000 * pause_s) * (n >= 110), 300, FPS, lambda n: pause_s * (n >= 110)
    )
    found = outputs(packets_of(media), tmp_path)
    is_good(found, 300, 300 / (12 + pause_s))


@pytest.mark.parametrize("night_fps", [12, 5, 2, 1])
def test_a_camera_that_sends_fewer_frames_at_night(tmp_path: Path, night_fps: int) -> None:
    sender = RtpSender()
    media: list[Sent] = []
    at_s = 0.0
    pictures = coded(100, 25, ":slices=1")
    for number in range(250 + 30 * night_fps):
        media += sender.picture(pictures[number % 100], int(at_s * 90_000), at_s)
        at_s += 1 / (FPS if number < 250 else night_fps)
    found = outputs(packets_of(media), tmp_path)
    assert [each.errors for each in (*found.live, *found.files)] == [[], []]
    for each in (*found.live, *found.files):
        assert each.times[-1] - each.times[0] > at_s - 5
        assert each.rate_after(12) == pytest.approx(night_fps, rel=0.03)


def test_packets_that_come_twice_are_dropped(tmp_path: Path) -> None:
    media = camera_with_clock(lambda number: number * TICK, 250, FPS, options=":slices=4")
    doubled = [each for sent in media for each in ((sent, sent) if sent.data[3] % 10 == 0 else (sent,))]
    in_pairs = [each for at in range(0, len(media), 5) for each in media[at : at + 5] * 2]
    for name, sent in (("doubled", doubled), ("in-pairs", in_pairs)):
        is_good(outputs(packets_of(sent), tmp_path / name), 250)


def test_one_sequence_number_for_all_packets_is_no_repetition(tmp_path: Path) -> None:
    media = camera_with_clock(lambda number: number * TICK, 250, FPS, options=":slices=4")
    constant = [Sent(sent.at_s, sent.track, sent.data[:2] + b"\0\7" + sent.data[4:]) for sent in media]
    is_good(outputs(packets_of(constant), tmp_path), 250)


def steady(number: int) -> float:
    return 0.0


def noisy(number: int) -> float:
    return Random(number).random() * 0.3


def stalling(number: int) -> float:
    return 1.4 if number % 100 == 50 else 0.0


def in_bursts_of_a_second(number: int) -> float:
    return (-number % 25) / 25


def slowly_worse_and_back(number: int) -> float:
    return 0.0008 * min(number % 500, 500 - number % 500)


@pytest.mark.parametrize("jitter", [steady, noisy, stalling, in_bursts_of_a_second, slowly_worse_and_back])
def test_a_bad_network_is_no_drift(jitter: Callable[[int], float]) -> None:
    media = camera_with_clock(lambda number: number * TICK, 1500, FPS, jitter)
    received = packets_of(media)
    assert [each.packet.dts_90k for each in received] == [number * TICK for number in range(len(received))]


@pytest.mark.parametrize(("backlog_s", "speed"), [(6.0, 0.15), (10.0, 0.02)])
def test_a_backlog_at_the_beginning_is_no_drift(tmp_path: Path, backlog_s: float, speed: float) -> None:
    """A proxy sends what it has kept since the last keyframe, as quickly as the line takes it."""
    media = [
        Sent(max(0.0, sent.at_s - backlog_s) + speed * min(sent.at_s, backlog_s), sent.track, sent.data)
        for sent in camera_with_clock(lambda number: number * TICK, 1000, FPS)
    ]
    received = packets_of(media)
    assert [each.packet.dts_90k for each in received] == [number * TICK for number in range(len(received))]
    found = outputs(received, tmp_path)
    is_good(found, 1000)
    (segment,) = found.segments
    assert segment.start_90k / 90_000 == pytest.approx(START_90K / 90_000 - backlog_s * (1 - speed), abs=0.3)


@pytest.mark.parametrize("first", [0xFFFF_FFFF - 50 * TICK, 0xFFFF_FFFF, 0x7FFF_FFFF - 10 * TICK])
def test_timestamps_wrap(tmp_path: Path, first: int) -> None:
    received = packets_of(camera_with_clock(lambda number: first + number * TICK, 100, FPS))
    is_good(outputs(received, tmp_path), 100)
    assert [each.packet.dts_90k for each in received] == [number * TICK for number in range(len(received))]


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 2.0, -0.4])
@pytest.mark.parametrize("between_packets", [False, True])
def test_the_ntp_clock_of_reports_steps(tmp_path: Path, step_s: float, between_packets: bool) -> None:
    sender = RtpSender()
    media: list[Sent] = []
    for number, units in enumerate(coded(options=":slices=4")):
        clock_s = 1_795_373_400 + number / FPS + (step_s if number >= 60 else 0)
        picture = sender.picture(units, number * TICK, number / FPS)
        report = sender.report(clock_s, number * TICK, number / FPS)
        place = len(picture) // 2 if between_packets else 0
        media += [*picture[:place], report, *picture[place:]]
    received = packets_of(media)
    is_good(outputs(received, tmp_path), 100)
    assert [each.packet.dts_90k for each in received] == [number * TICK for number in range(len(received))]


@pytest.mark.parametrize("back", [TICK // 2, TICK + 100, 3 * TICK, 5 * 90_000])
@pytest.mark.parametrize("options", [":slices=1", ":slices=1:bframes=0:cabac=1:8x8dct=1"], ids=["baseline", "high"])
def test_a_step_back_is_no_b_frame(tmp_path: Path, back: int, options: str) -> None:
    media = camera_with_clock(lambda n: 900_000 + n * TICK - back * (n >= 40), 100, FPS, options=options)
    received = packets_of(media)
    assert not any(each.packet.info.video.has_b_frames for each in received if each.at_s > 1.5)
    found = outputs(received, tmp_path)
    assert [each.errors for each in (*found.live, *found.files)] == [[], []]
