"""What a payload says of its codec."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rtsp.depacketize.codec_finder import shown_codec
from tests.support.camera_media import coded
from tests.support.jpeg_rtp import jpeg_payloads, jpeg_picture
from tests.support.rtp import aggregate, payloads


@pytest.mark.parametrize(("hevc", "codec"), [(False, "h264"), (True, "hevc")])
@pytest.mark.parametrize("start_code", [b"", b"\0\0\1", b"\0\0\0\1", b"\0\0\0\0\1"])
def test_a_stream_shows_its_own_codec_alone(hevc: bool, codec: str, start_code: bytes) -> None:
    units = [unit for picture in coded(50, hevc=hevc) for unit in picture]
    found = {shown_codec(start_code + part.data) for unit in units for part in payloads(unit, 0, hevc=hevc)}
    assert found == {None, codec}
    sets = [unit for unit in units[:6] if len(unit) < 200]
    assert shown_codec(aggregate(sets, 0, hevc=hevc).data) == codec


def test_a_jpeg_shows_itself_in_its_first_packet() -> None:
    first, second = jpeg_payloads(jpeg_picture(1))[:2]
    assert shown_codec(first) == "mjpeg"
    assert shown_codec(second) is None


@given(st.binary(max_size=64))
def test_wild_payloads_raise_nothing(payload: bytes) -> None:
    shown_codec(payload)
