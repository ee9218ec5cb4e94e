"""Pictures come out of RTP's pieces whole, whatever the packetiser; and early only from packetisers that can be
read."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.capture.access_units import TRIAL_FRAMES, AccessUnit, AccessUnitAssembler
from gateway.capture.timeline import ArrivalTime
from gateway.codec.annexb import START_CODE

FRAME = 3600
SPS, PPS, AUD = b"\x67sps", b"\x68pps", b"\x09\xf0"


@dataclass(frozen=True)
class Piece:
    data: bytes
    pts: int
    ends_picture: bool


def noise(size: int, seed: int) -> bytes:
    """Bytes without zeros, so that no start code is among them."""
    return random.Random(seed).randbytes(size).replace(b"\x00", b"\x01")


def picture(seed: int, slices: list[int], *, key: bool = False) -> list[bytes]:
    """The NAL units of an H.264 picture, ``slices`` bytes each."""
    header = b"\x65" if key else b"\x41"
    units = [header + (b"\x88" if index == 0 else b"\x22") + noise(size, seed) for index, size in enumerate(slices)]
    return [AUD, SPS, PPS, *units] if key else [AUD, *units]


def fragments(unit: bytes, room: int, *, evenly: bool = False) -> Iterator[bytes]:
    """A NAL unit as libav hands out its packets: whole if it fits, else FU-A (RFC 6184 §5.8), header in the first."""
    if len(unit) <= room:
        yield START_CODE + unit
        return
    payload = unit[1:]
    size = room - 2
    if evenly:
        size = -(-len(payload) // -(-len(payload) // size))
    yield START_CODE + unit[:1] + payload[:size]
    for at in range(size, len(payload), size):
        yield payload[at : at + size]


def packetise(pictures: list[list[bytes]], room: int = 1400, *, evenly: bool = False) -> list[Piece]:
    pieces = []
    for number, units in enumerate(pictures):
        parts = [part for unit in units for part in fragments(unit, room, evenly=evenly)]
        pieces += [Piece(part, number * FRAME, part is parts[-1]) for part in parts]
    return pieces


def assemble(pieces: list[Piece]) -> tuple[AccessUnitAssembler, list[AccessUnit], list[bool]]:
    """What comes out, and for each whether it came with its own last piece."""
    units = AccessUnitAssembler("h264", 1 / 90_000)
    out, early = [], []
    for number, piece in enumerate(pieces):
        for unit in units.push(piece.data, piece.pts, ArrivalTime(number, float(number))):
            out.append(unit)
            early.append(piece.ends_picture and unit.pts == piece.pts)
    return units, out, early


def expected(pictures: list[list[bytes]]) -> list[bytes]:
    return [b"".join(START_CODE + unit for unit in units) for units in pictures]


def coded_pictures(count: int, slices: int = 1) -> list[list[bytes]]:
    return [
        picture(number, [20_000 if number % 20 == 0 else 3000 + number * 17] * slices, key=number % 20 == 0)
        for number in range(count)
    ]


@pytest.mark.parametrize("slices", [1, 4])
def test_after_the_trial_frames_come_with_their_last_payload(slices: int) -> None:
    pictures = coded_pictures(100, slices)
    units, out, early = assemble(packetise(pictures))
    assert [unit.data for unit in out] == expected(pictures)
    assert units.is_low_latency
    assert not any(early[: TRIAL_FRAMES - 1])
    # The first keyframe and the first picture after it are learned from; then the trial counts.
    assert all(early[TRIAL_FRAMES + 2 :])
    assert [unit.is_keyframe for unit in out] == [number % 20 == 0 for number in range(100)]


def test_the_arrival_is_that_of_the_last_payload() -> None:
    pieces = packetise(coded_pictures(60))
    _, out, _ = assemble(pieces)
    last = {piece.pts: number for number, piece in enumerate(pieces)}
    assert all(unit.pts is not None and unit.arrival.wall_90k == last[unit.pts] for unit in out)


def test_fragments_of_even_size_are_never_low_latency() -> None:
    pictures = coded_pictures(100)
    units, out, early = assemble(packetise(pictures, evenly=True))
    assert [unit.data for unit in out] == expected(pictures)[: len(out)]
    assert not units.counters.frames_incomplete
    assert len(out) >= 99
    assert not any(early)


def test_varying_numbers_of_slices_are_never_low_latency() -> None:
    pictures = [picture(number, [2000] * (1 + number % 3), key=number == 0) for number in range(100)]
    units, out, early = assemble(packetise(pictures))
    assert [unit.data for unit in out] == expected(pictures)[: len(out)]
    assert len(out) >= 99
    assert not any(early)
    assert not units.counters.frames_incomplete


def test_one_wrong_prediction_ends_the_predictions() -> None:
    pictures = [*coded_pictures(60), picture(60, [2000, 2000]), *(picture(number, [3000]) for number in range(61, 120))]
    units, out, early = assemble(packetise(pictures))
    assert units.counters.frames_incomplete == 1
    assert not units.is_low_latency
    assert early[59]
    assert not any(early[61:])
    assert [unit.data for unit in out][61:] == expected(pictures)[61 : len(out)]


def test_the_second_field_belongs_to_the_first() -> None:
    units = AccessUnitAssembler("h264", 1 / 90_000)
    field = START_CODE + b"\x41\x88"
    out = [
        unit
        for pts in (0, 0, 3600, 3600, 7200)
        for unit in units.push(field + noise(50, pts), pts, ArrivalTime(0, 0.0))
    ]
    assert [unit.data.count(START_CODE) for unit in out] == [2, 2]


@pytest.mark.parametrize(
    ("units", "is_keyframe"),
    [
        ([b"\x06\x06\x01\xc4\x80", b"\x41\x88x"], True),
        ([b"\x06\x05\x02\xaa\xbb\x06\x01\xc4\x80", b"\x41\x88x"], True),
        ([b"\x06\x05\x02\x06\x06\x80", b"\x41\x88x"], False),
        ([b"\x41\x88x"], False),
        ([b"\x65\x88x"], True),
    ],
)
def test_recovery_points_count_where_there_is_no_idr(units: list[bytes], is_keyframe: bool) -> None:
    _, out, _ = assemble(packetise([units, [b"\x41\x88y"]]))
    assert out[0].is_keyframe is is_keyframe


def test_hevc_pictures() -> None:
    units = AccessUnitAssembler("hevc", 1 / 90_000)
    irap = [b"\x40\x01v", b"\x42\x01s", b"\x44\x01p", b"\x26\x01\x80i", b"\x26\x01\x00j", b"\x50\x01sei"]
    trail = [b"\x02\x01\x80t"]
    pieces = [
        (START_CODE + unit, pts) for pts, picture_units in ((0, irap), (1, trail), (2, irap)) for unit in picture_units
    ]
    out = [unit for data, pts in pieces for unit in units.push(data, pts, ArrivalTime(0, 0.0))]
    assert [unit.data for unit in out] == expected([irap, trail])
    assert [unit.is_keyframe for unit in out] == [True, False]


PIECES = st.lists(st.tuples(st.booleans(), st.binary(max_size=40), st.none() | st.integers(0, 5)), max_size=60)


@given(PIECES, st.sampled_from(["h264", "hevc"]))
def test_any_payloads_can_be_pushed(pieces: list[tuple[bool, bytes, int | None]], codec: str) -> None:
    units = AccessUnitAssembler(codec, 0.04)
    pushed = b""
    for starts, data, pts in pieces:
        piece = START_CODE + data if starts else data
        pushed += piece
        for unit in units.push(piece, pts, ArrivalTime(0, 0.0)):
            assert unit.data in pushed or len(unit.data) < len(pushed)


@given(
    st.lists(st.lists(st.integers(0, 400), min_size=1, max_size=3), min_size=2, max_size=80),
    st.integers(20, 200),
    st.booleans(),
)
def test_nothing_is_lost_or_mixed(sizes: list[list[int]], room: int, evenly: bool) -> None:
    pictures = [picture(number, slices, key=number % 10 == 0) for number, slices in enumerate(sizes)]
    units, out, _ = assemble(packetise(pictures, room, evenly=evenly))
    if not units.counters.frames_incomplete:
        assert [unit.data for unit in out] == expected(pictures)[: len(out)]
        assert len(out) >= len(pictures) - 1
