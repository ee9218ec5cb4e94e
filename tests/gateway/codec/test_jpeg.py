"""What is read of a JPEG: its size, and whether every decoder reads it."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codec.jpeg import has_huffman_tables, picture_size


def jpeg(width: int, height: int, *, progressive: bool = False) -> bytes:
    parameters = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    return cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8), parameters)[1].tobytes()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(640, 360), (16, 2000), (1, 1)])
def test_the_size_is_that_of_the_frame_header(size: tuple[int, int], progressive: bool) -> None:
    data = jpeg(*size, progressive=progressive)
    assert picture_size(data) == size
    assert picture_size(data[:2] + b"\xff\xff" + data[3:]) == size, "fill bytes before a marker"
    assert has_huffman_tables(data)


def test_tables_may_be_left_out() -> None:
    data = jpeg(64, 48)
    while (at := data.find(b"\xff\xc4")) > 0:
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    assert picture_size(data) == (64, 48)
    assert not has_huffman_tables(data)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_whatever_comes_is_read_or_refused(noise: bytes, cut: int) -> None:
    for data in (noise, b"\xff\xd8" + noise, jpeg(32, 16)[:cut] + noise):
        picture_size(data)
        has_huffman_tables(data)
