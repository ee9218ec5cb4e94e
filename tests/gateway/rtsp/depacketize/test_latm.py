"""AAC as MP4A-LATM, with its configuration in the session description and in band."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codec.latm import parse_mux_config
from gateway.rtsp.depacketize import Depacketizer, Frame
from gateway.rtsp.depacketize.latm import LatmDepacketizer
from tests.support.latm import in_band, out_of_band

CONFIG = bytes.fromhex("1408")
"""AAC-LC, 16 kHz, mono."""

MUX = parse_mux_config(bytes.fromhex("400028103fc0"))

FRAMES = [bytes((number,)) * size for number, size in enumerate((40, 255, 300, 510))]


def push(depacketizer: Depacketizer, data: bytes, time: int = 0, *, marker: bool = True, lost: int = 0) -> list[Frame]:
    return depacketizer.push(memoryview(data), time, marker=marker, lost=lost)


def test_one_packet_and_several() -> None:
    assert MUX is not None
    assert MUX.config == CONFIG
    depacketizer = LatmDepacketizer(16_000, MUX)
    element = out_of_band(FRAMES[3])
    (whole,) = push(depacketizer, element)
    assert (whole.data, whole.duration, whole.config) == (FRAMES[3], 1024, CONFIG)
    assert push(depacketizer, element[:100], marker=False) == []
    (joined,) = push(depacketizer, element[100:])
    assert joined.data == FRAMES[3]
    assert push(depacketizer, element[:100], marker=False) == []
    assert push(depacketizer, element[100:], lost=1) == []
    assert push(depacketizer, element)[0].data == FRAMES[3]


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("is_declared", [True, False])
def test_the_configuration_in_band(version: int, is_declared: bool) -> None:
    depacketizer = LatmDepacketizer(16_000, is_in_band=is_declared)
    assert push(depacketizer, in_band(FRAMES[0])) == []
    assert depacketizer.malformed == 1
    found = push(depacketizer, in_band(*FRAMES, config=CONFIG, version=version), 4096)
    assert [frame.data for frame in found] == FRAMES
    assert [frame.timestamp for frame in found] == [4096 + 1024 * number for number in range(4)]
    assert {frame.config for frame in found} == {CONFIG}
    assert [frame.data for frame in push(depacketizer, in_band(FRAMES[2]), 8192)] == [FRAMES[2]]


def test_another_configuration_in_band() -> None:
    depacketizer = LatmDepacketizer(16_000, MUX, is_in_band=True)
    assert push(depacketizer, in_band(FRAMES[0], config=CONFIG))[0].config == CONFIG
    found = push(depacketizer, in_band(FRAMES[0], config=bytes.fromhex("1210")), 1024)
    assert (found[0].config, found[0].duration) == (bytes.fromhex("1210"), round(1024 * 16_000 / 44_100))


def test_a_configuration_in_band_that_the_description_denies() -> None:
    depacketizer = LatmDepacketizer(16_000, MUX, is_in_band=False)
    assert [frame.data for frame in push(depacketizer, in_band(FRAMES[2], config=CONFIG))] == [FRAMES[2]]


def test_other_data_and_a_checksum_are_left_out() -> None:
    depacketizer = LatmDepacketizer(16_000, is_in_band=True)
    found = push(depacketizer, in_band(FRAMES[2], config=CONFIG, other_bits=24, has_crc=True))
    assert [frame.data for frame in found] == [FRAMES[2]]


@pytest.mark.parametrize("config", ["", "ff", "4000", "400428103fc0", "4000ff103fc0", "c00028103fc0"])
def test_a_configuration_that_cannot_be_used(config: str) -> None:
    assert parse_mux_config(bytes.fromhex(config)) is None


@given(
    st.booleans(),
    st.lists(st.tuples(st.binary(max_size=80), st.booleans(), st.integers(0, 1)), max_size=20),
    st.binary(max_size=12),
)
def test_wild_payloads_raise_nothing(is_in_band: bool, items: list[tuple[bytes, bool, int]], config: bytes) -> None:
    depacketizer = LatmDepacketizer(16_000, parse_mux_config(config), is_in_band=is_in_band)
    for number, (data, marker, lost) in enumerate(items):
        push(depacketizer, data, number * 1024, marker=marker, lost=lost)
