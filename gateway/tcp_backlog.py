"""Waits until a TCP peer has acknowledged what was sent, so that slow clients get the newest frame and not a backlog.

A finished write means only that the kernel took the bytes. It takes megabytes, which on a slow line are minutes of old
frames. Linux reports how many bytes of a socket the peer has not acknowledged (``SIOCOUTQ``, tcp(7)). While there are
more than a few, the next frame waits, and the newest one is sent then. A proxy acknowledges for its client, and a slow
client has its own socket's buffer full of frames: where an application acknowledges frames itself, use that instead.
"""

import asyncio
import contextlib
import fcntl
import struct
import termios
from socket import IPPROTO_TCP, TCP_INFO
from typing import Protocol

LEFT_MAX_BYTES = 4096
"""The peer may delay its last acknowledgement by 40 ms, so that this much of a frame is ignored."""

POLL_FIRST_S = 0.002
POLL_MAX_S = 0.05
"""A frame on a local network has arrived after one poll. On a slow line 50 ms are short for a frame."""


class _Socket(Protocol):
    def fileno(self) -> int: ...
    def getsockopt(self, level: int, option: int, length: int, /) -> bytes: ...


_BYTES_ACKED = struct.Struct("=120xQ")
"""``tcpi_bytes_acked`` in ``struct tcp_info`` (linux/tcp.h, since Linux 4.1)."""


def unacknowledged_bytes(socket: _Socket | None) -> int:
    """Bytes of a TCP socket that the peer has not acknowledged; 0 where that is unknown."""
    if socket is None or socket.fileno() < 0:
        return 0
    with contextlib.suppress(OSError):
        # TIOCOUTQ is SIOCOUTQ by another name (linux/sockios.h).
        count: int = struct.unpack("i", fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
        return count
    return 0


def acknowledged_bytes(socket: _Socket | None) -> int:
    """Bytes of a TCP socket that the peer has acknowledged since the connection began; 0 where that is unknown."""
    if socket is None or socket.fileno() < 0:
        return 0
    with contextlib.suppress(OSError, struct.error):
        info = socket.getsockopt(IPPROTO_TCP, TCP_INFO, _BYTES_ACKED.size)
        count: int = _BYTES_ACKED.unpack(info)[0]
        return count
    return 0


async def delivered(socket: _Socket | None, left_max_bytes: int = LEFT_MAX_BYTES) -> None:
    """Return when all that the kernel has taken by now is acknowledged but ``left_max_bytes``, or it is closed."""
    until = acknowledged_bytes(socket) + unacknowledged_bytes(socket) - left_max_bytes
    pause_s = POLL_FIRST_S
    while unacknowledged_bytes(socket) > left_max_bytes and acknowledged_bytes(socket) < until:
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, POLL_MAX_S)
