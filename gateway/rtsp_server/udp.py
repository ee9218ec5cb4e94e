"""RTP and RTCP over UDP: a pair of ports for all readers on one address of this machine.

Rules:

1. What comes in is never more than a sign of life: a receiver report of an address that is a reader's (RFC 2326 §A.2
   has the timer). Everything else is ignored.
2. A burst is spread: at most :data:`BURST_BYTES` of a reader are sent in each :data:`TICK_S`. A socket that takes
   nothing at the moment loses packets, as any network may; they are counted.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable

from gateway.rtsp.session import Delivery, UdpPorts
from gateway.rtsp_server.stream import RtpFrame

BURST_BYTES = 64 * 1024
TICK_S = 0.005
"""With the burst 100 Mbit/s, which a keyframe of 4K does not exceed for long."""

SEND_BUFFER_BYTES = 1024 * 1024

TRIES = 64
"""For an even port whose successor is free, too (RFC 3550 §11)."""

Address = tuple[str, int]


class UdpPair:
    """The two ports of an address. ``on_report`` is called with the address of each RTCP packet that comes in."""

    def __init__(self, host: str, on_report: Callable[[Address], None]) -> None:
        self._on_report = on_report
        self._rtp, self._rtcp = _pair(host)
        self.ports: tuple[int, int] = self._rtp.getsockname()[1], self._rtcp.getsockname()[1]
        self.packets_dropped = 0
        loop = asyncio.get_running_loop()
        for each in (self._rtp, self._rtcp):
            each.setblocking(False)
            loop.add_reader(each, self._on_readable, each)

    def close(self) -> None:
        """Close both."""
        loop = asyncio.get_running_loop()
        for each in (self._rtp, self._rtcp):
            loop.remove_reader(each)
            each.close()

    def send(self, packet: bytes, to: Address) -> None:
        """Send RTP."""
        self._send(self._rtp, packet, to)

    def send_report(self, packet: bytes, to: Address) -> None:
        """Send RTCP."""
        self._send(self._rtcp, packet, to)

    def _send(self, port: socket.socket, packet: bytes, to: Address) -> None:
        try:
            port.sendto(packet, to)
        except OSError:
            # A full buffer, or the ICMP answer of a client that is gone: its connection says so, too.
            self.packets_dropped += 1

    def _on_readable(self, port: socket.socket) -> None:
        for _ in range(16):
            try:
                _, address = port.recvfrom(2048)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue
            if port is self._rtcp:
                self._on_report((address[0], address[1]))


class UdpOutlet:
    """What one reader is sent over UDP; see rule 2. ``on_room`` is called when there is room again."""

    def __init__(self, pair: UdpPair, host: str, on_room: Callable[[], None]) -> None:
        self._pair = pair
        self._host = host
        self._on_room = on_room
        self._room_bytes = BURST_BYTES
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_full(self) -> bool:
        return self._room_bytes <= 0

    def send(self, delivery: Delivery, frame: RtpFrame) -> None:
        """Send all packets of a frame."""
        assert isinstance(delivery, UdpPorts)
        to = (self._host, delivery.rtp)
        for packet in frame.packets:
            self._pair.send(packet, to)
        self._room_bytes -= frame.size_bytes
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_S, self._refill)

    def send_report(self, delivery: Delivery, report: bytes) -> None:
        """Send an RTCP packet."""
        assert isinstance(delivery, UdpPorts)
        self._pair.send_report(report, (self._host, delivery.rtcp))

    def close(self) -> None:
        """Send nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refill(self) -> None:
        self._timer = None
        self._room_bytes = min(BURST_BYTES, self._room_bytes + BURST_BYTES)
        if self._room_bytes < BURST_BYTES:
            self._timer = asyncio.get_running_loop().call_later(TICK_S, self._refill)
        if not self.is_full:
            self._on_room()


def _pair(host: str) -> tuple[socket.socket, socket.socket]:
    """An even port and the next one. Raises ``OSError``."""
    family = socket.AF_INET6 if ipaddress.ip_address(host.partition("%")[0]).version == 6 else socket.AF_INET
    for _ in range(TRIES):
        with contextlib.ExitStack() as opened:
            rtp, rtcp = (opened.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for _ in range(2))
            rtp.bind((host, 0))
            port = rtp.getsockname()[1]
            if port % 2:
                continue
            try:
                rtcp.bind((host, port + 1))
            except OSError:
                continue
            rtp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            opened.pop_all()
            return rtp, rtcp
    raise OSError(f"no two free UDP ports in a row on {host}")
