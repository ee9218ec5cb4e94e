"""NAL units are found in a byte stream, whatever its start codes are."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.codec import h264, h265
from gateway.codec.annexb import join, nal_offsets, nal_units

STREAM = st.lists(st.sampled_from([b"\0", b"\1", b"\0\0\1", b"\0\0\0\1", b"\x67", b"\x41\x9a"])).map(b"".join)


def test_start_codes_have_three_or_four_bytes_and_units_no_trailing_zeros() -> None:
    data = b"\0\0\1\x67a\0\0\0\1\x68b\0\0\0\0\1\x65\x03\0\0"
    assert nal_units(data) == [b"\x67a", b"\x68b", b"\x65\x03"]
    assert [data[offset] for offset in nal_offsets(data)] == [0x67, 0x68, 0x65]


def test_other_bytes_have_no_nal_units() -> None:
    for data in (b"", b"nothing", b"\0\0\0\5\x65\1\2\3\4", b"\0\0\1"):
        assert nal_units(data) == []


def test_a_stream_is_read_as_it_was_joined() -> None:
    units = [b"\x67\x42", b"\x68\xce", b"\x65\x88\x80"]
    assert nal_units(join(*units)) == units


def test_types_are_read_from_the_header_of_each_codec() -> None:
    assert h264.NAL.type_of(b"\x67") == h264.NAL.sps
    assert h264.NAL.type_of(b"\x65") in h264.NAL.random_access
    assert h265.NAL.type_of(b"\x42\x01") == h265.NAL.sps
    assert h265.NAL.type_of(b"\x26\x01") in h265.NAL.random_access
    assert h264.NAL.type_of(b"\x65", 1) == -1


@given(STREAM)
def test_offsets_and_units_agree(data: bytes) -> None:
    offsets = list(nal_offsets(data))
    ends = [*(offset - 3 for offset in offsets[1:]), len(data)]
    cut = [data[start:end].rstrip(b"\0") for start, end in zip(offsets, ends, strict=False)]
    assert nal_units(data) == [unit for unit in cut if unit]
    assert all(b"\0\0\1" not in unit and unit[-1] for unit in nal_units(data))
