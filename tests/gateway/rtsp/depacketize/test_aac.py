"""AAC as mpeg4-generic, with what cameras get wrong about its headers."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rtsp.depacketize import Depacketizer, Frame
from gateway.rtsp.depacketize.aac import AacDepacketizer

FRAMES = [bytes((number,)) * (50 + number) for number in range(4)]


def push(depacketizer: Depacketizer, data: bytes, time: int = 0, *, marker: bool = True, lost: int = 0) -> list[Frame]:
    return depacketizer.push(memoryview(data), time, marker=marker, lost=lost)


def hbr(*frames: bytes, sizes: list[int] | None = None, in_bytes: bool = False) -> bytes:
    """AAC-hbr (RFC 3640 §3.3.6): 13 bits of size, 3 of index."""
    headers = b"".join(struct.pack("!H", size << 3) for size in sizes or [len(frame) for frame in frames])
    return struct.pack("!H", len(headers) * (1 if in_bytes else 8)) + headers + b"".join(frames)


def adts(frame: bytes) -> bytes:
    size = len(frame) + 7
    return bytes((0xFF, 0xF1, 0x50, 0x80 | size >> 11, size >> 3 & 0xFF, (size & 7) << 5 | 0x1F, 0xFC)) + frame


@pytest.mark.parametrize("in_bytes", [False, True], ids=["length-in-bits", "length-in-bytes"])
def test_several_frames_of_a_packet_follow_each_other(in_bytes: bool) -> None:
    frames = push(AacDepacketizer(ticks_per_frame=1024), hbr(*FRAMES, in_bytes=in_bytes), 500)
    assert [frame.data for frame in frames] == FRAMES
    assert [frame.timestamp for frame in frames] == [500, 1524, 2548, 3572]
    assert {frame.duration for frame in frames} == {1024}


@pytest.mark.parametrize("in_bytes", [False, True], ids=["length-in-bits", "length-in-bytes"])
def test_a_frame_over_several_packets(in_bytes: bool) -> None:
    depacketizer = AacDepacketizer()
    frame = bytes(range(256)) * 4
    first, second = (hbr(part, sizes=[1024], in_bytes=in_bytes) for part in (frame[:600], frame[600:]))
    assert push(depacketizer, first, marker=False) == []
    (found,) = push(depacketizer, second)
    assert found.data == frame
    push(depacketizer, first, 9, marker=False)
    assert push(depacketizer, second, 9, lost=1) == []
    assert [each.data for each in push(depacketizer, hbr(FRAMES[0]), 18)] == [FRAMES[0]]


def test_frames_without_headers_where_none_are_declared() -> None:
    depacketizer = AacDepacketizer(has_headers=False)
    frame = b"\x01\x18" + bytes(range(200))
    assert [each.data for each in push(depacketizer, frame)] == [frame]
    assert push(depacketizer, frame[:100], 1024, marker=False) == []
    assert [each.data for each in push(depacketizer, frame[100:], 1024)] == [frame]


def test_frames_without_headers_and_without_markers() -> None:
    depacketizer = AacDepacketizer(has_headers=False)
    found = [
        push(depacketizer, b"\x01\x18" + frame, 1024 * number, marker=False) for number, frame in enumerate(FRAMES)
    ]
    assert [[each.data for each in frames] for frames in found] == [[b"\x01\x18" + frame] for frame in FRAMES]


def test_headers_that_are_declared_and_never_sent_are_given_up() -> None:
    depacketizer = AacDepacketizer()
    found = [push(depacketizer, b"\x01\x18" + frame, 1024 * number) for number, frame in enumerate(FRAMES)]
    assert [[each.data for each in frames] for frames in found] == [[], [], [], [b"\x01\x18" + FRAMES[3]]]
    assert depacketizer.malformed == 3


def test_headers_that_were_seen_are_not_given_up() -> None:
    depacketizer = AacDepacketizer()
    push(depacketizer, hbr(FRAMES[0]))
    assert [push(depacketizer, b"\x01\x18" + frame) for frame in FRAMES] == [[]] * 4
    assert [each.data for each in push(depacketizer, hbr(FRAMES[1]))] == [FRAMES[1]]


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: hbr(data)])
def test_adts_inside_of_rtp_is_taken_off_and_says_what_the_sound_is(wrap: object) -> None:
    depacketizer = AacDepacketizer(ticks_per_frame=1024, clock_rate=88_200)
    (found,) = push(depacketizer, wrap(adts(FRAMES[1])))  # type: ignore[operator]
    assert found.data == FRAMES[1]
    # AAC-LC, 44.1 kHz, two channels.
    assert found.config == b"\x12\x10"
    assert found.duration == 2048


def test_several_adts_frames_in_one_packet() -> None:
    frames = push(AacDepacketizer(), b"".join(map(adts, FRAMES)))
    assert [frame.data for frame in frames] == FRAMES


@pytest.mark.parametrize(
    "data", [b"\x00", b"\x00\x10", b"\xff\xff\x00", hbr(b"short", b"er", sizes=[8000, 2]), b"\x00\x00abc"]
)
def test_what_cannot_be_read_is_counted(data: bytes) -> None:
    depacketizer = AacDepacketizer()
    assert push(depacketizer, data) == []
    assert depacketizer.malformed == 1


def test_an_empty_packet_is_nothing() -> None:
    depacketizer = AacDepacketizer()
    assert push(depacketizer, b"") == []
    assert depacketizer.malformed == 0


@given(st.booleans(), st.lists(st.tuples(st.binary(max_size=80), st.booleans(), st.integers(0, 1)), max_size=20))
def test_wild_payloads_raise_nothing(has_headers: bool, items: list[tuple[bytes, bool, int]]) -> None:
    depacketizer = AacDepacketizer(has_headers=has_headers, clock_rate=16_000)
    for number, (data, marker, lost) in enumerate(items):
        push(depacketizer, data, 1024 * number, marker=marker, lost=lost)
