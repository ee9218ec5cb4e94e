"""The C heap, which libav, OpenCV and Python's larger objects share, kept together and given back.

Theory of operation. glibc keeps what is freed, for whoever wants it next, and there its holes stay: in a soak with a
camera that comes and goes the heap grew for an hour, while what was in use in it did not. Two things are done about
that.

1. Few arenas. By default threads that allocate at the same time get one each, up to eight a core, and what is free in
   one is of no use to the others. Each run of a camera is a thread of its own, so that every arena grows to the most
   that any run ever took. With few, threads wait for each other a little where they allocate at once, which Python's
   do seldom.
2. Whole free pages go back to the system now and then (malloc_trim(3)). It takes a millisecond for 50 MB. A low
   M_MMAP_THRESHOLD would do as well, at the price of page faults with each picture: a tenth of all CPU in that soak.

Where the C library is another (musl, macOS), nothing of it is there, and nothing is done.
"""

import asyncio
import ctypes
from typing import Any

ARENAS_MAX = 2
"""Sixteen arenas had 38 MB of holes after 40 minutes, two 12 MB."""

M_ARENA_MAX = -8
"""Of glibc's malloc.h."""

TRIM_EVERY_S = 60.0


def limit_arenas() -> bool:
    """Keep to ``ARENAS_MAX`` arenas, of which those that are there already stay. Returns whether that was possible."""
    mallopt = _libc("mallopt")
    return mallopt is not None and bool(mallopt(M_ARENA_MAX, ARENAS_MAX))


async def keep_trimmed(every_s: float = TRIM_EVERY_S) -> None:
    """Give back what is free every ``every_s`` seconds, until cancelled; returns at once where that cannot be done."""
    trim = _libc("malloc_trim")
    while trim is not None:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(trim, ctypes.c_size_t(0))


def _libc(name: str) -> Any:
    """A function of the C library, or ``None``."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
