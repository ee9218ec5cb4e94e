"""RTP as it is received: headers, wraps, loss, order; and the reports about it."""

import struct
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rtsp import rtcp
from gateway.rtsp.rtp import (
    LATE_PACKETS,
    REORDER_MAX_PACKETS,
    REORDER_MAX_S,
    ReorderBuffer,
    SequenceCounter,
    TimestampUnwrapper,
    parse_header,
)


def packet(
    sequence: int, timestamp: int = 0, payload: bytes = b"payload", first: int = 0x80, second: int = 96
) -> bytes:
    return struct.pack("!BBHII", first, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 7) + payload


def test_header_extension_contributors_and_padding_are_no_payload() -> None:
    extension = b"\xbe\xde\x00\x01" + b"abcd"
    raw = packet(5, 9, b"", 0xB1, 0xE0) + b"CSRC" + extension + b"payload" + b"\x00\x00\x03"
    header = parse_header(raw)
    assert header is not None
    assert (header.payload_type, header.marker, header.sequence, header.timestamp) == (96, True, 5, 9)
    assert raw[header.start : header.end] == b"payload"


@given(st.binary(max_size=80))
def test_wild_packets_have_a_payload_inside_of_them_or_none(raw: bytes) -> None:
    header = parse_header(memoryview(raw))
    assert header is None or 12 <= header.start <= header.end <= len(raw)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(-(2**31) + 1, 2**31 - 1), max_size=30))
def test_timestamps_do_not_wrap(first: int, steps: list[int]) -> None:
    unwrapper = TimestampUnwrapper()
    assert unwrapper.unwrap(first) == first
    expected = first
    for step in steps:
        expected += step
        assert unwrapper.unwrap(expected % 2**32) == expected


def test_loss_is_counted_over_the_wrap() -> None:
    counter = SequenceCounter(90_000)
    assert [counter.count(number & 0xFFFF, 0, 0.0) for number in (65534, 65535, 0, 3, 4)] == [0, 0, 0, 2, 0]
    assert (counter.expected, counter.received, counter.lost) == (7, 5, 2)
    assert counter.extended_highest == 65536 + 4
    assert counter.take_fraction_lost() == 2 * 256 // 7
    assert counter.take_fraction_lost() == 0


def told(counter: SequenceCounter) -> tuple[object, ...]:
    """Everything that a counter tells, without what it forgets when it is asked."""
    return (
        *(counter.next, counter.received, counter.is_ahead, counter.jitter),
        *(counter.extended_highest, counter.expected, counter.lost),
    )


@given(st.integers(0, 65535), st.lists(st.tuples(st.integers(-2, 4), st.booleans()), max_size=60))
def test_a_packet_that_follows_counts_the_same_either_way(first: int, steps: list[tuple[int, bool]]) -> None:
    plain, quick = SequenceCounter(90_000), SequenceCounter(90_000)
    sequence, timestamp = first, 0
    for number, (step, is_new_picture) in enumerate([(0, True), *steps]):
        sequence, timestamp = (sequence + step) & 0xFFFF, timestamp + 3000 * is_new_picture
        now = number * 0.01
        plain.count(sequence, timestamp, now)
        if sequence == quick.next:
            quick.follow(timestamp, now)
        else:
            quick.count(sequence, timestamp, now)
        assert told(quick) == told(plain)


@pytest.mark.parametrize(("step", "missing"), [(0, 0), (3600, 0), (90_000, 1), (-1, 1)])
def test_a_sender_that_begins_anew_has_not_lost_thousands(step: int, missing: int) -> None:
    """And nothing at all where its clock goes on."""
    counter = SequenceCounter(90_000)
    counter.count(10, 7, 0.0)
    assert counter.count(30_000, 7 + step & 0xFFFF_FFFF, 0.0) == missing
    assert counter.lost == 0


@given(st.integers(0, 65535), st.randoms(use_true_random=False), st.integers(1, 100))
def test_what_was_swapped_within_reach_comes_in_order(first: int, random: Random, count: int) -> None:
    order = list(range(1, count))
    random.shuffle(order)
    buffer = ReorderBuffer()
    found = [
        item for number in (0, *order) for item in buffer.push((first + number) & 0xFFFF, bytes((number,)), now=0.0)
    ]
    assert found == [(bytes((number,)), 0) for number in range(count)]
    assert buffer.lost == buffer.late == 0


