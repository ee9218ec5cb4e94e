"""Reports out, reports in."""

import pytest
from aiortc.rtp import RtcpByePacket, RtcpPacket, RtcpReceiverInfo, RtcpRrPacket, RtcpSdesPacket, RtcpSrPacket
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import CLOCK_RATE
from gateway.webrtc.rtp import rtcp

NOW_90K = 1_795_460_000 * CLOCK_RATE


def test_a_sender_report_is_read_back_by_aiortc() -> None:
    data = rtcp.sender_report(7, NOW_90K + CLOCK_RATE // 2, 1 << 33 | 5, 1 << 34 | 3, 9, "door")
    report, source = RtcpPacket.parse(data)
    assert isinstance(report, RtcpSrPacket)
    assert isinstance(source, RtcpSdesPacket)
    assert report.sender_info.ntp_timestamp >> 32 == 1_795_460_000 + 2_208_988_800
    assert report.sender_info.ntp_timestamp & 0xFFFFFFFF == 1 << 31
    assert (report.sender_info.rtp_timestamp, report.sender_info.packet_count) == (5, 3)
    assert source.chunks[0].items == [(1, b"door")]


def test_goodbye() -> None:
    (packet,) = RtcpPacket.parse(rtcp.goodbye([1, 2]))
    assert isinstance(packet, RtcpByePacket)
    assert packet.sources == [1, 2]


def block(lsr: int, dlsr: int) -> RtcpReceiverInfo:
    return RtcpReceiverInfo(7, fraction_lost=64, packets_lost=12, highest_sequence=99, jitter=900, lsr=lsr, dlsr=dlsr)


def test_a_receiver_report_becomes_loss_jitter_and_round_trip() -> None:
    reception = rtcp.RemoteInboundStats()
    sent = rtcp.ntp(NOW_90K) >> 16 & 0xFFFFFFFF
    reception.take(block(sent, 65_536 // 2), CLOCK_RATE, NOW_90K + CLOCK_RATE)
    assert reception.fraction_lost == 0.25
    assert reception.packets_lost == 12
    assert reception.jitter_s == pytest.approx(0.01)
    assert reception.round_trip_s == pytest.approx(0.5, abs=0.001)


def test_no_round_trip_without_a_sender_report_or_from_a_wrong_report() -> None:
    reception = rtcp.RemoteInboundStats()
    reception.take(block(0, 0), CLOCK_RATE, NOW_90K)
    assert reception.round_trip_s is None
    reception.take(block(rtcp.ntp(NOW_90K + 5 * CLOCK_RATE) >> 16 & 0xFFFFFFFF, 0), CLOCK_RATE, NOW_90K)
    assert reception.round_trip_s is None


@given(st.binary(max_size=200))
def test_random_bytes_give_no_packets_and_no_error(data: bytes) -> None:
    rtcp.parse(data)
    for kind in (200, 201, 202, 203, 205, 206):
        for count in (0, 1, 31):
            rtcp.parse(bytes((0x80 | count, kind)) + (len(data) // 4).to_bytes(2, "big") + data)


def test_a_compound_packet_is_parsed() -> None:
    data = bytes(RtcpRrPacket(ssrc=1, reports=[block(0, 0)])) + rtcp.goodbye([1])
    assert [type(item) for item in rtcp.parse(data)] == [RtcpRrPacket, RtcpByePacket]
    assert rtcp.parse(data[:-1]) == []
