"""Layouts, gso_batches and the shared history."""

import pytest
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensionsMap, RtpPacket, unpack_header_extensions
from hypothesis import given
from hypothesis import strategies as st

from gateway.webrtc.rtp.packets import (
    GSO_MAX_PACKETS,
    HISTORY_MIN_PACKETS,
    Frame,
    PacketHistory,
    header_extensions,
    packet_template,
    rtp_packet,
)
from gateway.webrtc.sdp.negotiation import TRANSPORT_CC
from tests.gateway.webrtc.wire import FRAME_90K, VIDEO, CapturingTransport, FrameSource, srtp


def frame_of(sizes: list[int]) -> Frame:
    payloads = [bytes([place % 256]) * size for place, size in enumerate(sizes)]
    return Frame(0, 0, payloads, 0, 0, True, sum(sizes))


def test_header_extensions_are_read_back_by_aiortc() -> None:
    block = header_extensions({4: b"video0", 11: bytes(3)})
    assert len(block) % 4 == 0
    assert int.from_bytes(block[2:4], "big") * 4 == len(block) - 4
    assert unpack_header_extensions(0xBEDE, block[4:]) == [(4, b"video0"), (11, bytes(3))]
    assert header_extensions({}) == b""


@pytest.mark.parametrize("identifier", [15, 16, 255])
def test_extensions_have_heads_of_two_bytes_where_an_id_needs_it(identifier: int) -> None:
    block = header_extensions({identifier: b"video0", 3: bytes(3)})
    assert len(block) % 4 == 0
    assert int.from_bytes(block[2:4], "big") * 4 == len(block) - 4
    assert block[:2] == b"\x10\x00"
    assert unpack_header_extensions(0x1000, block[4:]) == [(identifier, b"video0"), (3, bytes(3))]


@pytest.mark.parametrize("identifier", [3, 14, 15, 255])
def test_the_transport_wide_sequence_number_is_written_into_each_packet(identifier: int) -> None:
    block = header_extensions({identifier: bytes(2), 5: bytes(3)})
    template = packet_template(96, block, 16, has_transport_sequence=True)
    assert template.transport_fields is not None
    ids = HeaderExtensionsMap()
    ids.configure(RTCRtpParameters(headerExtensions=[RTCRtpHeaderExtensionParameters(identifier, TRANSPORT_CC)]))
    frame, wire, numbers = frame_of([1000, 1000, 7]), CapturingTransport(), (template.transport_fields, 65_535)
    (batch,) = frame.gso_batches(template)
    wire.send(srtp().protect_batch(batch, 1, 2, 3, numbers), batch.segment_bytes)
    sent = [RtpPacket.parse(bytes(packet), ids) for packet in wire.take_plain()]
    sent += [
        RtpPacket.parse(rtp_packet(template, b"again", 4, 2, 3, marker=False, transport_sequence=65_538), ids),
    ]
    assert [packet.extensions.transport_sequence_number for packet in sent] == [65_535, 0, 1, 2]
    assert [packet.payload for packet in sent] == [*frame.payloads, b"again"]
    assert [packet.sequence_number for packet in sent] == [1, 2, 3, 4]


def test_equal_values_give_the_same_template() -> None:
    assert packet_template(96, b"", 16) is VIDEO
    assert packet_template(96, b"", 10) is not VIDEO


@given(st.lists(st.integers(1, 1182), min_size=1, max_size=80))
def test_packets_of_a_batch_have_one_size_except_the_last(sizes: list[int]) -> None:
    gso_batches = frame_of(sizes).gso_batches(VIDEO)
    assert [batch.first for batch in gso_batches] == [
        sum(item.count for item in gso_batches[:n]) for n in range(len(gso_batches))
    ]
    assert sum(batch.count for batch in gso_batches) == len(sizes)
    for batch in gso_batches:
        within = sizes[batch.first : batch.first + batch.count]
        assert set(within[:-1]) <= {within[0]}
        assert within[-1] <= within[0]
        assert batch.count <= GSO_MAX_PACKETS
        assert batch.segment_bytes == within[0] + 12 + 16


@given(st.lists(st.integers(1, 1182), min_size=1, max_size=80), st.integers(0, 65_535), st.integers(0, 2**40))
def test_a_batch_is_valid_srtp_with_the_marker_at_the_end(sizes: list[int], sequence: int, timestamp: int) -> None:
    wire, sealed, frame = CapturingTransport(), srtp(), frame_of(sizes)
    for batch in frame.gso_batches(VIDEO):
        wire.send(sealed.protect_batch(batch, sequence + batch.first, timestamp, 0xCAFE), batch.segment_bytes)
    packets = wire.take()
    assert [packet.payload for packet in packets] == frame.payloads
    assert [packet.marker for packet in packets] == [*[0] * (len(sizes) - 1), 1]
    assert {packet.timestamp for packet in packets} == {timestamp & 0xFFFFFFFF}
    assert [packet.sequence_number for packet in packets] == [(sequence + n) & 0xFFFF for n in range(len(sizes))]
    assert {packet.ssrc for packet in packets} == {0xCAFE}


def test_header_extensions_are_on_every_packet() -> None:
    with_mid = packet_template(96, header_extensions({3: b"0"}), 16)
    packet = RtpPacket.parse(with_mid.header(marker=True) + b"payload", HeaderExtensionsMap())
    assert packet.payload == b"payload"
    assert packet.marker == 1


def test_the_history_keeps_the_whole_gop_however_long() -> None:
    source = FrameSource()
    source.add(key=True)
    source.add(count=2000)
    assert source.history.gop_start is not None
    assert source.history.gop_start.number == 0
    assert len(source.history) == 2001


def test_the_history_keeps_a_second_and_1024_packets_beyond_the_gop() -> None:
    source = FrameSource()
    for _ in range(200):
        source.add(key=True)
        source.add(count=29)
    assert source.history.end_index - source.history.start_index >= HISTORY_MIN_PACKETS
    assert source.history.end_index - source.history.start_index < HISTORY_MIN_PACKETS + 100
    small = FrameSource()
    small.add(key=True, size=100, count=1)
    for _ in range(60):
        small.add(key=True, size=100, count=30)
    assert len(small.history) >= HISTORY_MIN_PACKETS


def test_a_gop_beyond_the_bound_is_not_kept_for_new_viewers() -> None:
    source = FrameSource(PacketHistory(max_bytes=2_000_000))
    source.add(key=True)
    source.add(count=2000)
    assert source.history.gop_start is None
    assert source.history.size_bytes <= 4_000_000
    assert source.history.end_index - source.history.start_index >= HISTORY_MIN_PACKETS
    source.add(key=True)
    assert source.history.gop_start is not None


def test_a_packet_is_found_in_its_frame() -> None:
    source = FrameSource()
    source.add(key=True)
    last = source.add(count=10)
    for index in range(last.first_index, last.end_index):
        assert source.history.frame_of(index) is last
    assert source.history.frame_of(last.end_index) is None
    assert source.history.frame_of(-1) is None
    assert last.timestamp == 10 * FRAME_90K
