"""One UDP port for all viewers: reading, sending whole frames with one system call, and answering from where it came.

Sending. With UDP_SEGMENT (Linux 4.18) the kernel cuts one buffer into datagrams of one size, the last of which may be
shorter: a tenth of the cost of a call a packet. Where kernel or route refuse, a datagram is sent at a time.

Answering. On a wildcard address a datagram's answer leaves from the address that it was sent to (IP_PKTINFO): a machine
with two addresses would else answer a check from the one that was not asked, and ICE would not have it.
"""

import asyncio
import errno
import logging
import socket
import struct

from gateway.webrtc.ice.agent import IceRegistry
from gateway.webrtc.transport import Address

log = logging.getLogger(__name__)

_SOL_UDP = socket.IPPROTO_UDP
_UDP_SEGMENT = 103
_IP_PKTINFO = 8
_SEGMENT = struct.Struct("=H")
_PKTINFO4 = struct.Struct("=i4s4s")
_PKTINFO6 = struct.Struct("=16si")

DATAGRAM_MAX_BYTES = 2048
"""More than any browser sends on a transport with an MTU of 1500; what is longer is cut, and dropped."""

READS_A_WAKEUP = 64
"""So that a flood cannot keep the loop from sending."""

BUFFER_BYTES = 4 * 1024 * 1024
"""What is asked of the kernel for each direction; it gives what net.core.[rw]mem_max allows."""

_FULL = frozenset({errno.EAGAIN, errno.ENOBUFS})
_NO_SEGMENTS = frozenset({errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.ENOPROTOOPT, errno.EOPNOTSUPP})

_SIZES_MAX = 64
"""Packet sizes whose ancillary data is remembered by a transport; nearly all bursts have the one full size."""

_Ancillary = list[tuple[int, int, bytes]]


class UdpTransport:
    """The way to one address."""

    protocol = "udp"
    is_full = False
    """The socket is everybody's; that it is full shows when sending."""

    def __init__(self, port: "UdpPort", remote: Address, source: _Ancillary) -> None:
        self.remote = remote
        self._port = port
        self._socket = port.socket
        self._source = source
        self._segments = port.segments
        self._ancillary: dict[int, _Ancillary] = {}

    def send(self, data: memoryview | bytes, segment_bytes: int) -> bool:
        """Send datagrams of ``segment_bytes`` each. What the network refuses is lost, as on any network."""
        if len(data) <= segment_bytes or not self._segments:
            return self._send_each(data, segment_bytes)
        ancillary = self._ancillary.get(segment_bytes)
        if ancillary is None:
            if len(self._ancillary) >= _SIZES_MAX:
                self._ancillary.clear()
            segment = (_SOL_UDP, _UDP_SEGMENT, _SEGMENT.pack(segment_bytes))
            ancillary = self._ancillary[segment_bytes] = [segment, *self._source]
        try:
            self._socket.sendmsg((data,), ancillary, 0, self.remote)
        except OSError as error:
            if error.errno in _FULL:
                self._port.full += 1
                return False
            if error.errno in _NO_SEGMENTS:
                self._segments = False
                self._port.note_no_segments(error)
                return self._send_each(data, segment_bytes)
            self._port.send_errors += 1
        return True

    def _send_each(self, data: memoryview | bytes, segment_bytes: int) -> bool:
        for at in range(0, len(data), segment_bytes):
            try:
                self._socket.sendmsg((data[at : at + segment_bytes],), self._source, 0, self.remote)
            except OSError as error:
                if error.errno not in _FULL:
                    self._port.send_errors += 1
                    continue
                self._port.full += 1
                # What has left cannot be taken back: the rest is lost, and asked for again.
                return at > 0
        return True

    def close(self) -> None:
        """There is nothing to close."""


class UdpPort:
    """One bound socket; see the module. Raises ``OSError`` where it cannot be bound."""

    def __init__(self, host: str, port: int, registry: IceRegistry) -> None:
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._registry = registry
        self.full = 0
        """Times that the kernel's send buffer was full."""
        self.send_errors = 0
        self._told_no_segments = False
        self.socket = socket.socket(self.family, socket.SOCK_DGRAM)
        try:
            self.socket.setblocking(False)
            if self.family == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                self.socket.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
            if host in ("0.0.0.0", "::"):  # noqa: S104  (a comparison)
                if self.family == socket.AF_INET6:
                    self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
                else:
                    self.socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            self.socket.bind((host, port))
        except OSError:
            self.socket.close()
            raise
        self.host = host
        self.port: int = self.socket.getsockname()[1]
        self.segments = self._has_segments()

    def start(self) -> None:
        """Begin to read."""
        asyncio.get_running_loop().add_reader(self.socket, self._readable)

    def close(self) -> None:
        """Twice is fine."""
        if self.socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.socket)
            self.socket.close()

    def note_no_segments(self, error: OSError) -> None:
        """Say once that datagrams go one at a time."""
        if not self._told_no_segments:
            self._told_no_segments = True
            log.warning("the kernel does not cut UDP datagrams here (%s): a call a packet, at more CPU", error)

    def _has_segments(self) -> bool:
        # A kernel that does not know the option would take the ancillary data for nothing, and send one huge datagram.
        try:
            self.socket.getsockopt(_SOL_UDP, _UDP_SEGMENT)
        except OSError as error:
            self.note_no_segments(error)
            return False
        return True

    def _readable(self) -> None:
        for _ in range(READS_A_WAKEUP):
            try:
                data, ancillary, flags, sender = self.socket.recvmsg(DATAGRAM_MAX_BYTES, 128)
            except BlockingIOError:
                return
            except OSError as error:
                log.debug("reading from the UDP port: %s", error)
                return
            if not data or flags & socket.MSG_TRUNC:
                self._registry.refused["malformed"] += 1
                continue
            try:
                self._datagram(data, (sender[0], sender[1]), ancillary)
            except Exception:
                # A datagram can come from anybody; none may end the reading of the others.
                self._registry.refused["error"] += 1
                log.exception("a datagram from %s could not be handled", sender[0], extra={"client": sender[0]})

    def _datagram(self, data: bytes, remote: Address, ancillary: list[tuple[int, int, bytes]]) -> None:
        if data[0] >= 4:
            self._registry.receive(data, remote)
            return

        def transport() -> UdpTransport:
            known = self._registry.transport_to(remote)
            if isinstance(known, UdpTransport) and known._port is self:
                return known
            return UdpTransport(self, remote, _source(ancillary))

        answer = self._registry.check(data, remote, transport)
        if answer is not None:
            UdpTransport(self, remote, _source(ancillary)).send(answer[0], len(answer[0]))


def _source(ancillary: list[tuple[int, int, bytes]]) -> _Ancillary:
    """What makes an answer leave from the address that the datagram was sent to."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            _, local, _ = _PKTINFO4.unpack_from(data)
            return [(level, kind, _PKTINFO4.pack(0, local, bytes(4)))]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            local, interface = _PKTINFO6.unpack_from(data)
            link_local = local[0] == 0xFE and local[1] & 0xC0 == 0x80
            return [(level, kind, _PKTINFO6.pack(local, interface if link_local else 0))]
    return []
