"""RTCP for a sender: writes reports, reads reports and feedback (RFC 3550 §6, 4585, 5104).

aiortc's classes parse all but what tells bandwidth (:mod:`gateway.webrtc.rtp.transport_cc`). For malformed packets, on
which they raise various errors, the result here is an empty list.
"""

import struct
from dataclasses import dataclass

from aiortc.rtp import (
    RTCP_PSFB,
    RTCP_RTPFB,
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPacket,
    RtcpReceiverInfo,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
)

from gateway.clock import CLOCK_RATE
from gateway.webrtc.rtp.transport_cc import (
    FEEDBACK_FORMAT,
    PACKETS_MAX,
    REMB_FORMAT,
    Remb,
    TransportFeedback,
    is_remb,
    parse_feedback,
    parse_remb,
)

NTP_EPOCH_S = 2_208_988_800
"""Seconds from 1900, the epoch of NTP, to 1970 (RFC 868)."""

_CNAME = 1


@dataclass(slots=True)
class RemoteInboundStats:
    """What a viewer last reported about one stream (RFC 3550 §6.4.1)."""

    fraction_lost: float = 0.0
    """Share of the packets since the previous report, 0 to 1."""
    packets_lost: int = 0
    """Since the start. A receiver subtracts late and duplicate packets (RFC 3550 §6.4.1); this is the maximum."""
    jitter_s: float = 0.0
    round_trip_s: float | None = None
    reports: int = 0

    def take(self, report: RtcpReceiverInfo, clock_rate: int, now_90k: int) -> None:
        """Take a report block that arrived at ``now_90k`` wall-clock ticks."""
        self.reports += 1
        self.fraction_lost = report.fraction_lost / 256
        self.packets_lost = max(self.packets_lost, report.packets_lost)
        self.jitter_s = report.jitter / clock_rate
        if report.lsr:
            elapsed = (ntp(now_90k) >> 16 & 0xFFFFFFFF) - report.lsr - report.dlsr
            round_trip_s = (elapsed & 0xFFFFFFFF) / 65_536
            # More than a minute: the clock was changed, or the report is wrong.
            self.round_trip_s = round_trip_s if round_trip_s < 60 else None


def ntp(wall_90k: int) -> int:
    """A wall-clock time as 64-bit NTP timestamp."""
    return (NTP_EPOCH_S << 32) + (wall_90k << 32) // CLOCK_RATE


def sender_report(ssrc: int, wall_90k: int, rtp_timestamp: int, packets: int, payload_bytes: int, cname: str) -> bytes:
    """A compound packet of sender report and CNAME: ``wall_90k`` and ``rtp_timestamp`` are the same moment."""
    report = RtcpSrPacket(
        ssrc=ssrc,
        sender_info=RtcpSenderInfo(
            ntp_timestamp=ntp(wall_90k),
            rtp_timestamp=rtp_timestamp & 0xFFFFFFFF,
            packet_count=packets & 0xFFFFFFFF,
            octet_count=payload_bytes & 0xFFFFFFFF,
        ),
    )
    source = RtcpSdesPacket(chunks=[RtcpSourceInfo(ssrc=ssrc, items=[(_CNAME, cname.encode())])])
    return bytes(report) + bytes(source)


def goodbye(ssrcs: list[int]) -> bytes:
    """A BYE for these streams."""
    return bytes(RtcpByePacket(sources=ssrcs))


def parse(data: bytes) -> list[AnyRtcpPacket | TransportFeedback | Remb]:
    """The packets of a compound packet; none if it is malformed. Never raises."""
    packets: list[AnyRtcpPacket | TransportFeedback | Remb] = []
    at = listed = 0
    try:
        while at < len(data):
            end = at + 4 + 4 * int.from_bytes(data[at + 2 : at + 4], "big")
            packet, at = data[at:end], end
            own = _bandwidth(packet)
            packets += RtcpPacket.parse(packet) if own is None else [own]
            if isinstance(own, TransportFeedback):
                listed += len(own.arrivals)
                if listed > PACKETS_MAX:
                    return []
    except (ValueError, struct.error, IndexError):
        return []
    return packets


def _bandwidth(packet: bytes) -> TransportFeedback | Remb | None:
    """One packet if it is transport-wide feedback or REMB. Raises ``ValueError`` if it is malformed."""
    if len(packet) < 12 or packet[0] >> 6 != 2 or len(packet) % 4:
        return None
    padding = packet[-1] if packet[0] & 0x20 else 0
    control = packet[12 : len(packet) - padding]
    if packet[1] == RTCP_RTPFB and packet[0] & 0x1F == FEEDBACK_FORMAT:
        return parse_feedback(control)
    if packet[1] == RTCP_PSFB and packet[0] & 0x1F == REMB_FORMAT and is_remb(control):
        return parse_remb(control)
    return None
