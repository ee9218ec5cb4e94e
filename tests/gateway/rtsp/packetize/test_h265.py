"""RFC 7798: every payload that is made is read back by the camera side's depacketiser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codec.annexb import nal_units
from gateway.rtsp.depacketize.h265 import H265Depacketizer
from gateway.rtsp.packetize import h265
from gateway.webrtc.rtp.packets import MAX_PAYLOAD_BYTES
from tests.gateway.webrtc.wire import annex_b

TRAIL, IDR, CRA, VPS, SPS, PPS, DELIMITER, FILLER, PREFIX_SEI, SUFFIX_SEI = 1, 19, 21, 32, 33, 34, 35, 38, 39, 40


def unit(kind: int, size: int, seed: int = 0, *, layer: int = 0, temporal: int = 1) -> bytes:
    """A NAL unit without a start code and without a zero at its end; of slices, the first of its picture."""
    body = bytes((seed + place) % 251 + 1 for place in range(size - 3))
    return bytes((kind << 1 | layer >> 5, (layer & 31) << 3 | temporal, 0x81)) + body


SETS = [unit(kind, 20, kind) for kind in (VPS, SPS, PPS)]


def read_back(payloads: list[bytes]) -> list[bytes]:
    """The NAL units of the payloads of one access unit."""
    reader = H265Depacketizer()
    frames = []
    for place, payload in enumerate(payloads):
        frames += reader.push(memoryview(payload), 3000, marker=place == len(payloads) - 1, lost=0)
    # A picture that begins shows that the one before it is complete.
    frames += reader.push(memoryview(unit(TRAIL, 20)), 6000, marker=True, lost=0)
    assert reader.malformed == 0
    return nal_units(bytes(frames[0].data))


def test_delimiters_filler_and_reserved_types_are_not_sent() -> None:
    unwanted = [unit(kind, 50) for kind in (DELIMITER, FILLER, 36, 37, 41, 48, 49, 50, 63)]
    slice_ = unit(TRAIL, 100)
    assert h265.access_unit(annex_b(*unwanted, slice_, *unwanted)) == [slice_]


def test_only_the_base_layer_is_sent() -> None:
    slices = [unit(TRAIL, 100), unit(TRAIL, 100, layer=1), unit(TRAIL, 100, layer=32)]
    assert h265.access_unit(annex_b(*slices)) == slices[:1]


def test_without_a_coded_slice_nothing_is_sent() -> None:
    assert h265.access_unit(annex_b(*SETS, unit(PREFIX_SEI, 30))) == []


@pytest.mark.parametrize("kind", [16, IDR, 20, CRA])
def test_parameter_sets_are_inserted_before_a_picture_that_decoding_begins_with(kind: int) -> None:
    picture = unit(kind, 100)
    assert h265.access_unit(annex_b(picture), annex_b(*SETS)) == [*SETS, picture]


def test_in_band_parameter_sets_are_not_repeated() -> None:
    own = [unit(kind, 25, 3 * kind) for kind in (VPS, SPS, PPS)]
    units = [*own, unit(PREFIX_SEI, 9), unit(IDR, 100), unit(SUFFIX_SEI, 30)]
    assert h265.access_unit(annex_b(*units), annex_b(*SETS)) == units


def test_incomplete_parameter_sets_are_replaced() -> None:
    sps = unit(SPS, 25, 5)
    assert h265.access_unit(annex_b(sps, unit(IDR, 100)), annex_b(*SETS)) == [*SETS, unit(IDR, 100)]


def test_a_delta_frame_gets_no_parameter_sets() -> None:
    assert h265.access_unit(annex_b(unit(TRAIL, 100)), annex_b(*SETS)) == [unit(TRAIL, 100)]


def test_small_units_share_an_aggregation_packet_with_the_lowest_temporal_id() -> None:
    units = [unit(PREFIX_SEI, 10, temporal=3), unit(IDR, 40, temporal=2)]
    (payload,) = h265.payloads(units, MAX_PAYLOAD_BYTES)
    assert payload[:4] == bytes((48 << 1, 2)) + (10).to_bytes(2, "big")
    assert read_back([payload]) == units


def test_a_single_unit_that_fits_is_sent_alone() -> None:
    assert h265.payloads([unit(TRAIL, MAX_PAYLOAD_BYTES)], MAX_PAYLOAD_BYTES) == [unit(TRAIL, MAX_PAYLOAD_BYTES)]


def test_a_large_unit_is_split_into_fragments_of_one_size() -> None:
    large = unit(IDR, 5000, temporal=1)
    payloads = h265.payloads([large], MAX_PAYLOAD_BYTES)
    assert {len(payload) for payload in payloads[:-1]} == {MAX_PAYLOAD_BYTES}
    assert [payload[2] >> 6 for payload in payloads] == [2, *[0] * (len(payloads) - 2), 1]
    assert {payload[2] & 0x3F for payload in payloads} == {IDR}
    assert {payload[:2] for payload in payloads} == {bytes((49 << 1, 1))}
    assert read_back(payloads) == [large]


@given(st.lists(st.integers(4, 4000), min_size=1, max_size=8), st.integers(20, 1200))
def test_units_of_any_size_are_reassembled_and_payloads_fit(sizes: list[int], max_bytes: int) -> None:
    units = [unit(SUFFIX_SEI if place else IDR, size, size) for place, size in enumerate(sizes)]
    payloads = h265.payloads(units, max_bytes)
    assert max(map(len, payloads)) <= max_bytes
    assert read_back(payloads) == units


@given(st.binary(max_size=400).map(lambda data: data.replace(b"\x07", b"\0\0\1")))
def test_random_bytes_are_split_without_an_error(data: bytes) -> None:
    assert all(h265.payloads(h265.access_unit(data, data), MAX_PAYLOAD_BYTES))
