"""Motion JPEG over RTP: the pictures that come out are those that went in."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rtsp.depacketize import Frame
from gateway.rtsp.depacketize.jpeg import JpegDepacketizer
from tests.support.jpeg_rtp import jpeg_payloads, jpeg_picture


def receive(*pictures: list[bytes], lose: tuple[int, int] | None = None) -> list[Frame]:
    depacketizer = JpegDepacketizer()
    frames: list[Frame] = []
    missing = 0
    for number, picture in enumerate(pictures):
        for place, payload in enumerate(picture):
            if (number, place) == lose:
                missing = 1
                continue
            marker = place == len(picture) - 1
            frames += depacketizer.push(memoryview(payload), number * 3600, marker=marker, lost=missing)
            missing = 0
    return frames


def test_a_picture_decodes_to_what_was_sent() -> None:
    sent = [jpeg_picture(seed) for seed in range(3)]
    frames = receive(*[jpeg_payloads(data, with_tables=number == 0) for number, data in enumerate(sent)])
    assert len(frames) == 3
    for frame, data in zip(frames, sent, strict=True):
        got, expected = (cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR) for each in (frame.data, data))
        assert got is not None
        assert expected is not None
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("place", [0, 1])
def test_a_picture_with_a_hole_is_dropped_and_the_next_says_so(place: int) -> None:
    sent = [jpeg_payloads(jpeg_picture(seed)) for seed in range(3)]
    frames = receive(*sent, lose=(1, place))
    assert [frame.timestamp for frame in frames] == [0, 7200]
    assert [frame.follows_loss for frame in frames] == [False, True]


@given(st.lists(st.tuples(st.binary(max_size=60), st.integers(0, 3), st.booleans()), max_size=30))
def test_wild_payloads_raise_nothing(items: list[tuple[bytes, int, bool]]) -> None:
    depacketizer = JpegDepacketizer()
    for data, time, marker in items:
        depacketizer.push(memoryview(data), time, marker=marker, lost=0)
