"""UdpStream: MPEG-TS that somebody sends to this host over UDP, plain or in RTP, as a file that libav reads.

Rules:

1. ``udp://`` and ``rtp://`` name where to listen: an address of this host, ``0.0.0.0`` for all, or a multicast group,
   with ``?interface=ADDRESS`` on the network that has it.
2. The first sender is the camera: datagrams of other addresses are dropped and counted, until the run ends.
3. RTP is put into order (:class:`~gateway.rtsp.rtp.ReorderBuffer`); only payload type 33 (MP2T, RFC 3551 §6) is taken.
4. Each read ends by the :class:`~gateway.capture.watch.Watch`.
"""

import ipaddress
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

from gateway.capture.counters import CaptureCounters
from gateway.capture.resolver import POLL_S
from gateway.capture.rtsp_udp import DATAGRAM_MAX_BYTES, RECEIVE_BUFFER_BYTES
from gateway.capture.url import CameraUrl
from gateway.capture.watch import Watch
from gateway.errors import CameraUnreachableError, CaptureError
from gateway.rtsp.rtp import ReorderBuffer, parse_header

SCHEMES = frozenset({"udp", "rtp"})

_MP2T = 33

_EXAMPLE = "write an address of this host or a multicast group, and a port, as in udp://0.0.0.0:5000"


class UdpStream:
    """See the module."""

    def __init__(self, url: CameraUrl, watch: Watch, stop: threading.Event, counters: CaptureCounters) -> None:
        """Listen. Raises a :class:`~gateway.errors.CaptureError`."""
        self._watch = watch
        self._stop = stop
        self._counters = counters
        self._reorder = ReorderBuffer() if url.scheme == "rtp" else None
        self._sender: str | None = None
        self._ready: deque[bytes] = deque()
        self._socket = _listen(url)

    def read(self, size: int) -> bytes:
        """The next bytes, at most ``size``; none after an interrupt. Raises :attr:`Watch.fault`."""
        while not self._ready:
            if self._stop.is_set():
                return b""
            fault = self._watch.fault
            if fault is not None:
                raise fault
            self._receive()
        data = self._ready.popleft()
        if len(data) > size:
            self._ready.appendleft(data[size:])
        self._watch.count(min(size, len(data)))
        return data[:size]

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def _receive(self) -> None:
        """Take the next datagram, if one comes soon."""
        if not select.select([self._socket], [], [], POLL_S)[0]:
            if self._reorder is not None:
                self._take(self._reorder.expire(time.monotonic()))
            return
        datagram, address = self._socket.recvfrom(DATAGRAM_MAX_BYTES)
        if self._sender is None:
            self._sender = address[0]
        elif address[0] != self._sender:
            self._counters.udp_datagrams_refused += 1
            return
        if self._reorder is None:
            if datagram:
                self._ready.append(datagram)
            return
        header = parse_header(datagram)
        if header is None or header.payload_type != _MP2T:
            self._counters.rtp_packets_invalid += 1
            return
        self._take(self._reorder.push(header.sequence, datagram, time.monotonic()))

    def _take(self, ordered: Iterator[tuple[bytes, int]]) -> None:
        assert self._reorder is not None
        for packet, _ in ordered:
            header = parse_header(packet)
            assert header is not None
            if header.end > header.start:
                self._ready.append(packet[header.start : header.end])
        self._counters.rtp_packets_lost = self._reorder.lost


def _listen(url: CameraUrl) -> socket.socket:
    if url.port is None:
        raise CaptureError(f"the URL names no port; {_EXAMPLE}")
    try:
        address = ipaddress.ip_address(url.host)
        named = parse_qs(urlsplit(str(url)).query).get("interface")
        interface = ipaddress.ip_address(named[0]) if named else None
    except ValueError:
        raise CaptureError(f"the URL's host or interface is no address; {_EXAMPLE}") from None
    is_v6 = address.version == 6
    sock = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        if address.is_multicast:
            # Several programs on one host may receive a group.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(address), url.port))
        if address.is_multicast and is_v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, address.packed + bytes(4))
        elif address.is_multicast:
            sock.setsockopt(
                socket.IPPROTO_IP,
                socket.IP_ADD_MEMBERSHIP,
                address.packed + (bytes(4) if interface is None else interface.packed),
            )
    except OSError as error:
        sock.close()
        raise CameraUnreachableError(
            f"UDP port {url.port} of {url.host} cannot be listened to ({error.strerror}); {_EXAMPLE}"
        ) from None
    return sock
