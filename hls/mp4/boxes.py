"""Find and write boxes of MP4 (ISO/IEC 14496-12 §4.2).

A size that is read is never trusted: a box that does not fit into the data ends the walk.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

BOX_HEADER = struct.Struct(">I4s")
"""Size and type, with which every box begins (§4.2)."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box. ``offset``, ``content`` (where its payload begins) and ``end`` are bytes from the start of the data."""

    kind: bytes
    offset: int
    content: int
    end: int


def parse_boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Yield the sibling boxes in ``data[start:end]``. Stop at the first one that does not fit."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = BOX_HEADER.unpack_from(data, start)
        content = start + 8
        if size == 1 and start + 16 <= end:
            size = int.from_bytes(data[start + 8 : start + 16], "big")
            content = start + 16
        if size < content - start or start + size > end:
            return
        yield Box(kind, start, content, start + size)
        start += size


def find_box(data: bytes, *path: bytes) -> Box | None:
    """The first box at a path of kinds, as ``find_box(init, b"moov", b"trak")``."""
    start, end = 0, len(data)
    found: Box | None = None
    for kind in path:
        found = next((box for box in parse_boxes(data, start, end) if box.kind == kind), None)
        if found is None:
            return None
        start, end = found.content, found.end
    return found


def box(kind: bytes, *contents: bytes) -> bytes:
    """A box with this content."""
    size = BOX_HEADER.size + sum(map(len, contents))
    return b"".join((BOX_HEADER.pack(size, kind), *contents))


def full_box(kind: bytes, *contents: bytes, version: int = 0, flags: int = 0) -> bytes:
    """A box with version and flags."""
    return box(kind, (version << 24 | flags).to_bytes(4, "big"), *contents)
