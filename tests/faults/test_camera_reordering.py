"""Misbehaving cameras: B-frames whose times are wrong. RTP goes in, LL-HLS and recordings come out.

Both outputs decode without an error, and pictures are shown in their order, and at the real rate.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.support.camera_media import FPS, TICK, coded_in_order, packets_of
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
