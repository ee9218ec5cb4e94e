"""RFC 6184: every payload that is made is read back by aiortc's depacketiser."""

import pytest
from aiortc.codecs.h264 import H264PayloadDescriptor
from hypothesis import given
from hypothesis import strategies as st

from gateway.codec.annexb import nal_units
from gateway.rtsp.packetize import h264
from gateway.webrtc.rtp.packets import MAX_PAYLOAD_BYTES
from tests.gateway.webrtc.wire import SETS, annex_b, unit

SPS, PPS = nal_units(SETS)


def read_back(payloads: list[bytes]) -> bytes:
    return b"".join(H264PayloadDescriptor.parse(payload)[1] for payload in payloads)


def test_delimiters_and_filler_are_not_sent() -> None:
    data = annex_b(b"\x09\xf0", unit(1, 10), unit(12, 50))
    assert h264.access_unit(data) == [unit(1, 10)]


def test_without_a_coded_slice_nothing_is_sent() -> None:
    assert h264.access_unit(annex_b(b"\x09\xf0", SPS, PPS)) == []


def test_sps_and_pps_are_inserted_before_an_idr_without_them() -> None:
    idr = unit(5, 100)
    assert h264.access_unit(annex_b(idr), SETS) == [SPS, PPS, idr]


def test_in_band_sps_and_pps_are_not_repeated() -> None:
    idr, sps = unit(5, 100), unit(7, 12)
    assert h264.access_unit(annex_b(sps, PPS, idr), SETS) == [sps, PPS, idr]


def test_incomplete_parameter_sets_are_replaced() -> None:
    idr = unit(5, 100)
    assert h264.access_unit(annex_b(PPS, idr), SETS) == [SPS, PPS, idr]


def test_a_delta_frame_gets_no_parameter_sets() -> None:
    assert h264.access_unit(annex_b(unit(1, 100)), SETS) == [unit(1, 100)]


def test_small_units_share_a_stap_a_with_the_highest_nri() -> None:
    units = [b"\x07" + bytes(5), b"\x68" + bytes(3), b"\x25" + bytes(9)]
    (payload,) = h264.payloads(units, MAX_PAYLOAD_BYTES)
    assert payload[0] == 0x60 | 24
    assert payload[1:3] == (6).to_bytes(2, "big")
    assert read_back([payload]) == annex_b(*units)


def test_a_single_unit_that_fits_is_sent_alone() -> None:
    assert h264.payloads([unit(1, MAX_PAYLOAD_BYTES)], MAX_PAYLOAD_BYTES) == [unit(1, MAX_PAYLOAD_BYTES)]


def test_a_large_unit_is_split_into_fragments_of_one_size() -> None:
    large = unit(5, 5000)
    payloads = h264.payloads([large], MAX_PAYLOAD_BYTES)
    assert {len(payload) for payload in payloads[:-1]} == {MAX_PAYLOAD_BYTES}
    assert [payload[1] >> 6 for payload in payloads] == [2, *[0] * (len(payloads) - 2), 1]
    assert {payload[0] for payload in payloads} == {0x60 | 28}
    assert read_back(payloads) == annex_b(large)


@pytest.mark.parametrize("kind", [0, 9, 12, 24, 28, 31])
def test_units_of_unspecified_types_are_not_sent(kind: int) -> None:
    slice_ = unit(1, 100)
    assert h264.access_unit(annex_b(unit(kind, 50), slice_, unit(kind, 3000))) == [slice_]


@given(st.lists(st.integers(2, 4000), min_size=1, max_size=8), st.integers(16, 1200))
def test_units_of_any_size_are_reassembled_and_payloads_fit(sizes: list[int], max_bytes: int) -> None:
    units = [unit(1, size, size) for size in sizes]
    payloads = h264.payloads(units, max_bytes)
    assert max(map(len, payloads)) <= max_bytes
    assert read_back(payloads) == annex_b(*units)


@given(st.binary(max_size=400).map(lambda data: data.replace(b"\x07", b"\0\0\1")))
def test_random_bytes_are_split_without_an_error(data: bytes) -> None:
    for item in nal_units(data):
        assert item
        assert item[-1:] != b"\0"
    assert all(h264.payloads(h264.access_unit(data, data), MAX_PAYLOAD_BYTES))
