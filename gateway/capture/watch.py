"""Watch: what bounds a C library that pulls a camera, since nothing can be asked of it while it waits.

Theory of operation. The engine's thread says what it got; the code that moves the library's bytes asks
:attr:`Watch.fault` before it moves more. Times are the machine's: a library waits in real time, whatever clock the
engine has.
"""

import time
from collections.abc import Callable

from gateway.errors import CaptureError, NoVideoError

BYTES_WITHOUT_PACKET_MAX = 48 * 1024 * 1024
"""What a library may take in without giving a packet out: three of the largest pictures. More, and it is collecting."""


class Watch:
    """See the module. Each attribute is written by one thread."""

    def __init__(
        self, timeout_s: float, where: str, timed_out: CaptureError, silent: Callable[[], CaptureError]
    ) -> None:
        """``timed_out`` is the error of an opening that takes longer than ``timeout_s``, ``silent`` makes that of a
        stream without a frame for as long. ``where`` is host and port."""
        self._timeout_s = timeout_s
        self._where = where
        self._silent = silent
        self._late: CaptureError = timed_out
        self._until = time.monotonic() + timeout_s
        self._packets = 0
        self.counted = 0
        """All bytes that the library was given."""
        self._bytes = 0
        self._bytes_at_packet = 0

    def opened(self) -> None:
        """The library has opened the camera."""
        self._late = self._silent()
        self.frame()

    def frame(self) -> None:
        """A frame of video came."""
        self._until = time.monotonic() + self._timeout_s

    def packet(self) -> None:
        """A packet of any kind came."""
        self._packets += 1

    def count(self, size: int) -> None:
        """Note bytes that the library is given."""
        if self._bytes_at_packet != self._packets:
            self._bytes_at_packet, self._bytes = self._packets, 0
        self._bytes += size
        self.counted += size

    @property
    def remaining_s(self) -> float:
        """Until the time is up, in seconds."""
        return self._until - time.monotonic()

    @property
    def fault(self) -> CaptureError | None:
        """Why the library gets no more bytes."""
        if self.remaining_s <= 0:
            return self._late
        if self._bytes > BYTES_WITHOUT_PACKET_MAX:
            return NoVideoError(
                f"the camera at {self._where} has sent {self._bytes >> 20} MiB without a packet; use the URL of"
                " another of its streams, or restart it"
            )
        return None
