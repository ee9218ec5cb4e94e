"""Misbehaving cameras: B-frames whose times are wrong. RTP goes in, LL-HLS and recordings come out.

Both outputs decode without an error, and pictures are shown in their order, and at the real rate.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from tests.support.camera_media import FPS, TICK, Picture, coded_in_order, is_slice, packets_of
from tests.support.camera_outputs import outputs
from tests.support.rtsp_camera import RtpSender, Sent

COUNT = 150

WRONG_UNTIL_S = 3.0
"""Until a wrong clock is known, the order is as wrong."""


def right(number: int, place: int) -> int:
    return place * TICK


def as_they_are_sent(number: int, place: int) -> int:
    return number * TICK


def as_they_are_sent_with_jitter(number: int, place: int) -> int:
    return number * TICK + Random(number).randrange(1800)


def one_time_for_all(number: int, place: int) -> int:
    return 999


def in_milliseconds(number: int, place: int) -> int:
    return place * 1000 // FPS


def ten_times_as_many(number: int, place: int) -> int:
    return place * TICK * 10


def jumping(number: int, place: int) -> int:
    return place * TICK + (90_000_000 if number >= 62 else 0)


@pytest.mark.parametrize("hevc", [False, True], ids=["H264", "H265"])
@pytest.mark.parametrize(
    "times",
    [
        right,
        as_they_are_sent,
        as_they_are_sent_with_jitter,
        one_time_for_all,
        in_milliseconds,
        ten_times_as_many,
        jumping,
    ],
)
def test_b_frames(tmp_path: Path, times: Callable[[int, int], int], hevc: bool) -> None:
    sender, media = RtpSender(hevc=hevc), list[Sent]()
    pictures = coded_in_order(COUNT, 25, ":bframes=2:b-adapt=0:rc-lookahead=10", hevc=hevc)
    assert [place for place, _ in pictures] != sorted(place for place, _ in pictures)
    for number, (place, units) in enumerate(pictures):
        media += sender.picture(units, times(number, place), number / FPS)
    received = packets_of(media, "H265" if hevc else "H264")
    shown = [each.packet.pts_90k for each in received]
    late = [number for number in range(len(shown)) if number / FPS >= WRONG_UNTIL_S]
    in_order = sorted(late, key=lambda number: pictures[number][0])
    assert sorted(late, key=lambda number: shown[number]) == in_order
    found = outputs(received, tmp_path)
    (file,), (live,) = found.files, found.live
    assert file.errors == live.errors == []
    assert len(file.times) >= COUNT - 3
    assert file.rate_after(WRONG_UNTIL_S) == pytest.approx(FPS, rel=0.03)


def is_needed(units: Picture, *, hevc: bool) -> bool:
    """Whether other pictures refer to it."""
    slices = [unit for unit in units if is_slice(unit, hevc=hevc)]
    return any(unit[0] >> 1 & 0x3F for unit in slices) if hevc else any(unit[0] & 0x60 for unit in slices)


@pytest.mark.parametrize("gop", [25, 250])
@pytest.mark.parametrize("hevc", [False, True], ids=["H264", "H265"])
@pytest.mark.parametrize("times", [right, as_they_are_sent])
def test_b_frames_of_which_some_are_lost(
    tmp_path: Path, times: Callable[[int, int], int], hevc: bool, gop: int
) -> None:
    """What is lost moves nothing that follows: each picture is shown at its place."""
    sender, media, places = RtpSender(hevc=hevc), list[Sent](), list[int]()
    options = ":bframes=2:b-adapt=0:rc-lookahead=10"
    for number, (place, units) in enumerate(coded_in_order(COUNT, gop, options, hevc=hevc)):
        if number % 10 in (7, 8) and not is_needed(units, hevc=hevc):
            continue
        media += sender.picture(units, times(number, place), number / FPS)
        places.append(place)
    received = packets_of(media, "H265" if hevc else "H264")
    assert len(received) == len(places) < COUNT
    found = outputs(received, tmp_path)
    assert [each.errors for each in (*found.live, *found.files)] == [[], []]
    shown = [each.packet.pts_90k - place * TICK for each, place in zip(received, places, strict=True)][-60:]
    assert max(shown) - min(shown) <= TICK // 10


def test_b_frames_whose_references_are_lost_stay_in_their_order() -> None:
    sender, media, places = RtpSender(), list[Sent](), list[int]()
    for number, (place, units) in enumerate(coded_in_order(COUNT, 250, ":bframes=2:b-adapt=0:rc-lookahead=10")):
        if number % 20 != 7:
            media += sender.picture(units, number * TICK, number / FPS)
            places.append(place)
    received = packets_of(media)
    late = range(60, len(received))
    assert len(received) == len(places) < COUNT
    by_time = sorted(late, key=lambda number: received[number].packet.pts_90k)
    assert by_time == sorted(late, key=lambda number: places[number])
    assert max(received[number].packet.pts_90k - received[number].packet.dts_90k for number in late) <= 5 * TICK


@pytest.mark.parametrize("times", [right, as_they_are_sent])
def test_b_frames_with_whole_gops_lost_keep_their_times(times: Callable[[int, int], int]) -> None:
    """H265 is dropped from a loss up to the next keyframe."""
    sender, media = RtpSender(hevc=True), list[Sent]()
    for number, (place, units) in enumerate(
        coded_in_order(COUNT, 25, ":bframes=2:b-adapt=0:rc-lookahead=10", hevc=True)
    ):
        if number % 20 != 7:
            media += sender.picture(units, times(number, place), number / FPS)
    received = packets_of(media, "H265")
    delays = [(each.packet.pts_90k - each.packet.dts_90k) / TICK for each in received if each.at_s > 3]
    assert delays
    assert max(delays) <= (5 if times is as_they_are_sent else 11)
    shown = sorted(each.packet.pts_90k for each in received if each.at_s > 3)
    assert min(after - before for before, after in pairwise(shown)) > TICK * 0.9
