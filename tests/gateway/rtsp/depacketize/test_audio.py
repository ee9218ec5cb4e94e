"""Audio over RTP: AAC in its packings, G.711 and its like, with what cameras get wrong."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rtsp.depacketize import Depacketizer, Frame
from gateway.rtsp.depacketize.audio import (
    AacDepacketizer,
    G711Depacketizer,
    LatmDepacketizer,
    PacketAudioDepacketizer,
)

FRAMES = [bytes((number,)) * (50 + number) for number in range(4)]


def push(depacketizer: Depacketizer, data: bytes, time: int = 0, *, marker: bool = True, lost: int = 0) -> list[Frame]:
    return depacketizer.push(memoryview(data), time, marker=marker, lost=lost)


def hbr(*frames: bytes, sizes: list[int] | None = None) -> bytes:
    """AAC-hbr (RFC 3640 §3.3.6): 13 bits of size, 3 of index."""
    headers = b"".join(struct.pack("!H", size << 3) for size in sizes or [len(frame) for frame in frames])
    return struct.pack("!H", len(headers) * 8) + headers + b"".join(frames)


def adts(frame: bytes) -> bytes:
    size = len(frame) + 7
    return bytes((0xFF, 0xF1, 0x50, 0x80 | size >> 11, size >> 3 & 0xFF, (size & 7) << 5 | 0x1F, 0xFC)) + frame


def test_several_frames_of_a_packet_follow_each_other() -> None:
    frames = push(AacDepacketizer(ticks_per_frame=1024), hbr(*FRAMES), 500)
    assert [frame.data for frame in frames] == FRAMES
    assert [frame.timestamp for frame in frames] == [500, 1524, 2548, 3572]
    assert {frame.duration for frame in frames} == {1024}


def test_a_frame_over_several_packets() -> None:
    depacketizer = AacDepacketizer()
    frame = bytes(range(256)) * 4
    assert push(depacketizer, hbr(frame[:600], sizes=[1024]), marker=False) == []
    (found,) = push(depacketizer, hbr(frame[600:], sizes=[1024]))
    assert found.data == frame
    push(depacketizer, hbr(frame[:600], sizes=[1024]), 9, marker=False)
    assert push(depacketizer, hbr(frame[600:], sizes=[1024]), 9, lost=1) == []


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: hbr(data)])
def test_adts_inside_of_rtp_is_taken_off(wrap: object) -> None:
    (found,) = push(AacDepacketizer(), wrap(adts(FRAMES[1])))  # type: ignore[operator]
    assert found.data == FRAMES[1]


def test_several_adts_frames_in_one_packet() -> None:
    frames = push(AacDepacketizer(), b"".join(map(adts, FRAMES)))
    assert [frame.data for frame in frames] == FRAMES


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x00\x10", b"\xff\xff\x00", hbr(b"short", b"er", sizes=[8000, 2]), b"\x00\x00abc"]
)
def test_what_cannot_be_read_is_counted(data: bytes) -> None:
    depacketizer = AacDepacketizer()
    assert push(depacketizer, data) == []
    assert depacketizer.malformed == 1


def test_latm_in_one_packet_and_in_several() -> None:
    depacketizer = LatmDepacketizer()
    long = bytes(range(256)) * 2
    element = b"\xff\xff\x02" + long
    (whole,) = push(depacketizer, element)
    assert whole.data == long
    assert push(depacketizer, element[:100], marker=False) == []
    (joined,) = push(depacketizer, element[100:])
    assert joined.data == long
    assert push(depacketizer, element[:100], marker=False) == []
    assert push(depacketizer, element[100:], lost=1) == []
    assert push(depacketizer, element)[0].data == long


def test_samples_last_as_long_as_their_bytes_say() -> None:
    (frame,) = push(PacketAudioDepacketizer(1), b"\xd5" * 160, 7)
    assert (frame.timestamp, frame.duration) == (7, 160)
    assert push(PacketAudioDepacketizer(1), b"") == []


@given(st.lists(st.tuples(st.binary(max_size=80), st.booleans(), st.integers(0, 1)), max_size=20))
def test_wild_payloads_raise_nothing(items: list[tuple[bytes, bool, int]]) -> None:
    for depacketizer in (AacDepacketizer(), LatmDepacketizer(), PacketAudioDepacketizer(1)):
        for data, marker, lost in items:
            push(depacketizer, data, marker=marker, lost=lost)


@pytest.mark.parametrize("channels", [1, 2])
def test_g711_that_may_wait_is_joined_and_no_sample_is_lost(channels: int) -> None:
    depacketizer = G711Depacketizer(channels, 800)
    may_wait = True
    depacketizer.joins = lambda: may_wait
    payloads = [bytes((number,)) * 160 * channels for number in range(13)]
    found = [push(depacketizer, payload, 1000 + 160 * number) for number, payload in enumerate(payloads[:12])]
    assert [len(frames) for frames in found] == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0]
    may_wait = False
    found.append(push(depacketizer, payloads[12], 1000 + 160 * 12))
    frames = [frame for each in found for frame in each]
    assert b"".join(frame.data for frame in frames) == b"".join(payloads)
    assert [(frame.timestamp, frame.duration) for frame in frames] == [(1000, 800), (1800, 800), (2600, 480)]
    assert push(depacketizer, payloads[0], 9000) == [Frame(payloads[0], 9000, 160)]


@pytest.mark.parametrize(("at", "lost"), [(1160, 1), (1400, 0), (900, 0)])
def test_g711_is_not_joined_over_a_gap(at: int, lost: int) -> None:
    depacketizer = G711Depacketizer(1, 800)
    depacketizer.joins = lambda: True
    assert push(depacketizer, b"a" * 160, 1000) == []
    assert push(depacketizer, b"", 1160) == []
    assert push(depacketizer, b"b" * 160, at, lost=lost) == [Frame(b"a" * 160, 1000, 160)]
    assert push(depacketizer, b"c" * 640, at + 160) == [Frame(b"b" * 160 + b"c" * 640, at, 800, follows_loss=lost > 0)]
