"""ICE over TCP for networks without UDP: passive candidates (RFC 6544), datagrams framed as in RFC 4571, the same port.

Theory of operation. A connection is nobody's until a binding request on it proves itself; then it is one more path of
that agent. It is read frame by frame, each of which is what a UDP datagram would have been.

Rules:

1. A connection that does not prove itself within ``PROOF_TIMEOUT_S`` is closed; there are ``STRANGERS_MAX`` at most.
2. What the viewer does not read waits in ``UNSENT_BYTES`` of the kernel and ``WRITE_BUFFER_BYTES`` of ours and no more;
   beyond, the path is full.
3. A frame too long, or of nothing, ends the connection: whoever sends it is no ICE agent.
"""

import asyncio
import logging
import socket

from gateway.webrtc.ice.agent import Address, IceAgent, IceRegistry

_TCP_NOTSENT_LOWAT = 25
"""Linux's, which Python does not name before 3.13."""

log = logging.getLogger(__name__)

FRAME_MAX_BYTES = 2048
"""As for UDP: more than any browser sends."""

WRITE_BUFFER_BYTES = 128 * 1024
"""A quarter of a second of 4 Mbit/s: more would be delay, less would cut large keyframes in two."""

UNSENT_BYTES = 64 * 1024
"""What the kernel takes beyond what is in flight (TCP_NOTSENT_LOWAT). Left to itself it takes megabytes, seconds of
video, before a viewer that does not read is noticed."""

PROOF_TIMEOUT_S = 5.0
STRANGERS_MAX = 64


class TcpPath(asyncio.Protocol):
    """One connection."""

    protocol = "tcp"

    def __init__(self, port: "TcpPort") -> None:
        self._port = port
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._agent: IceAgent | None = None
        self._proof: asyncio.TimerHandle | None = None
        self.remote: Address = ("", 0)

    @property
    def is_full(self) -> bool:
        """Whether the viewer has not read enough of what it was sent."""
        return self._transport is not None and self._transport.get_write_buffer_size() > WRITE_BUFFER_BYTES

    def send(self, data: memoryview | bytes, segment_bytes: int) -> bool:
        """Send frames of ``segment_bytes`` each. On a closed connection they are lost, as on a network."""
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
        """End the connection at once: there is nobody who would read what waits."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        if peer is None or not self._port.admit(self):
            transport.abort()
            return
        self.remote = (peer[0], peer[1])
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._proof = asyncio.get_running_loop().call_later(PROOF_TIMEOUT_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._end_probation()
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
                        self._end_probation()
                    self.send(answer[0], len(answer[0]))
            elif self._agent is not None:
                self._agent.receive(data)
            else:
                self._port.registry.refused["stranger"] += 1
        except Exception:
            self._port.registry.refused["fault"] += 1
            log.exception("a frame from %s could not be handled", self.remote[0])

    def _end_probation(self) -> None:
        if self._proof is not None:
            self._proof.cancel()
            self._proof = None
            self._port.admitted(self)


class TcpPort:
    """The listening sockets, and all connections."""

    def __init__(self, registry: IceRegistry) -> None:
        self.registry = registry
        self._connections: set[TcpPath] = set()
        self._strangers: set[TcpPath] = set()
        self._servers: list[asyncio.Server] = []

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def start(self, host: str, port: int) -> None:
        """Listen on one more address. Raises ``OSError`` where that cannot be."""
        self._servers.append(await asyncio.get_running_loop().create_server(lambda: TcpPath(self), host, port))

    def close(self) -> None:
        """Stop listening and end all connections. Twice is fine."""
        while self._servers:
            self._servers.pop().close()
        for connection in tuple(self._connections):
            connection.close()

    def admit(self, connection: TcpPath) -> bool:
        """Whether one more stranger may stay for now."""
        if len(self._strangers) >= STRANGERS_MAX:
            self.registry.refused["stranger"] += 1
            return False
        self._strangers.add(connection)
        self._connections.add(connection)
        return True

    def admitted(self, connection: TcpPath) -> None:
        """It is no stranger any more."""
        self._strangers.discard(connection)

    def forget(self, connection: TcpPath) -> None:
        """It is closed."""
        self._strangers.discard(connection)
        self._connections.discard(connection)
