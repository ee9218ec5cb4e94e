"""Misbehaving cameras: one picture every few seconds. RTP goes in, LL-HLS and recordings come out.

Each picture is shown for as long as it was the newest; playlist and file are one.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.faults.test_camera_pictures import DELIMITER
from tests.support.camera_media import TICK, coded, packets_of
from tests.support.camera_outputs import outputs
from tests.support.rtsp_camera import RtpSender, Sent

COUNT = 20


def right(number: int, every_s: float) -> int:
    return round(number * every_s * 90_000)


def as_video(number: int, every_s: float) -> int:
    return number * TICK


def one_time_for_all(number: int, every_s: float) -> int:
    return 77


def stills(every_s: float, times: Callable[[int, float], int], marks: str, *, hevc: bool) -> list[Sent]:
    sender, media = RtpSender(hevc=hevc), list[Sent]()
    for number, units in enumerate(coded(COUNT, 1, ":slices=2", hevc=hevc)):
        head = () if hevc else (DELIMITER,)
        media += sender.picture([*head, *units], times(number, every_s), number * every_s, marks=marks)
    return media


@pytest.mark.parametrize("every_s", [2.0, 5.0, 20.0, 60.0, 300.0])
@pytest.mark.parametrize("times", [right, as_video, one_time_for_all])
@pytest.mark.parametrize(("hevc", "marks"), [(False, "last"), (True, "last"), (False, "never"), (False, "every")])
def test_stills(tmp_path: Path, every_s: float, times: Callable[[int, float], int], marks: str, hevc: bool) -> None:
    received = packets_of(stills(every_s, times, marks, hevc=hevc), "H265" if hevc else "H264")
    found = outputs(received, tmp_path, 100_000)
    (live,), (file,) = found.live, found.files
    assert live.errors == file.errors == []
    assert "EXT-X-DISCONTINUITY\n" not in found.playlist
    assert len(file.times) >= COUNT - 1
    assert len(live.times) >= COUNT - 5
    # A wrong clock shows after two steps, and what it has fallen behind is made up for.
    for each in (live, file):
        late = each.times[5:]
        assert all(after - before == pytest.approx(every_s, rel=0.1) for before, after in pairwise(late))


def test_a_still_is_passed_on_before_the_next_one_comes() -> None:
    received = packets_of(stills(20, right, "last", hevc=False))
    assert [each.at_s for each in received[:-1]] == pytest.approx([20 * number for number in range(COUNT - 1)], abs=1.5)
