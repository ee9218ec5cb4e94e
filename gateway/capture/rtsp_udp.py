"""The two UDP ports of one RTP track, an even one for RTP and the next for RTCP (RFC 3550 §11)."""

import asyncio
import contextlib
import socket
from collections.abc import Callable

RECEIVE_BUFFER_BYTES = 2 * 1024 * 1024
"""Room for two keyframes of 4K: with the system's default, packets are lost at the first."""

TRIES = 64
"""Pairs of ports to try: other programs may have one of a pair."""

DATAGRAM_MAX_BYTES = 65_536


class UdpPair:
    """See the module. Datagrams of other addresses than ``peer``, and the one that it names, are dropped and counted.

    Their ports do not matter: cameras send from others than they say, and change them.
    """

    def __init__(self, rtp: socket.socket, rtcp: socket.socket, peer: str) -> None:
        self.ports: tuple[int, int] = (rtp.getsockname()[1], rtcp.getsockname()[1])
        self.refused = 0
        """Datagrams of other addresses."""
        self._sockets = (rtp, rtcp)
        self._peer = peer
        self._sources = {peer}
        self._buffer = bytearray(DATAGRAM_MAX_BYTES)
        self._loop = asyncio.get_running_loop()

    def start(self, take: Callable[[memoryview], None], source: str | None = None) -> None:
        """Call this with each datagram; a view is valid during the call. ``source`` is what the peer says of the
        address that it sends from (RFC 2326 §12.39)."""
        if source is not None:
            self._sources.add(source.strip("[]"))
        for sock in self._sockets:
            self._loop.add_reader(sock, self._read, sock, take)

    def send_control(self, data: bytes, port: int) -> None:
        """Send RTCP to the peer; what the kernel does not take is dropped, as UDP may."""
        with contextlib.suppress(OSError):
            self._sockets[1].sendto(data, (self._peer, port))

    def send_media(self, data: bytes, port: int) -> None:
        """Send RTP to the peer; what the kernel does not take is dropped, as UDP may."""
        with contextlib.suppress(OSError):
            self._sockets[0].sendto(data, (self._peer, port))

    def open_path(self, ports: tuple[int, int]) -> None:
        """Send an empty packet to both ports of the peer, so that a NAT in between lets its packets in."""
        for sock, port in zip(self._sockets, ports, strict=True):
            with contextlib.suppress(OSError):
                sock.sendto(b"\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", (self._peer, port))

    def close(self) -> None:
        """Close both sockets."""
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            sock.close()

    def _read(self, sock: socket.socket, callback: Callable[[memoryview], None]) -> None:
        # As many as have come: one wake-up serves a whole picture.
        for _ in range(256):
            try:
                size, address = sock.recvfrom_into(self._buffer)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # An ICMP error for what we sent: the peer's silence is noticed elsewhere.
                return
            if address[0].partition("%")[0] not in self._sources:
                self.refused += 1
                continue
            callback(memoryview(self._buffer)[:size])


def open_pair(local: str, peer: str) -> UdpPair:
    """A pair of ports on the local address. Raises ``OSError`` where there is none."""
    family = socket.AF_INET6 if ":" in local else socket.AF_INET
    for _ in range(TRIES):
        rtp = _bound(family, local, 0)
        port = rtp.getsockname()[1]
        if port % 2 == 0:
            with contextlib.suppress(OSError):
                return UdpPair(rtp, _bound(family, local, port + 1), peer)
        rtp.close()
    raise OSError(f"no two UDP ports in a row are free on {local}")


def _bound(family: socket.AddressFamily, local: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.bind((local, port))
    except OSError:
        sock.close()
        raise
    return sock
