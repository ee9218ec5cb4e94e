"""Misbehaving cameras: pictures and slices that the camera loses itself, without a gap in the sequence numbers.

What refers to a picture that never came is not shown, and H.264's decoders conceal it; playlist and file go on.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from gateway.rtsp.depacketize import Frame
from gateway.rtsp.depacketize.h265 import HABIT_GOPS, H265Syntax
from gateway.rtsp.depacketize.pictures import PictureAssembler
from tests.support.camera_media import FPS, TICK, Picture, coded, is_slice, packets_of
from tests.support.camera_outputs import outputs
from tests.support.rtsp_camera import RtpSender, Sent

Keep = Callable[[int, int, int], bool]
"""Whether a slice is sent: the picture's number, the slice's, and how many there are."""


def sent(keep: Keep, *, hevc: bool, slices: int = 4, marks: str = "last") -> list[Sent]:
    sender = RtpSender(hevc=hevc)
    media: list[Sent] = []
    for number, units in enumerate(coded(150, 25, f":slices={slices}", hevc=hevc)):
        kept: Picture = ()
        place = 0
        for unit in units:
            is_kept = True
            if is_slice(unit, hevc=hevc):
                is_kept = keep(number, place, slices)
                place += 1
            kept += (unit,) * is_kept
        media += sender.picture(kept, number * TICK, number / FPS, marks=marks)
    return media


def shown(media: list[Sent], data_dir: Path, *, hevc: bool) -> int:
    """The frames of the one file, without an error, each at its time."""
    found = outputs(packets_of(media, "H265" if hevc else "H264"), data_dir)
    (live,), (recorded,) = found.live, found.files
    assert live.errors == recorded.errors == []
    assert "EXT-X-DISCONTINUITY\n" not in found.playlist
    for time in recorded.times:
        assert round(time * FPS) == pytest.approx(time * FPS, abs=0.02)
    return len(recorded.times)


CASES: dict[str, tuple[Keep, int]] = {
    "pictures": (lambda number, place, slices: not 60 <= number < 65, 130),
    "a-keyframe": (lambda number, place, slices: number != 50, 120),
    "the-first-slice": (lambda number, place, slices: number % 50 != 20 or place > 0, 90),
    "the-last-slice": (lambda number, place, slices: number % 50 != 20 or place < slices - 1, 148),
    "a-slice-in-the-middle": (lambda number, place, slices: number % 50 != 20 or place != 1, 148),
    "the-first-slice-of-a-keyframe": (lambda number, place, slices: number != 50 or place > 0, 120),
}


@pytest.mark.parametrize("hevc", [False, True], ids=["h264", "h265"])
@pytest.mark.parametrize("case", CASES)
def test_what_a_camera_loses(tmp_path: Path, case: str, hevc: bool) -> None:
    keep, least = CASES[case]
    assert shown(sent(keep, hevc=hevc), tmp_path, hevc=hevc) >= least


@pytest.mark.parametrize("hevc", [False, True], ids=["h264", "h265"])
@pytest.mark.parametrize(("slices", "marks"), [(1, "last"), (4, "last"), (4, "never")])
def test_slices_that_a_camera_loses_here_and_there(tmp_path: Path, slices: int, hevc: bool, marks: str) -> None:
    random = Random(3)
    media = sent(
        lambda number, place, count: number == 0 or random.random() >= 0.01, hevc=hevc, slices=slices, marks=marks
    )
    assert shown(media, tmp_path, hevc=hevc) >= 75


def frames(pictures: list[Picture], syntax: H265Syntax) -> list[Frame]:
    assembler = PictureAssembler(syntax)
    found = [frame for at, units in enumerate(pictures) for unit in units for frame in assembler.unit(unit, at * TICK)]
    return found + assembler.flush()


@pytest.mark.parametrize(
    "options",
    [
        "",
        ":rc-lookahead=10:bframes=4:b-adapt=0:b-pyramid=1:ref=4",
        ":rc-lookahead=10:open-gop=1:bframes=3",
        ":intra-refresh=1",
        ":slices=4",
    ],
)
def test_a_whole_stream_refers_to_nothing_that_is_missing(options: str) -> None:
    found = frames(list(coded(75, 25, f"{options}:scaling-list=default", hevc=True)), H265Syntax())
    assert len(found) == 75
    assert not any(frame.follows_loss for frame in found)
    # Without some of its pictures, the stream does.
    missing = [units for number, units in enumerate(coded(75, 25, options, hevc=True)) if number not in range(30, 36)]
    assert any(frame.follows_loss for frame in frames(missing, H265Syntax()))


def test_a_camera_that_always_writes_wrong_references_is_shown() -> None:
    pictures = [units for number, units in enumerate(coded(50, 5, hevc=True)) if number % 5 != 2]
    found = frames(pictures * (HABIT_GOPS // 10 + 1), H265Syntax())
    assert found[3].follows_loss
    assert not any(frame.follows_loss for frame in found[4 * HABIT_GOPS :])
