"""Writes at a place of a file, however little the system takes at once."""

import os
from collections.abc import Sequence

IOV_MAX = 1024
"""Pieces that one call may write (``sysconf(_SC_IOV_MAX)`` on Linux)."""


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of ``data``. Raises ``OSError``."""
    write_pieces(descriptor, [data], offset)


def write_pieces(descriptor: int, pieces: Sequence[bytes], offset: int) -> None:
    """Write pieces one after another, without joining them. Raises ``OSError``."""
    views = [memoryview(piece) for piece in pieces if piece]
    at = 0
    while at < len(views):
        written = os.pwritev(descriptor, views[at : at + IOV_MAX], offset)
        offset += written
        while at < len(views) and written >= len(views[at]):
            written -= len(views[at])
            at += 1
        if written:
            views[at] = views[at][written:]
