"""Reads what receivers tell about bandwidth: transport-wide feedback and REMB.

Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01) lists for a range of transport-wide
sequence numbers which packets have arrived, and when. REMB (draft-alvestrand-rmcat-remb-03) is the receiver's own
estimate. aiortc reads neither.

Both functions raise ``ValueError`` for a malformed message, and nothing else.
"""

from dataclasses import dataclass
from functools import lru_cache

FEEDBACK_FORMAT = 15
"""FMT of a transport layer feedback message (RFC 4585 §6.2; IANA: transport-cc)."""

REMB_FORMAT = 15
"""FMT of a payload-specific feedback message: application layer (RFC 4585 §6.4)."""

TICKS_PER_S = 4000
"""Receive deltas are multiples of 250 us."""

REFERENCE_TICKS = 256
"""The reference time is in multiples of 64 ms."""

PACKETS_MAX = 8192
"""Of one datagram: a second of 80 Mbit/s. Few bytes can list many packets, and reading them must not take long."""

_SMALL, _LARGE, _RESERVED = 1, 2, 3


@dataclass(slots=True, frozen=True)
class TransportFeedback:
    """One message. A packet's arrival is in ticks of 250 us since the reference time; ``None``: it has not arrived."""

    base_sequence: int
    """The transport-wide sequence number of the first packet, 16 bits."""
    reference: int
    """Reference time in 64 ms, 24 bits, of the receiver's clock."""
    number: int
    """Counts the messages, 8 bits."""
    arrivals: list[int | None]


@dataclass(slots=True, frozen=True)
class Remb:
    """The receiver's estimate of the bandwidth for all of its streams together."""

    bits_per_s: int


def parse_feedback(control: bytes) -> TransportFeedback:
    """Read the feedback control information: the message after its two SSRCs, without RTCP padding."""
    if len(control) < 8:
        raise ValueError("transport-wide feedback is too short")
    count = int.from_bytes(control[2:4], "big")
    if not 0 < count <= PACKETS_MAX:
        raise ValueError("transport-wide feedback has no packets, or too many")
    symbols: list[int] = []
    at = 8
    while len(symbols) < count:
        if at + 2 > len(control):
            raise ValueError("transport-wide feedback ends within its packet chunks")
        chunk = control[at] << 8 | control[at + 1]
        at += 2
        if chunk & 0x8000:
            symbols += _vector(chunk)
        else:
            symbols += [chunk >> 13] * min(chunk & 0x1FFF, count - len(symbols))
            if not chunk & 0x1FFF:
                raise ValueError("transport-wide feedback has an empty run")
    del symbols[count:]
    return TransportFeedback(
        base_sequence=control[0] << 8 | control[1],
        reference=int.from_bytes(control[4:7], "big"),
        number=control[7],
        arrivals=_arrivals(symbols, control, at),
    )


def _arrivals(symbols: list[int], control: bytes, at: int) -> list[int | None]:
    size = len(control)
    time = 0
    arrivals: list[int | None] = []
    for symbol in symbols:
        if symbol == _SMALL:
            if at >= size:
                raise ValueError("transport-wide feedback ends within its deltas")
            time += control[at]
            at += 1
            arrivals.append(time)
        elif not symbol:
            arrivals.append(None)
        elif symbol == _LARGE:
            if at + 2 > size:
                raise ValueError("transport-wide feedback ends within its deltas")
            delta = control[at] << 8 | control[at + 1]
            time += delta - 0x10000 if delta & 0x8000 else delta
            at += 2
            arrivals.append(time)
        else:
            raise ValueError("transport-wide feedback has a reserved status")
    return arrivals


@lru_cache(maxsize=4096)
def _vector(chunk: int) -> tuple[int, ...]:
    """The symbols of a status vector chunk (§3.1.4): fourteen of one bit, or seven of two."""
    if chunk & 0x4000:
        return tuple(chunk >> shift & 3 for shift in range(12, -1, -2))
    return tuple(chunk >> shift & 1 for shift in range(13, -1, -1))


def is_remb(control: bytes) -> bool:
    """Whether an application layer message is REMB."""
    return control[:4] == b"REMB"


def parse_remb(control: bytes) -> Remb:
    """Read the feedback control information: ``REMB``, the number of SSRCs, and the bitrate."""
    if len(control) < 8 or not is_remb(control) or len(control) < 8 + 4 * control[4]:
        raise ValueError("REMB is too short")
    exponent = control[5] >> 2
    mantissa = (control[5] & 3) << 16 | control[6] << 8 | control[7]
    # Nothing that is real needs more than 64 bits; 18 bits shifted by 63 would.
    return Remb(min(mantissa << exponent, (1 << 63) - 1))
