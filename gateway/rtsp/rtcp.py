"""RTCP as RTSP needs it: sender reports and goodbyes read, and reports and keyframe requests written.

RFC 3550 §6; RFC 4585 for Picture Loss Indication, RFC 5104 for Full Intra Request.
"""

from dataclasses import dataclass
from struct import Struct

from gateway.clock import CLOCK_RATE
from gateway.rtsp.rtp import SequenceCounter

_SENDER_REPORT, _RECEIVER_REPORT, _SOURCE_DESCRIPTION, _GOODBYE = 200, 201, 202, 203

_PAYLOAD_FEEDBACK = 206
_PICTURE_LOSS, _FULL_INTRA = 1, 4
"""FMT of payload-specific feedback (RFC 4585 §6.3.1, RFC 5104 §4.3.1)."""

_SENDER = Struct("!IIIIII")
_BLOCK = Struct("!IIIIII")
_PAIR = Struct("!II")

NTP_TO_UNIX_S = 2_208_988_800
"""Seconds from 1900 (NTP) to 1970 (Unix)."""

REPORT_INTERVAL_S = 5.0
"""How often a receiver report is due, in seconds (RFC 3550 §6.2). Some cameras end a session without them."""


def is_rtcp(second_byte: int) -> bool:
    """Whether a packet with this second byte is RTCP and not RTP, which avoids these values (RFC 5761 §4)."""
    return 192 <= second_byte <= 223


@dataclass(frozen=True, slots=True)
class SenderReport:
    """What a camera's clock said: ``ntp_s`` in seconds since 1970, for the moment of ``timestamp`` in RTP units.

    ``ntp_middle`` are the middle 32 bits of the NTP time, which a receiver report repeats (§6.4.1, LSR).
    """

    ssrc: int
    ntp_s: float
    ntp_middle: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The source ``ssrc`` has ended (§6.6)."""

    ssrc: int


def parse(data: memoryview | bytes) -> list[SenderReport | Goodbye]:
    """The reports of a compound packet; what cannot be read ends the list."""
    found: list[SenderReport | Goodbye] = []
    place = 0
    while len(data) - place >= 8 and data[place] >> 6 == 2:
        kind = data[place + 1]
        after = place + 4 + 4 * (data[place + 2] << 8 | data[place + 3])
        if after > len(data):
            break
        if kind == _SENDER_REPORT and after - place >= 28:
            ssrc, seconds, fraction, timestamp, _, _ = _SENDER.unpack_from(data, place + 4)
            middle = (seconds & 0xFFFF) << 16 | fraction >> 16
            found.append(SenderReport(ssrc, seconds - NTP_TO_UNIX_S + fraction / 2**32, middle, timestamp))
        elif kind == _GOODBYE:
            count = min(data[place] & 0x1F, (after - place - 4) // 4)
            for number in range(count):
                at = place + 4 + 4 * number
                found.append(Goodbye(int.from_bytes(data[at : at + 4], "big")))
        place = after
    return found


def receiver_report(
    ssrc: int, source_ssrc: int, counter: SequenceCounter, last: SenderReport | None, since_last_s: float
) -> bytes:
    """A receiver report with a CNAME (§6.4.2, §6.5.1). ``since_last_s`` is the time since the report ``last`` came."""
    lost = max(-0x800000, min(0x7FFFFF, counter.lost)) & 0xFFFFFF
    delay = round(min(since_last_s, 65535.0) * 65536) if last is not None else 0
    block = _BLOCK.pack(
        source_ssrc,
        counter.take_fraction_lost() << 24 | lost,
        counter.extended_highest & 0xFFFFFFFF,
        min(0xFFFFFFFF, round(counter.jitter)),
        last.ntp_middle if last is not None else 0,
        delay,
    )
    report = bytes((0x81, _RECEIVER_REPORT, 0, 7)) + ssrc.to_bytes(4, "big") + block
    return report + _source_description(ssrc)


def sender_report(ssrc: int, wall_90k: int, timestamp: int, packets: int, payload_bytes: int) -> bytes:
    """A sender report with a CNAME (§6.4.1). ``wall_90k`` and ``timestamp`` are the same moment."""
    seconds, ticks = divmod(wall_90k, CLOCK_RATE)
    fraction = (ticks << 32) // CLOCK_RATE
    fields = (seconds + NTP_TO_UNIX_S, fraction, timestamp, packets, payload_bytes)
    body = _SENDER.pack(ssrc, *(field & 0xFFFFFFFF for field in fields))
    return bytes((0x80, _SENDER_REPORT, 0, 6)) + body + _source_description(ssrc)


def _source_description(ssrc: int) -> bytes:
    name = b"\x01\x08liveedge\x00"
    items = name + bytes(-len(name) % 4)
    return bytes((0x81, _SOURCE_DESCRIPTION, 0, 1 + len(items) // 4)) + ssrc.to_bytes(4, "big") + items


def empty_report(ssrc: int) -> bytes:
    """A receiver report without a source, and a CNAME: what a compound packet begins with (RFC 4585 §3.1)."""
    return bytes((0x80, _RECEIVER_REPORT, 0, 1)) + ssrc.to_bytes(4, "big") + _source_description(ssrc)


def picture_loss(ssrc: int, source_ssrc: int) -> bytes:
    """A Picture Loss Indication (RFC 4585 §6.3.1). A receiver report goes before it."""
    return bytes((0x80 | _PICTURE_LOSS, _PAYLOAD_FEEDBACK, 0, 2)) + _PAIR.pack(ssrc, source_ssrc)


def keyframe_request(ssrc: int, source_ssrc: int, number: int) -> bytes:
    """The request for a keyframe, in both forms, as cameras know one or the other. A receiver report goes before it.

    ``number`` tells a new request from one that is repeated (RFC 5104 §4.3.1.1).
    """
    loss = picture_loss(ssrc, source_ssrc)
    entry = _PAIR.pack(source_ssrc, (number & 0xFF) << 24)
    intra = bytes((0x80 | _FULL_INTRA, _PAYLOAD_FEEDBACK, 0, 4)) + _PAIR.pack(ssrc, 0) + entry
    return loss + intra
