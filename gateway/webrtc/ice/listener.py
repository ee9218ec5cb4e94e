"""IceListener: the one UDP and TCP port of all viewers, on every address, and its ICE candidates.

An address in a candidate is one of this machine's, or one of ``hosts``: addresses and names at which clients reach the
port, for example behind NAT. Names are resolved at the start, and again with :meth:`IceListener.resolve_hosts`.
"""

import asyncio
import errno
import ipaddress
import logging
import socket
from collections.abc import Mapping, Sequence

from gateway.errors import SettingsError
from gateway.webrtc.compat import candidate_foundation, get_host_addresses
from gateway.webrtc.ice.registry import IceRegistry
from gateway.webrtc.ice.tcp import TcpPort
from gateway.webrtc.ice.udp import UdpPort

log = logging.getLogger(__name__)

BIND_ATTEMPTS = 8
"""How many free UDP ports are tried for one that is free for TCP too."""

_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104
_NO_SUCH_FAMILY = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
"""The machine has no IPv6."""


class IceListener:
    """See the module. ``udp_port`` 0 takes a free port; the attribute has its number after :meth:`start`."""

    def __init__(self, udp_port: int, listen: Sequence[str], hosts: Sequence[str], registry: IceRegistry) -> None:
        self.udp_port = udp_port
        self.hosts = tuple(hosts)
        self._listen = tuple(listen)
        self._registry = registry
        self._udp_ports: list[UdpPort] = []
        self._tcp = TcpPort(registry)
        self._resolved: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether the port is bound."""
        return bool(self._udp_ports)

    @property
    def sends_failed(self) -> Mapping[str, int]:
        """UDP sends that the kernel refused: its buffer was ``full``, or another ``error``. Never decreases."""
        return {
            "full": sum(port.full for port in self._udp_ports),
            "error": sum(port.send_errors for port in self._udp_ports),
        }

    @property
    def accept_failures(self) -> int:
        """How often a TCP connection could not be accepted for want of descriptors."""
        return self._tcp.accept_failures

    async def start(self) -> None:
        """Bind the port, UDP and TCP, on every address. Raises :class:`~gateway.errors.SettingsError`."""
        wanted = self.udp_port
        for attempt in range(1, BIND_ATTEMPTS + 1):
            try:
                await self._bind()
                break
            except OSError as error:
                self.close()
                # A free UDP port need not be free for TCP, or on the other address.
                if wanted == 0 and attempt < BIND_ATTEMPTS:
                    self.udp_port = 0
                    continue
                raise SettingsError(
                    f"port {self.udp_port} cannot be used for WebRTC ({error.strerror or error}); set WEBRTC_UDP_PORT"
                    " to one that is free for UDP and TCP, or stop the program that uses it"
                ) from None
        await self.resolve_hosts()

    def close(self) -> None:
        """Close the port and all TCP connections. May be called twice."""
        for port in self._udp_ports:
            port.close()
        self._udp_ports.clear()
        self._tcp.close()

    def candidates(self) -> tuple[str, ...]:
        """The values of ``a=candidate`` lines (RFC 8839 §5.1): every address at which the port can be reached."""
        addresses = list(dict.fromkeys([*self._resolved, *self.local_addresses()]))
        lines = []
        for place, address in enumerate(addresses):
            # Type preference 126 for hosts; the first address is preferred (RFC 8445 §5.1.2).
            priority = (126 << 24) + ((65_535 - place) << 8) + 255
            foundation = candidate_foundation("host", "udp", address)[:8]
            lines.append(f"{foundation} 1 udp {priority} {address} {self.udp_port} typ host")
        for place, address in enumerate(addresses):
            # RFC 6544 §4.2: below UDP, direction preference 4 for passive hosts.
            priority = (90 << 24) + ((4 << 13) + 8191 - place << 8) + 255
            foundation = candidate_foundation("host", "tcp", address)[:8]
            lines.append(f"{foundation} 1 tcp {priority} {address} {self.udp_port} typ host tcptype passive")
        return tuple(lines)

    def local_addresses(self) -> list[str]:
        """The addresses of this machine that the port is bound to."""
        addresses: list[str] = []
        for port in self._udp_ports:
            is_ipv6 = port.family == socket.AF_INET6
            if port.host in _WILDCARDS:
                addresses += get_host_addresses(not is_ipv6, is_ipv6) or ["::1" if is_ipv6 else "127.0.0.1"]
            else:
                addresses.append(port.host)
        return addresses

    async def resolve_hosts(self) -> None:
        """Resolve the names in ``hosts``. A name that cannot be resolved now is left out."""
        found: list[str] = []
        for host in self.hosts:
            try:
                ipaddress.ip_address(host)
            except ValueError:
                try:
                    results = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
                except OSError as error:
                    log.warning("WEBRTC_HOSTS: %s cannot be resolved (%s) and is not offered for now", host, error)
                    continue
                found += [str(result[4][0]) for result in results]
            else:
                found.append(host)
        families = {port.family for port in self._udp_ports}
        usable = [address for address in found if (socket.AF_INET6 if ":" in address else socket.AF_INET) in families]
        self._resolved = tuple(dict.fromkeys(usable))

    async def _bind(self) -> None:
        for host in self._listen:
            try:
                port = UdpPort(host, self.udp_port, self._registry)
            except OSError as error:
                # A machine without IPv6 still has IPv4, and the other way round.
                if len(self._listen) > 1 and error.errno in _NO_SUCH_FAMILY:
                    log.info("WebRTC does not listen on %s: %s", host, error.strerror)
                    continue
                raise
            self._udp_ports.append(port)
            self.udp_port = port.port
            port.start()
            await self._tcp.start(host, self.udp_port)
        if not self._udp_ports:
            raise OSError(f"none of {', '.join(self._listen)} can be bound")
