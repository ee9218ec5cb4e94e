"""Motion JPEG over RTP: the pictures that come out are those that went in."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rtsp.depacketize import Frame
from gateway.rtsp.depacketize.jpeg import JpegDepacketizer

WIDTH, HEIGHT = 160, 96


def jpeg(seed: int) -> bytes:
    """A baseline JPEG, 4:2:0, with the Huffman tables of ITU-T T.81 §K.3."""
    picture = cv2.resize(np.random.default_rng(seed).integers(0, 255, (12, 20, 3), np.uint8), (WIDTH, HEIGHT))
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert done
    return data.tobytes()


def payloads(data: bytes, mtu: int = 400, *, with_tables: bool = True) -> list[bytes]:
    """A JPEG as RFC 2435 sends it: the scan, with the quantisation tables in the first packet."""
    tables, scan, place = b"", b"", 2
    while not scan:
        kind, size = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        segment = data[place + 4 : place + 2 + size]
        if kind == 0xDB:
            for at in range(0, len(segment), 65):
                tables += segment[at + 1 : at + 65]
        if kind == 0xDA:
            scan = data[place + 2 + size :].removesuffix(b"\xff\xd9")
        place += 2 + size
    quality = 200
    found = []
    for offset in range(0, len(scan), mtu):
        header = bytes((0,)) + offset.to_bytes(3, "big") + bytes((1, quality, WIDTH // 8, HEIGHT // 8))
        if offset == 0:
            sent = tables if with_tables else b""
            header += bytes((0, 0)) + len(sent).to_bytes(2, "big") + sent
        found.append(header + scan[offset : offset + mtu])
    return found


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
    sent = [jpeg(seed) for seed in range(3)]
    frames = receive(*[payloads(data, with_tables=number == 0) for number, data in enumerate(sent)])
    assert len(frames) == 3
    for frame, data in zip(frames, sent, strict=True):
        got, expected = (cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR) for each in (frame.data, data))
        assert got is not None
        assert expected is not None
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("place", [0, 1])
def test_a_picture_with_a_hole_is_dropped_and_the_next_says_so(place: int) -> None:
    sent = [payloads(jpeg(seed)) for seed in range(3)]
    frames = receive(*sent, lose=(1, place))
    assert [frame.timestamp for frame in frames] == [0, 7200]
    assert [frame.follows_loss for frame in frames] == [False, True]


@given(st.lists(st.tuples(st.binary(max_size=60), st.integers(0, 3), st.booleans()), max_size=30))
def test_wild_payloads_raise_nothing(items: list[tuple[bytes, int, bool]]) -> None:
    depacketizer = JpegDepacketizer()
    for data, time, marker in items:
        depacketizer.push(memoryview(data), time, marker=marker, lost=0)
