"""ICE over TCP for networks without UDP: passive candidates (RFC 6544), datagrams framed as in RFC 4571, the same port.

Theory of operation. A connection belongs to no agent until a binding request on it is authenticated. Then it is one
more transport of that agent. Each frame on it is handled like a UDP datagram.

Rules:

1. A connection without an authenticated binding request within ``AUTHENTICATION_TIMEOUT_S`` is closed. There are at
   most ``UNAUTHENTICATED_MAX`` of them: for one more the oldest is closed, so that silent ones keep nobody out.
2. Data that the viewer does not read waits in at most ``UNSENT_BYTES`` of the kernel and ``WRITE_BUFFER_BYTES`` here.
   Then the transport is full.
3. A frame that is empty or too long ends the connection: its sender is not an ICE agent.
"""

import asyncio
import logging
import socket

from gateway.tcp_server import TcpServer
from gateway.webrtc.ice.agent import IceAgent
from gateway.webrtc.ice.registry import IceRegistry
from gateway.webrtc.transport import Address

_TCP_NOTSENT_LOWAT = 25
"""Linux's value. Python has a name for it since 3.13."""

log = logging.getLogger(__name__)

FRAME_MAX_BYTES = 2048
"""As for UDP: more than any browser sends."""

WRITE_BUFFER_BYTES = 128 * 1024
"""A quarter of a second of 4 Mbit/s. More would add delay, less would split large keyframes."""

UNSENT_BYTES = 64 * 1024
"""How much the kernel buffers beyond what is in flight (TCP_NOTSENT_LOWAT). By default it buffers megabytes, seconds of
video, before a viewer that does not read is noticed."""

AUTHENTICATION_TIMEOUT_S = 5.0
UNAUTHENTICATED_MAX = 64
CONNECTIONS_MAX = 1024
"""A viewer has one, and two for a moment while it changes networks."""


class TcpTransport(asyncio.Protocol):
    """One connection."""

    protocol = "tcp"

    def __init__(self, port: "TcpPort") -> None:
        self._port = port
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._agent: IceAgent | None = None
        self._timeout: asyncio.TimerHandle | None = None
        self.remote: Address = ("", 0)

    @property
    def is_full(self) -> bool:
        """Whether too much that was sent is still unread."""
        return self._transport is not None and self._transport.get_write_buffer_size() > WRITE_BUFFER_BYTES

    def send(self, data: memoryview | bytes, segment_bytes: int) -> bool:
        """Send frames of ``segment_bytes`` each. On a closed connection they are lost, as in a network."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return True
        if self.is_full:
            return False
        frames: list[bytes | memoryview] = []
        for at in range(0, len(data), segment_bytes):
            frame = data[at : at + segment_bytes]
            frames += (len(frame).to_bytes(2, "big"), frame)
        transport.write(b"".join(frames))
        return True

    def close(self) -> None:
        """Close the connection at once. Unsent data is dropped."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        if peer is None:
            transport.abort()
            return
        self._port.admit(self)
        self.remote = (peer[0], peer[1])
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._timeout = asyncio.get_running_loop().call_later(AUTHENTICATION_TIMEOUT_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._cancel_timeout()
        self._port.forget(self)
        if self._agent is not None:
            self._agent.lose(self)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= 2 and self._transport is not None:
            size = int.from_bytes(buffer[at : at + 2], "big")
            if not 0 < size <= FRAME_MAX_BYTES:
                self._port.registry.refused["malformed"] += 1
                self.close()
                return
            if len(buffer) - at < 2 + size:
                break
            self._frame(bytes(buffer[at + 2 : at + 2 + size]))
            at += 2 + size
        del buffer[:at]

    def _frame(self, data: bytes) -> None:
        try:
            if data[0] < 4:
                answer = self._port.registry.check(data, self.remote, lambda: self)
                if answer is not None:
                    if answer[1] is not None:
                        self._agent = answer[1]
                        self._cancel_timeout()
                    self.send(answer[0], len(answer[0]))
            elif self._agent is not None:
                self._agent.receive(data, self)
            else:
                self._port.registry.refused["unknown_address"] += 1
        except Exception:
            self._port.registry.refused["error"] += 1
            log.exception("a frame from %s could not be handled", self.remote[0], extra={"client": self.remote[0]})

    def _cancel_timeout(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None
            self._port.admitted(self)


class TcpPort:
    """The listening sockets, and all connections."""

    def __init__(self, registry: IceRegistry) -> None:
        self.registry = registry
        self._connections: set[TcpTransport] = set()
        self._unauthenticated: dict[TcpTransport, None] = {}
        """Oldest first."""
        self._server = TcpServer("WebRTC over TCP", self._make_protocol)

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def start(self, host: str, port: int) -> None:
        """Listen on one more address. Raises ``OSError`` if that fails."""
        await self._server.start(host, port)

    def close(self) -> None:
        """Stop listening and close all connections. May be called twice."""
        self._server.close()
        for connection in tuple(self._connections):
            connection.close()

    @property
    def accept_failures(self) -> int:
        """How often a connection could not be accepted for want of descriptors."""
        return self._server.accept_failures

    def _make_protocol(self, _: str) -> asyncio.Protocol | None:
        if len(self._connections) >= CONNECTIONS_MAX:
            self.registry.refused["unknown_address"] += 1
            return None
        return TcpTransport(self)

    def admit(self, connection: TcpTransport) -> None:
        """Add a connection that is not authenticated. The oldest such gives way if there are too many."""
        if len(self._unauthenticated) >= UNAUTHENTICATED_MAX:
            self.registry.refused["unknown_address"] += 1
            oldest = next(iter(self._unauthenticated))
            self.admitted(oldest)
            oldest.close()
        self._unauthenticated[connection] = None
        self._connections.add(connection)

    def admitted(self, connection: TcpTransport) -> None:
        """The connection is authenticated, or closed."""
        self._unauthenticated.pop(connection, None)

    def forget(self, connection: TcpTransport) -> None:
        """The connection is closed."""
        self._unauthenticated.pop(connection, None)
        self._connections.discard(connection)
