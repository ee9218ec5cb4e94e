"""Has it arrived? What TCP knows of a connection whose other side does not say so itself.

A write that returns says only that the kernel took the bytes, and it takes megabytes: on a slow line that is minutes of
old pictures. Linux tells how many bytes of a socket's the other side has not acknowledged yet (``SIOCOUTQ``, tcp(7));
while there are more than a few, the next frame waits, and the newest goes when it goes. A proxy in between answers for
itself, and a receiver that reads slowly still has its own socket's buffer full of pictures: an acknowledgement by the
application, where there is one, is worth more.
"""

import asyncio
import contextlib
import fcntl
import struct
import termios
from typing import Protocol

LEFT_MAX_BYTES = 4096
"""The receiver may hold back its last acknowledgement for 40 ms; so much of a frame does not count."""

POLL_FIRST_S = 0.002
POLL_MAX_S = 0.05
"""A frame on a local network has arrived after one poll; on a slow line 50 ms are little of what it takes."""


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


def unacknowledged_bytes(socket: _HasFileno | None) -> int:
    """Bytes of a TCP socket that the other side has not acknowledged; 0 where that cannot be known."""
    if socket is None or socket.fileno() < 0:
        return 0
    with contextlib.suppress(OSError):
        # TIOCOUTQ is SIOCOUTQ by another name (linux/sockios.h).
        count: int = struct.unpack("i", fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
        return count
    return 0


async def delivered(socket: _HasFileno | None) -> None:
    """Return when (nearly) all that the kernel took has been acknowledged, or the socket is closed."""
    pause_s = POLL_FIRST_S
    while unacknowledged_bytes(socket) > LEFT_MAX_BYTES:
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, POLL_MAX_S)
