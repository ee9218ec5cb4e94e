"""Parameter sets as real encoders write them are read as ffprobe reads them; garbage is said to be garbage."""

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codec.annexb import (
    SETS_MAX,
    START_CODE,
    ParameterSets,
    describe,
    find_parameter_sets,
    split,
)
from gateway.codec.sps import UNIT_MAX_BYTES, Bits, BitsError, parse_h264_sps, parse_hevc_sps
from gateway.errors import NoVideoError


def encode(codec: str, width: int, height: int, rate: int, options: dict[str, str]) -> bytes:
    """The first access unit of an encoder."""
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.framerate, context.time_base = Fraction(rate), Fraction(1, rate)
    context.options = options
    picture = av.VideoFrame.from_ndarray(np.zeros((height * 3 // 2, width), np.uint8), format="yuv420p")
    packets = [*context.encode(picture), *context.encode(None)]
    return bytes(packets[0])


@pytest.mark.parametrize(
    ("profile", "start", "reorder"),
    [("baseline", "avc1.42", 0), ("main", "avc1.4d", 2), ("high", "avc1.64", 2)],
)
@pytest.mark.parametrize(("width", "height"), [(320, 240), (642, 362), (1920, 1080)])
def test_h264_of_x264(profile: str, start: str, reorder: int, width: int, height: int) -> None:
    b_frames = 2 if reorder else 0
    data = encode("libx264", width, height, 15, {"profile": profile, "x264-params": f"log=-1:bframes={b_frames}"})
    sets = find_parameter_sets("h264", data)
    assert sets is not None
    info, sps = describe("h264", sets)
    assert (info.width, info.height, info.codec) == (width, height, "h264")
    assert info.frame_rate == 15
    assert info.codec_string.startswith(start)
    assert len(info.codec_string) == len("avc1.42e01f")
    assert sps.max_reorder == reorder
    assert info.has_b_frames == bool(reorder)
    assert info.parameter_sets.startswith(START_CODE + b"\x67")


def test_hevc_of_x265() -> None:
    data = encode("libx265", 642, 362, 25, {"x265-params": "log-level=none:bframes=0"})
    sets = find_parameter_sets("hevc", data)
    assert sets is not None
    assert len(sets.vps) == 1
    info, sps = describe("hevc", sets, Fraction(25))
    assert (info.width, info.height, sps.max_reorder) == (642, 362, 0)
    assert info.frame_rate == 25
    assert info.codec_string == "hvc1.1.6.L63.90"


def test_a_scaling_matrix_is_passed_over() -> None:
    data = encode("libx264", 642, 362, 15, {"profile": "high", "x264-params": "log=-1:cqm=jvt:bframes=2"})
    sets = find_parameter_sets("h264", data)
    assert sets is not None
    info, sps = describe("h264", sets)
    assert (info.width, info.height, sps.max_reorder) == (642, 362, 2)
    assert info.frame_rate == 15


def test_split_takes_both_start_codes_and_trailing_zeros() -> None:
    assert list(split(b"\x00\x00\x01\x67a\x00\x00\x00\x01\x68b\x00\x00\x00\x00\x01\x65")) == [
        b"\x67a",
        b"\x68b",
        b"\x65",
    ]
    assert list(split(b"nothing")) == []


def test_parameter_sets_after_a_slice_belong_to_the_next_picture() -> None:
    assert find_parameter_sets("h264", b"\x00\x00\x01\x65x\x00\x00\x01\x67a\x00\x00\x01\x68b") is None


def test_a_flood_of_parameter_sets_is_cut_short() -> None:
    flood = [b"\x68" + number.to_bytes(4, "big") + b"\x80" for number in range(0x01010101, 0x01010101 + 5000)]
    sets = find_parameter_sets("h264", b"".join(START_CODE + unit for unit in (b"\x67\x42", *flood)))
    assert sets is not None
    assert sets.pps == tuple(flood[:SETS_MAX])


def test_of_a_parameter_set_of_megabytes_only_the_beginning_is_read() -> None:
    bits = Bits(b"\x01" * 4_000_000)
    assert bits.u(8 * UNIT_MAX_BYTES) & 0xFF == 1
    with pytest.raises(BitsError):
        bits.u(1)


def test_unreadable_parameter_sets_are_no_video() -> None:
    with pytest.raises(NoVideoError, match="parameter set"):
        describe("h264", ParameterSets((), (b"\x67\x42",), (b"\x68",)))


@given(st.binary(max_size=80), st.sampled_from(["h264", "hevc"]))
def test_garbage_is_said_to_be_garbage(unit: bytes, codec: str) -> None:
    try:
        sps = parse_h264_sps(unit) if codec == "h264" else parse_hevc_sps(unit)
    except BitsError:
        return
    assert 0 < sps.width <= 16_384
    assert 0 < sps.height <= 16_384


@given(st.binary(max_size=200), st.sampled_from(["h264", "hevc"]))
def test_any_bytes_can_be_searched(data: bytes, codec: str) -> None:
    find_parameter_sets(codec, data)
    assert START_CODE + START_CODE.join(split(data)) == START_CODE or all(split(data))
