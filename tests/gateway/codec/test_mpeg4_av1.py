"""What is read of MPEG-4 and AV1: the size, and where a decoder can begin, beside what libav's encoders say."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codec import av1, mpeg4
from tests.support.coded_rtp import encoded

MODULES: dict[str, Any] = {"mpeg4": mpeg4, "av1": av1}


@pytest.mark.parametrize("codec", MODULES)
@pytest.mark.parametrize("size", [(320, 240), (1918, 1078)])
def test_size_and_keyframes_are_those_of_the_encoder(codec: str, size: tuple[int, int]) -> None:
    module = MODULES[codec]
    packets = encoded(codec, *size, frames=8, gop=4)
    assert 1 < sum(is_key for _, is_key in packets) < len(packets)
    for data, is_key in packets:
        assert module.is_keyframe(data) is is_key
        if is_key:
            assert module.picture_size(data) == size


def test_the_sequence_header_of_av1_says_what_the_stream_is() -> None:
    data = encoded("av1", 1280, 720, frames=2, gop=2)[0][0]
    found = av1.sequence_header(data)
    assert found is not None
    assert (found.width, found.height, found.profile, found.tier, found.bit_depth) == (1280, 720, 0, 0, 8)
    assert found.codec_string == f"av01.0.{found.level_idx:02}M.08"
    assert 0 < found.level_idx < 24
    assert av1.sequence_header(found.obu) == found
    assert av1.codec_string_of_av1c(found.obu) == found.codec_string


def test_a_repeated_sequence_header_makes_no_keyframe() -> None:
    (key, _), (inter, _) = encoded("av1", 320, 240, frames=2, gop=2)
    found = av1.sequence_header(key)
    assert found is not None
    assert av1.is_keyframe(key)
    assert not av1.is_keyframe(found.obu + inter)
    assert not av1.is_keyframe(found.obu)


def test_a_sample_has_all_but_the_delimiter() -> None:
    data = encoded("av1", 320, 240, frames=2, gop=2)[0][0]
    assert data.startswith(b"\x12\0"), "libav begins with a temporal delimiter"
    assert av1.sample(data) == data[2:]


@pytest.mark.parametrize("read", [mpeg4.picture_size, mpeg4.is_keyframe, av1.picture_size, av1.is_keyframe])
@given(st.binary(max_size=200), st.integers(0, 200))
def test_whatever_comes_is_read_or_refused(read: Callable[[bytes], Any], noise: bytes, cut: int) -> None:
    whole = [encoded(each, 320, 240, frames=8, gop=4)[0][0] for each in MODULES]
    for data in (noise, b"\0\0\1\x20" + noise, b"\x0a" + noise, *whole):
        read(data)
        read(data[:cut] + noise)
