"""H.265 access units as RTP payloads (RFC 7798), made once per camera and shared by all viewers.

Rules:

1. One stream in one transport (SRST), NAL units in decoding order and so without DONL: small NAL units are aggregated
   in AP, large ones fragmented in FU, others sent alone (RFC 7798 §4.4.1 to §4.4.3). Receivers distinguish the three
   by the NAL unit type.
2. VPS, SPS and PPS precede every picture that decoding may begin with (IRAP). If the camera sends them only out of
   band, they are inserted.
3. Access unit delimiters, filler data and end-of-stream NAL units are not sent: RTP has the marker bit instead. Nor are
   NAL units of reserved and unspecified types, which a receiver would take for aggregates and fragments, and those of
   other layers than the base layer, which players do not decode.
4. Fragments of one NAL unit have one size, except the last: the kernel can then segment a whole frame (GSO).
"""

from collections.abc import Iterator

from gateway.codec.annexb import nal_units
from gateway.codec.h265 import NAL

_AP = 48
_FU = 49
_HEADER_BYTES = 2
_SETS = frozenset({NAL.vps, NAL.sps, NAL.pps})
_SENT = frozenset({*NAL.slices, *_SETS, 39, 40})
"""Slices, parameter sets, SEI before and after the slices (H.265 table 7-1)."""


def access_unit(annex_b: bytes, parameter_sets: bytes = b"") -> list[bytes]:
    """The NAL units of one picture that are sent, with VPS, SPS and PPS before an IRAP picture.

    ``parameter_sets`` are those of the stream, in Annex B. Empty if there is no coded slice.
    """
    units = [unit for unit in nal_units(annex_b) if _is_sent(unit)]
    kinds = {_kind(unit) for unit in units}
    if kinds.isdisjoint(NAL.slices):
        return []
    if not kinds.isdisjoint(NAL.random_access) and not kinds >= _SETS:
        units = [
            *(unit for unit in nal_units(parameter_sets) if _is_sent(unit) and _kind(unit) in _SETS),
            *(unit for unit in units if _kind(unit) not in _SETS),
        ]
    return units


def payloads(units: list[bytes], max_bytes: int) -> list[bytes]:
    """RTP payloads of one access unit, each of ``max_bytes`` at most."""
    result: list[bytes] = []
    waiting: list[bytes] = []
    waiting_bytes = _HEADER_BYTES
    for unit in units:
        if waiting and waiting_bytes + 2 + len(unit) > max_bytes:
            result.append(_aggregate(waiting))
            waiting, waiting_bytes = [], _HEADER_BYTES
        if len(unit) > max_bytes:
            result.extend(_fragments(unit, max_bytes))
        else:
            waiting.append(unit)
            waiting_bytes += 2 + len(unit)
    if waiting:
        result.append(_aggregate(waiting))
    return result


def _kind(unit: bytes) -> int:
    return unit[0] >> 1 & 0x3F


def _is_sent(unit: bytes) -> bool:
    is_base_layer = len(unit) > _HEADER_BYTES and not (unit[0] & 1 or unit[1] & 0xF8)
    return is_base_layer and _kind(unit) in _SENT


def _aggregate(units: list[bytes]) -> bytes:
    if len(units) == 1:
        return units[0]
    # F is the OR of the units' F bits, TID their minimum (RFC 7798 §4.4.2). LayerId is 0: only that layer is sent.
    forbidden = max(unit[0] & 0x80 for unit in units)
    temporal = min(unit[1] & 0x07 for unit in units)
    parts = [bytes((forbidden | _AP << 1, temporal))]
    for unit in units:
        parts += (len(unit).to_bytes(2, "big"), unit)
    return b"".join(parts)


def _fragments(unit: bytes, max_bytes: int) -> Iterator[bytes]:
    header = bytes((unit[0] & 0x81 | _FU << 1, unit[1]))
    kind = _kind(unit)
    room = max_bytes - _HEADER_BYTES - 1
    last = len(unit) - room
    for at in range(_HEADER_BYTES, len(unit), room):
        start = 0x80 if at == _HEADER_BYTES else 0
        end = 0x40 if at >= last else 0
        yield header + bytes((start | end | kind,)) + unit[at : at + room]
