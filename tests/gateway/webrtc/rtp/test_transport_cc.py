"""Transport-wide feedback and REMB, as receivers write them."""

import pytest
from aiortc.rtp import RtcpByePacket, RtcpPsfbPacket, pack_remb_fci
from hypothesis import given
from hypothesis import strategies as st

from gateway.webrtc.rtp import rtcp
from gateway.webrtc.rtp.transport_cc import PACKETS_MAX, Remb, TransportFeedback, parse_feedback, parse_remb
from tests.support.transport_cc import write_feedback

RUN_OF_LOST = bytes.fromhex("000120000000010a") + bytes.fromhex("1fff") * 2
"""8192 packets, none of which arrived, in 12 bytes."""


def feedback(data: bytes) -> TransportFeedback:
    (packet,) = rtcp.parse(data)
    assert isinstance(packet, TransportFeedback)
    return packet


@given(
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFF),
    st.integers(0, 255),
    st.lists(st.none() | st.integers(-8191, 8191), min_size=1, max_size=80),
    st.sampled_from(["runs", "vectors", "mixed"]),
)
def test_whatever_a_receiver_writes_is_read(
    base: int, reference: int, number: int, steps: list[int | None], chunks: str
) -> None:
    time, arrivals = 0, []
    for step in steps:
        time += step or 0
        arrivals.append(None if step is None else time)
    read = feedback(write_feedback(base, reference, number, arrivals, chunks=chunks))
    assert read == TransportFeedback(base, reference, number, arrivals)


def test_the_example_of_a_one_bit_vector_and_a_run() -> None:
    # A vector of fourteen: 0 1 1 0 …; then a run of three with small deltas (§3.1.3, §3.1.4).
    control = bytes.fromhex("fffe 0011 000002 05 9800 2003 01 ff 02 03 04".replace(" ", ""))
    read = parse_feedback(control)
    assert (read.base_sequence, read.reference, read.number) == (0xFFFE, 2, 5)
    assert read.arrivals == [None, 1, 256, *[None] * 11, 258, 261, 265]


def test_symbols_of_the_last_chunk_beyond_the_count_are_not_read() -> None:
    assert parse_feedback(bytes.fromhex("0001 0002 000000 00 3fff 05 06".replace(" ", ""))).arrivals == [5, 11]


@pytest.mark.parametrize(
    "control",
    [
        "",
        "00010001000000",
        "0001000000000000 2001 05",
        "0001000100000000",
        "0001000100000000 20",
        "0001000100000000 2000 05",
        "0001000200000000 2002 05",
        "0001000100000000 4001 05",
        "0001000100000000 6001 0505",
        "0001ffff00000000 1fff 1fff 1fff 1fff 1fff 1fff 1fff 1fff 1fff",
    ],
)
def test_a_malformed_message_is_an_error(control: str) -> None:
    with pytest.raises(ValueError, match="transport-wide feedback"):
        parse_feedback(bytes.fromhex(control.replace(" ", "")))


def test_few_bytes_cannot_list_many_packets() -> None:
    one = b"\x8f\xcd" + (2 + len(RUN_OF_LOST) // 4).to_bytes(2, "big") + bytes(8) + RUN_OF_LOST
    assert len(feedback(one).arrivals) == PACKETS_MAX
    assert rtcp.parse(one + one) == []


def test_feedback_does_not_hide_its_neighbours() -> None:
    # Its padding is what aiortc takes for an error of the whole datagram.
    data = write_feedback(1, 2, 3, [4]) + rtcp.goodbye([5])
    first, second = rtcp.parse(data)
    assert isinstance(first, TransportFeedback)
    assert isinstance(second, RtcpByePacket)
    assert rtcp.parse(data[:-1]) == []


@given(st.binary(min_size=8, max_size=300))
def test_random_feedback_is_read_or_refused(control: bytes) -> None:
    try:
        read = parse_feedback(control)
    except ValueError:
        return
    assert 0 < len(read.arrivals) == int.from_bytes(control[2:4], "big")


@given(st.integers(0, 1 << 40))
def test_remb_is_read_to_18_bits_of_precision(bits_per_s: int) -> None:
    (read,) = rtcp.parse(bytes(RtcpPsfbPacket(fmt=15, ssrc=1, media_ssrc=0, fci=pack_remb_fci(bits_per_s, [1, 2]))))
    assert isinstance(read, Remb)
    assert bits_per_s - (bits_per_s >> 17) - 1 <= read.bits_per_s <= bits_per_s


def test_another_application_layer_message_is_left_to_aiortc() -> None:
    (read,) = rtcp.parse(bytes(RtcpPsfbPacket(fmt=15, ssrc=1, media_ssrc=0, fci=b"ABCD")))
    assert isinstance(read, RtcpPsfbPacket)
    with pytest.raises(ValueError, match="REMB"):
        parse_remb(b"REMB\x02\0\0\0")
    assert parse_remb(b"REMB\0\xff\xff\xff").bits_per_s < 1 << 63
