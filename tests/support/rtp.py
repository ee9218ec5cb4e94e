"""RTP payloads of H.264 and H.265 (RFC 6184, RFC 7798), made from NAL units; every header is the test's to choose."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MTU = 1200
"""Bytes of a payload at most."""


@dataclass(frozen=True)
class Payload:
    """One RTP packet's content."""

    data: bytes
    timestamp: int
    marker: bool = False


def payloads(unit: bytes, timestamp: int, *, marker: bool = False, hevc: bool = False, mtu: int = MTU) -> list[Payload]:
    """A NAL unit as one packet or as fragments; ``marker`` is for the last."""
    if len(unit) <= mtu:
        return [Payload(unit, timestamp, marker)]
    header_bytes = 2 if hevc else 1
    body = unit[header_bytes:]
    room = mtu - header_bytes - 1
    parts = [body[place : place + room] for place in range(0, len(body), room)]
    found = []
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        flags = (0x80 if number == 0 else 0) | (0x40 if is_last else 0)
        if hevc:
            header = bytes((unit[0] & 0x81 | 49 << 1, unit[1], flags | unit[0] >> 1 & 0x3F))
        else:
            header = bytes((unit[0] & 0xE0 | 28, flags | unit[0] & 0x1F))
        found.append(Payload(header + part, timestamp, marker and is_last))
    return found


def aggregate(units: list[bytes], timestamp: int, *, marker: bool = False, hevc: bool = False) -> Payload:
    """Several NAL units in one packet: STAP-A, or H.265's aggregation packet."""
    header = b"\x60\x01" if hevc else b"\x78"
    return Payload(header + b"".join(struct.pack("!H", len(unit)) + unit for unit in units), timestamp, marker)


def rtp_packets(found: list[Payload], first: int = 0, ssrc: int = 7, payload_type: int = 96) -> Iterator[bytes]:
    """The payloads as RTP packets with sequence numbers from ``first`` on."""
    for number, payload in enumerate(found):
        second = payload_type | (0x80 if payload.marker else 0)
        sequence, timestamp = (first + number) & 0xFFFF, payload.timestamp & 0xFFFFFFFF
        yield struct.pack("!BBHII", 0x80, second, sequence, timestamp, ssrc) + payload.data
