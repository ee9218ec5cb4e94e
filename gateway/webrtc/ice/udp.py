"""One UDP port for all viewers.

Sending. With UDP_SEGMENT (GSO, Linux 4.18) the kernel splits one buffer into datagrams of one size; the last one may be
shorter. It costs a tenth of one system call per packet. If the kernel or the route refuses it, datagrams are sent one
at a time.

Source address. On a wildcard address, the answer to a datagram is sent from the address that the datagram was sent to
(IP_PKTINFO). Otherwise a machine with two addresses could answer an ICE check from the other one, which ICE rejects.
"""

import asyncio
import errno
import logging
import socket
import struct

from gateway.webrtc.ice.registry import IceRegistry, is_binding_response
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
"""A limit, so that a flood of datagrams cannot keep the event loop from sending."""

BUFFER_BYTES = 4 * 1024 * 1024
"""Requested for each direction; the kernel grants up to net.core.[rw]mem_max."""

_FULL = frozenset({errno.EAGAIN, errno.ENOBUFS})
_NO_SEGMENTS = frozenset({errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.ENOPROTOOPT, errno.EOPNOTSUPP})

_SIZES_MAX = 64
"""Packet sizes whose ancillary data a transport caches; nearly all batches have the full packet size."""

_Ancillary = list[tuple[int, int, bytes]]


class UdpTransport:
    """Sends to one address."""

    protocol = "udp"
    is_full = False
    """All viewers share the socket; only sending shows that it is full."""

    def __init__(self, port: "UdpPort", remote: Address, source: _Ancillary) -> None:
        self.remote = remote
        self._port = port
        self._socket = port.socket
        self._source = source
        self._segments = port.segments
        self._ancillary: dict[int, _Ancillary] = {}

    def send(self, data: memoryview | bytes, segment_bytes: int) -> bool:
        """Send datagrams of ``segment_bytes`` each. If the network refuses them, they are lost."""
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
                # Part of it is sent already: the rest counts as lost, and the viewer requests it again.
                return at > 0
        return True

    def close(self) -> None:
        """There is nothing to close."""


class UdpPort:
    """One bound socket; see the module. Raises ``OSError`` if it cannot be bound."""

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
        """Begin to receive."""
        asyncio.get_running_loop().add_reader(self.socket, self._readable)

    def close(self) -> None:
        """Close the socket. May be called twice."""
        if self.socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.socket)
            self.socket.close()

    def note_no_segments(self, error: OSError) -> None:
        """Log once that datagrams are sent one at a time."""
        if not self._told_no_segments:
            self._told_no_segments = True
            log.warning("the kernel refuses UDP segmentation (%s): one system call per packet, with more CPU", error)

    def _has_segments(self) -> bool:
        # A kernel without the option would ignore the ancillary data, and send one huge datagram.
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
                # Anyone can send a datagram; none may stop the receiving of others.
                self._registry.refused["error"] += 1
                log.exception("a datagram from %s could not be handled", sender[0], extra={"client": sender[0]})

    def _datagram(self, data: bytes, remote: Address, ancillary: list[tuple[int, int, bytes]]) -> None:
        if data[0] >= 4:
            self._registry.receive(data, remote)
            return

        if is_binding_response(data):
            self._registry.receive_answer(data, remote)
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
    """Ancillary data that sends an answer from the address that the datagram was sent to."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            _, local, _ = _PKTINFO4.unpack_from(data)
            return [(level, kind, _PKTINFO4.pack(0, local, bytes(4)))]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            local, interface = _PKTINFO6.unpack_from(data)
            link_local = local[0] == 0xFE and local[1] & 0xC0 == 0x80
            return [(level, kind, _PKTINFO6.pack(local, interface if link_local else 0))]
    return []