def test_a_packet_that_does_not_come_is_given_up_in_time() -> None:
    buffer = ReorderBuffer()
    assert list(buffer.push(1, b"1", 0.0)) == [(b"1", 0)]
    assert list(buffer.push(4, b"4", 0.1)) == []
    assert list(buffer.expire(0.1 + REORDER_MAX_S / 2)) == []
    assert list(buffer.expire(0.1 + REORDER_MAX_S)) == [(b"4", 2)]
    assert list(buffer.push(2, b"2", 0.5)) == []
    assert (buffer.lost, buffer.late) == (2, 1)


def test_what_waits_is_bounded() -> None:
    buffer = ReorderBuffer()
    list(buffer.push(0, b"", 0.0))
    found = [item for number in range(2, REORDER_MAX_PACKETS + 4) for item in buffer.push(number, b"", 0.0)]
    assert len(found) == REORDER_MAX_PACKETS + 2
    assert buffer.lost == 1
    assert found[0][1] == 1


def test_twice_the_same_packet_is_one() -> None:
    buffer = ReorderBuffer()
    found = [item for number in (1, 1, 3, 3, 2) for item in buffer.push(number, b"%d" % number, 0.0)]
    assert [data for data, _ in found] == [b"1", b"2", b"3"]
    assert buffer.late == 2


def test_a_sender_report_and_our_answer_to_it() -> None:
    sent = struct.pack("!BBHIIIIII", 0x80, 200, 6, 7, rtcp.NTP_TO_UNIX_S + 1000, 1 << 31, 90_000, 3, 4)
    goodbye = struct.pack("!BBHI", 0x81, 203, 1, 7)
    report, bye = rtcp.parse(sent + goodbye)
    assert isinstance(report, rtcp.SenderReport)
    assert (report.ssrc, report.ntp_s, report.timestamp) == (7, 1000.5, 90_000)
    assert bye == rtcp.Goodbye(7)
    counter = SequenceCounter(90_000)
    counter.count(1, 0, 0.0)
    counter.count(3, 0, 0.0)
    answer = rtcp.receiver_report(9, 7, counter, report, 0.5)
    kind, words, ssrc, source, lost, highest, _, last, delay = struct.unpack_from("!xBHIIIIIII", answer)
    assert (kind, words, ssrc, source, highest) == (201, 7, 9, 7, 3)
    assert lost == (85 << 24 | 1)
    assert (last, delay) == (report.ntp_middle, 32768)
    assert len(answer) % 4 == 0
    assert answer[32 + 1] == 202


@given(st.binary(max_size=200))
def test_wild_reports_raise_nothing(data: bytes) -> None:
    rtcp.parse(data)


def test_a_sequence_that_begins_anew_a_little_earlier_is_not_late_for_long() -> None:
    buffer = ReorderBuffer()
    numbers = [*range(1000, 1100), *range(1000, 1100)]
    found = [
        int.from_bytes(packet, "big")
        for each in numbers
        for packet, _ in buffer.push(each, each.to_bytes(2, "big"), 0.0)
    ]
    assert found == [*range(1000, 1100), *range(1000 + LATE_PACKETS - 1, 1100)]


@pytest.mark.parametrize("payload", [b"payload\x00", b"payload\x03", b"payload\xff", b"pay\x01\x02\x03"])
def test_the_padding_bit_without_padding(payload: bytes) -> None:
    header = parse_header(packet(5, 9, payload, 0xA0))
    assert header is not None
    assert packet(5, 9, payload, 0xA0)[header.start : header.end] == payload


@pytest.mark.parametrize("padding", [b"\x01", b"\x00\x02", b"\x04\x04\x04\x04", bytes(254) + b"\xff"])
def test_padding_of_zeros_or_of_its_number_is_no_payload(padding: bytes) -> None:
    raw = packet(5, 9, b"payload" + padding, 0xA0)
    header = parse_header(raw)
    assert header is not None
    assert raw[header.start : header.end] == b"payload"
