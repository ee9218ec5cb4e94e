"""H.264 access units as RTP payloads (RFC 6184), made once per camera and shared by all viewers.

Rules:

1. The packetization mode is non-interleaved: small NAL units are aggregated in STAP-A, large ones fragmented in FU-A,
   others sent alone (RFC 6184 §5.6, §5.7.1, §5.8). Receivers distinguish the three by the NAL unit type.
2. SPS and PPS precede every IDR picture. If the camera sends them only out of band, they are inserted.
3. Access unit delimiters, filler data and end-of-stream NAL units are not sent: RTP has the marker bit instead. NAL
   units of unspecified types are not sent either: a receiver would take them for aggregates and fragments (RFC 6184
   §5.2).
4. Fragments of one NAL unit have one size, except the last: the kernel can then segment a whole frame (GSO).
"""

from collections.abc import Iterator

from gateway.codec.annexb import nal_units

_IDR = 5
_SPS = 7
_PPS = 8
_STAP_A = 24
_FU_A = 28
_VCL = range(1, 6)
_NOT_SENT = frozenset({0, 9, 10, 11, 12, *range(24, 32)})
"""Access unit delimiter, end of sequence, end of stream, filler data, and unspecified types (H.264 table 7-1)."""


def access_unit(annex_b: bytes, parameter_sets: bytes = b"") -> list[bytes]:
    """The NAL units of one picture that are sent, with SPS and PPS before an IDR.

    ``parameter_sets`` are those of the stream, in Annex B. Empty if there is no coded slice.
    """
    units = [unit for unit in nal_units(annex_b) if unit[0] & 0x1F not in _NOT_SENT]
    kinds = {unit[0] & 0x1F for unit in units}
    if kinds.isdisjoint(_VCL):
        return []
    if _IDR in kinds and not {_SPS, _PPS} <= kinds:
        units = [
            *(unit for unit in nal_units(parameter_sets) if unit[0] & 0x1F in (_SPS, _PPS)),
            *(unit for unit in units if unit[0] & 0x1F not in (_SPS, _PPS)),
        ]
    return units


def payloads(units: list[bytes], max_bytes: int) -> list[bytes]:
    """RTP payloads of one access unit, each of ``max_bytes`` at most."""
    result: list[bytes] = []
    waiting: list[bytes] = []
    waiting_bytes = 1
    for unit in units:
        if waiting and waiting_bytes + 2 + len(unit) > max_bytes:
            result.append(_aggregate(waiting))
            waiting, waiting_bytes = [], 1
        if len(unit) > max_bytes:
            result.extend(_fragments(unit, max_bytes))
        else:
            waiting.append(unit)
            waiting_bytes += 2 + len(unit)
    if waiting:
        result.append(_aggregate(waiting))
    return result


def _aggregate(units: list[bytes]) -> bytes:
    if len(units) == 1:
        return units[0]
    # F is the OR of the units' F bits, NRI their maximum (RFC 6184 §5.7.1).
    forbidden = max(unit[0] & 0x80 for unit in units)
    importance = max(unit[0] & 0x60 for unit in units)
    parts = [bytes([forbidden | importance | _STAP_A])]
    for unit in units:
        parts += (len(unit).to_bytes(2, "big"), unit)
    return b"".join(parts)


def _fragments(unit: bytes, max_bytes: int) -> Iterator[bytes]:
    indicator = unit[0] & 0xE0 | _FU_A
    kind = unit[0] & 0x1F
    room = max_bytes - 2
    last = len(unit) - room
    for at in range(1, len(unit), room):
        start = 0x80 if at == 1 else 0
        end = 0x40 if at >= last else 0
        yield bytes((indicator, start | end | kind)) + unit[at : at + room]
