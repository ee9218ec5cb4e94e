"""WS-Discovery over UDP: the question to every interface, or to single hosts, and the answers.

Rules:

1. The question goes out of every interface of the host, twice, since UDP loses some (WS-Discovery §3.1.3). Over IPv6
   it goes out from each address but link-local ones: a camera answers from an address of the same scope (RFC 6724 §5),
   and no connection is made to link-local ones (:mod:`web.address_policy`).
2. The answers are bounded: in time, :data:`DEVICES_MAX` devices, and one device for each sender's address and port.
"""

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import Iterator, Sequence

import ifaddr

from gateway.capture.engine import Address
from gateway.errors import LiveedgeError
from gateway.onvif.discovery import MULTICAST_V4, MULTICAST_V6, PORT, FoundDevice, parse_matches, probes
from web.checked_resolver import CheckAddress, check_host

Destination = tuple[str, int] | tuple[str, int, int, int]

DEVICES_MAX = 512

ANSWERS_MAX = 4096
"""Datagrams that are read in one search."""

REPEAT_S = 0.25

PACE = 64
"""Questions to single hosts that are sent at once."""

PACE_S = 0.01

TTL = 1
"""Of multicast: cameras are on the same network."""


class _Listener(asyncio.DatagramProtocol):
    def __init__(self, check: CheckAddress | None) -> None:
        self.devices: dict[str, FoundDevice] = {}
        self._check = check
        self._answers = 0

    def datagram_received(self, data: bytes, addr: tuple[str, int] | tuple[str, int, int, int]) -> None:
        self._answers += 1
        if self._answers > ANSWERS_MAX or len(self.devices) >= DEVICES_MAX:
            return
        try:
            check_host(addr[0], self._check)
            for device in parse_matches(data, addr[0]):
                self.devices.setdefault(device.onvif_url or addr[0], device)
        except LiveedgeError:
            return  # anybody can send anything here

    def error_received(self, exc: Exception) -> None:
        """A host that has no such port says so; others may answer."""


async def multicast_search(seconds: float, check: CheckAddress | None) -> list[FoundDevice]:
    """The devices that answer within ``seconds``, on all interfaces."""
    loop = asyncio.get_running_loop()
    listener = _Listener(check)
    transports: list[tuple[asyncio.DatagramTransport, Destination]] = []
    try:
        for sock, destination in _sockets():
            transport, _ = await loop.create_datagram_endpoint(lambda: listener, sock=sock)
            transports.append((transport, destination))
        for wait_s in (REPEAT_S, max(seconds - REPEAT_S, 0.0)):
            for transport, destination in transports:
                for question in probes():
                    with contextlib.suppress(OSError):
                        transport.sendto(question, destination)
            await asyncio.sleep(wait_s)
    finally:
        for transport, _ in transports:
            transport.close()
    return list(listener.devices.values())


async def unicast_search(addresses: Sequence[Address], seconds: float, check: CheckAddress | None) -> list[FoundDevice]:
    """The devices at these addresses that answer the same question: for networks that filter multicast."""
    loop = asyncio.get_running_loop()
    listener = _Listener(check)
    transports: dict[int, asyncio.DatagramTransport] = {}
    try:
        for version, anywhere in ((4, "0.0.0.0"), (6, "::")):  # noqa: S104
            with contextlib.suppress(OSError):  # a machine without it
                transport, _ = await loop.create_datagram_endpoint(lambda: listener, local_addr=(anywhere, 0))
                transports[version] = transport
        for number, address in enumerate(addresses, start=1):
            if address.version in transports:
                transports[address.version].sendto(probes()[0], (str(address), PORT))
            if number % PACE == 0:
                await asyncio.sleep(PACE_S)
        await asyncio.sleep(seconds)
    finally:
        for transport in transports.values():
            transport.close()
    return list(listener.devices.values())


def _sockets() -> Iterator[tuple[socket.socket, Destination]]:
    """A socket for each interface with IPv4 and for each address of IPv6, and where it asks."""
    for index, _name in socket.if_nameindex():
        with contextlib.suppress(OSError):  # an interface without IPv4
            yield _socket_v4(index), (MULTICAST_V4, PORT)
    for adapter in ifaddr.get_adapters():
        for each in adapter.ips:
            if isinstance(each.ip, tuple) and not ipaddress.IPv6Address(each.ip[0]).is_link_local:
                index = adapter.index or 0
                with contextlib.suppress(OSError):  # an address that is not ready yet
                    yield _socket_v6(each.ip[0], index), (MULTICAST_V6, PORT, 0, index)


def _socket_v6(address: str, interface: int) -> socket.socket:
    """A socket whose multicast goes out of one interface, from one address. Raises ``OSError``."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, TTL)
        sock.bind((address, 0))
    except OSError:
        sock.close()
        raise
    return sock


def _socket_v4(interface: int) -> socket.socket:
    """A socket whose multicast goes out of one interface. Raises ``OSError``."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        # struct ip_mreqn: group, local address, index of the interface.
        sock.setsockopt(
            socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("4s4si", b"\0" * 4, b"\0" * 4, interface)
        )
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, TTL)
        sock.bind(("", 0))
    except OSError:
        sock.close()
        raise
    return sock
