"""The detector of motion, on pictures."""

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.detect import detector_factory
from gateway.detect.detector import DetectorOptions
from gateway.detect.keyframe import decode_keyframe
from gateway.errors import SettingsError
from gateway.picture_settings import zones
from tests.support.sources.encoded import EncoderSettings, encode

WIDTH, HEIGHT = 320, 180
DICE = np.random.default_rng(1)
SCENE = DICE.integers(40, 200, (HEIGHT // 10, WIDTH // 10)).repeat(10, 0).repeat(10, 1).astype(np.int16)


def picture(box: tuple[int, int] | None = None, size: int = 40, brighter: int = 0) -> av.VideoFrame:
    """The scene with noise, and a box at this place."""
    grey: NDArray[np.int16] = SCENE + brighter + (DICE.standard_normal(SCENE.shape) * 3).astype(np.int16)
    if box is not None:
        left, top = box
        grey[top : top + size, left : left + size] = 250
    planes = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    planes[:HEIGHT] = np.clip(grey, 0, 255)
    return av.VideoFrame.from_ndarray(planes, "yuv420p")


def detector(**options: object):  # type: ignore[no-untyped-def]
    return detector_factory("motion")(DetectorOptions("door", **options))  # type: ignore[arg-type]


def test_what_moves_is_found_and_noise_and_light_are_not() -> None:
    motion = detector()
    assert [found for _ in range(20) for found in motion.detect(picture())] == []
    assert list(motion.detect(picture(brighter=15))) == []
    [found] = motion.detect(picture((100, 60)))
    assert (found.label, found.score >= 0.5) == ("motion", True)
    left, top, width, height = found.data["box"]
    assert (left, top) == pytest.approx((100 / WIDTH, 60 / HEIGHT), abs=0.03)
    assert (width, height) == pytest.approx((40 / WIDTH, 40 / HEIGHT), abs=0.05)


def test_what_stays_becomes_the_background() -> None:
    motion = detector()
    motion.detect(picture())
    found = [bool(motion.detect(picture((100, 60)))) for _ in range(60)]
    assert found[0]
    assert not found[-1]


def test_another_view_is_no_motion() -> None:
    motion = detector()
    motion.detect(picture())
    other = av.VideoFrame.from_ndarray(DICE.integers(0, 255, (HEIGHT * 3 // 2, WIDTH), np.uint8), "yuv420p")
    assert list(motion.detect(other)) == []


def test_only_the_zones_count_and_a_sensitive_detector_finds_more() -> None:
    motion = detector(zones=zones("0,0,50,100; 60,0,20,20"))
    motion.detect(picture())
    assert list(motion.detect(picture((240, 100)))) == []
    assert list(motion.detect(picture((20, 100)))) != []
    found = []
    for sensitivity in (0.1, 0.5, 0.95):
        motion = detector(sensitivity=sensitivity)
        motion.detect(picture())
        found.append(bool(motion.detect(picture((100, 60), size=14))))
    assert found == [False, False, True]


@pytest.mark.parametrize(
    "text", ["1,2,3", "a,b,c,d", "0,0,0,10", "60,0,50,10", "-1,0,5,5", "nan,0,1,1", "0,0,1,1;" * 17]
)
def test_zones_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"rectangles|percent"):
        zones(text)


@pytest.mark.parametrize("name", ["nothing", "gateway.detect:Nothing", "gateway.media:Packet", ":"])
def test_a_name_of_no_detector_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="DETECTOR"):
        detector_factory(name)


@pytest.mark.parametrize("hevc", [False, True])
def test_each_keyframe_is_decoded_alone(hevc: bool) -> None:
    packets = encode(EncoderSettings(seconds=3, hevc=hevc))
    frames = [decode_keyframe(packet) for packet in packets if packet.is_keyframe]
    greys = [float(frame.to_ndarray(format="gray").mean()) for frame in frames if frame is not None]
    assert len(greys) == 3
    assert greys == sorted(greys)
