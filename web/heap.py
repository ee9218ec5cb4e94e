"""The C heap, which libav, OpenCV and larger Python objects share: keep it compact, and return free memory.

Importing this module changes nothing; the command line calls it.

Theory of operation. glibc keeps freed memory for later allocations, and fragments of it stay unused. In a soak test
with a camera that reconnected all the time, the heap grew for an hour although the memory in use did not. Two measures:

1. Few arenas. By default, threads that allocate at the same time get an arena each, up to eight for each core, and the
   free memory of one arena cannot be used by the others. Each run of a camera has a thread of its own, so every arena
   grows to the largest size that any run needed. With few arenas, threads wait for each other a little when they
   allocate at the same time, which Python's threads seldom do.
2. malloc_trim(3) returns free pages to the system now and then. It takes a millisecond for 50 MB. A low
   M_MMAP_THRESHOLD would have the same effect, but cause page faults with each picture: a tenth of all CPU in that
   test.

With another C library (musl, macOS) nothing is done.
"""

import asyncio
import ctypes
from typing import Any

ARENAS_MAX = 2
"""Sixteen arenas had 38 MB of unused fragments after 40 minutes, two had 12 MB."""

M_ARENA_MAX = -8
"""From glibc's malloc.h."""

TRIM_INTERVAL_S = 60.0


def limit_arenas() -> bool:
    """Create no more than ``ARENAS_MAX`` arenas. Existing ones stay. Returns whether the C library can do that."""
    mallopt = _libc("mallopt")
    return mallopt is not None and bool(mallopt(M_ARENA_MAX, ARENAS_MAX))


async def keep_trimmed(interval_s: float = TRIM_INTERVAL_S) -> None:
    """Return free pages every ``interval_s`` seconds until cancelled. Returns at once if the C library cannot do it."""
    trim = _libc("malloc_trim")
    while trim is not None:
        await asyncio.sleep(interval_s)
        await asyncio.to_thread(trim, ctypes.c_size_t(0))


def _libc(name: str) -> Any:
    """A function of the C library; ``None`` if it has no such function."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
