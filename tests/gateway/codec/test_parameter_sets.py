"""Parameter sets of real encoders are read correctly, and garbage raises an error."""

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codec import aac, h264, h265
from gateway.codec.annexb import START_CODE
from gateway.codec.bits import UNIT_MAX_BYTES, BitReader, BitstreamError
from gateway.codec.parameter_sets import SETS_MAX, ParameterSets, active_first, find_parameter_sets, video_info
from gateway.errors import NoVideoError
from tests.support.pcm_pictures import Layout


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
    info, sps = video_info("h264", sets)
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
    info, sps = video_info("hevc", sets, Fraction(25))
    assert (info.width, info.height, sps.max_reorder) == (642, 362, 0)
    assert info.frame_rate == 25
    assert info.codec_string == "hvc1.1.6.L63.90"


def test_a_scaling_matrix_is_skipped() -> None:
    data = encode("libx264", 642, 362, 15, {"profile": "high", "x264-params": "log=-1:cqm=jvt:bframes=2"})
    sets = find_parameter_sets("h264", data)
    assert sets is not None
    info, sps = video_info("h264", sets)
    assert (info.width, info.height, sps.max_reorder) == (642, 362, 2)
    assert info.frame_rate == 15


def test_parameter_sets_after_a_slice_belong_to_the_next_picture() -> None:
    assert find_parameter_sets("h264", b"\x00\x00\x01\x65x\x00\x00\x01\x67a\x00\x00\x01\x68b") is None


def test_at_most_256_parameter_sets_of_a_kind_are_kept() -> None:
    flood = [b"\x68" + number.to_bytes(4, "big") + b"\x80" for number in range(0x01010101, 0x01010101 + 5000)]
    sets = find_parameter_sets("h264", b"".join(START_CODE + unit for unit in (b"\x67\x42", *flood)))
    assert sets is not None
    assert sets.pps == tuple(flood[:SETS_MAX])


def test_only_the_beginning_of_a_huge_parameter_set_is_read() -> None:
    bits = BitReader(b"\x01" * 4_000_000)
    assert bits.u(8 * UNIT_MAX_BYTES) & 0xFF == 1
    with pytest.raises(BitstreamError):
        bits.u(1)


def test_unreadable_parameter_sets_raise_no_video() -> None:
    with pytest.raises(NoVideoError, match="parameter set"):
        video_info("h264", ParameterSets((), (b"\x67\x42",), (b"\x68",)))


@given(st.binary(max_size=80), st.sampled_from(["h264", "hevc"]))
def test_garbage_raises_an_error(unit: bytes, codec: str) -> None:
    try:
        sps = h264.parse_sps(unit) if codec == "h264" else h265.parse_sps(unit)
    except BitstreamError:
        return
    assert 0 < sps.width <= 16_384
    assert 0 < sps.height <= 16_384


@given(st.binary(max_size=200), st.sampled_from(["h264", "hevc"]))
def test_any_bytes_can_be_searched(data: bytes, codec: str) -> None:
    sets = find_parameter_sets(codec, data)
    assert sets is None or (sets.sps and sets.pps)


def test_an_empty_nal_unit_is_no_slice() -> None:
    data = b"\0\0\1" + b"\0\0\1\x40\1v" + b"\0\0\1\x42\1s" + b"\0\0\1\x44\1p"
    sets = find_parameter_sets("hevc", data)
    assert sets is not None
    assert (sets.sps, sets.pps) == ((b"\x42\1s",), (b"\x44\1p",))


def test_the_records_of_mp4_give_the_same_codec_strings() -> None:
    assert h264.codec_string_of_avcc(bytes.fromhex("0142c01fffe1")) == "avc1.42c01f"
    assert h264.codec_string_of_avcc(b"\0\0\0\1\x67\x42") is None
    assert h265.codec_string_of_hvcc(bytes.fromhex("0101600000009000000000003ff000fcfdf8f8")) == "hvc1.1.6.L63.90"
    assert h265.codec_string_of_hvcc(b"\1\1") is None


def test_the_codec_string_of_aac_names_its_object_type() -> None:
    assert aac.codec_string(b"\x11\x90") == "mp4a.40.2"
    assert aac.codec_string(b"\x2b\x92\x08\x00") == "mp4a.40.5"
    assert aac.codec_string(b"\x11") is None


@pytest.mark.parametrize("active", [0, 1, 31])
@pytest.mark.parametrize("is_last", [True, False])
def test_the_sps_that_the_slices_use_is_first(active: int, is_last: bool) -> None:
    used = Layout(sps_id=active, pps_id=7)
    other = Layout(sps_id=5, pps_id=9, width_mbs=20)
    units = [other.sps(), used.sps()] if is_last else [used.sps(), other.sps()]
    data = START_CODE + START_CODE.join([*units, other.pps(), used.pps(), used.picture(0, 0, 40, is_idr=True)])
    found = find_parameter_sets("h264", data)
    assert found is not None
    ordered = active_first("h264", data, found)
    assert ordered.sps == (used.sps(), other.sps())
    assert ordered.pps == found.pps
    assert video_info("h264", ordered)[0].width == 64


def test_without_the_active_sps_the_order_stays() -> None:
    used, other = Layout(sps_id=3, pps_id=3), Layout(sps_id=5, pps_id=9)
    data = START_CODE + START_CODE.join([other.sps(), other.pps(), used.picture(0, 0, 40, is_idr=True)])
    found = find_parameter_sets("h264", data)
    assert found is not None
    assert active_first("h264", data, found) == found
    assert active_first("h264", b"", found) == found


@given(st.binary(max_size=100), st.sampled_from(["h264", "hevc"]))
def test_any_bytes_can_be_a_slice(data: bytes, codec: str) -> None:
    sets = ParameterSets((), (b"\x67abc", b"\x42\x01abc"), (b"\x68abc", b"\x44\x01abc"))
    assert set(active_first(codec, START_CODE + data, sets).sps) == set(sets.sps)
