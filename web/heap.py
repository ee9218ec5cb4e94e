"""The C heap, which libav, OpenCV and Python's larger objects share, kept together.

Theory of operation. glibc gives threads that allocate at the same time an arena each, up to eight a core, and what is
free in one arena is of no use to the others. Each run of a camera is a thread of its own: where cameras come and go,
every arena grows to the most that any run ever took, for hours. With few arenas the free memory of one run serves the
next. Threads then wait for each other a little where they allocate at once, which Python's do seldom.

Where the C library is another (musl, macOS), there is nothing to set.
"""

import ctypes

ARENAS_MAX = 2
"""In a soak with a flapping camera, 16 arenas held 38 MB of holes, two 12 MB."""

M_ARENA_MAX = -8
"""Of glibc's malloc.h."""


def limit_arenas() -> bool:
    """Keep to ``ARENAS_MAX`` arenas, of which those that are there already stay. Returns whether that was possible."""
    try:
        return bool(ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS_MAX))
    except (OSError, AttributeError):
        return False
