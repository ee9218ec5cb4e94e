"""Relays between a peer's UDP datagrams and a TCP connection to the server, framed as in RFC 4571.

aiortc has no ICE over TCP. Through this relay it connects over TCP, and the relay can do what bad networks and viewers
do: not read, or close the connection.
"""

import asyncio
import contextlib
import socket

from tests.support.netem import only_candidate

READ_BUFFER_BYTES = 8192
"""The smallest that the kernel permits: unread data blocks the sender at once."""


class TcpRelay(asyncio.DatagramProtocol):
    """See the module. Its UDP address is ``(127.0.0.1, udp_port)``; :meth:`answer` writes that into an answer."""

    def __init__(self, server_port: int) -> None:
        self.udp_port = 0
        self._server_port = server_port
        self._peer: tuple[str, int] | None = None
        self._datagrams: asyncio.DatagramTransport | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect to the server and wait for the peer's datagrams."""
        loop = asyncio.get_running_loop()
        self._datagrams, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
        self.udp_port = self._datagrams.get_extra_info("sockname")[1]
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BUFFER_BYTES)
        connection.setblocking(False)
        await loop.sock_connect(connection, ("127.0.0.1", self._server_port))
        reader, self._writer = await asyncio.open_connection(sock=connection, limit=READ_BUFFER_BYTES)
        self._reading.set()
        self._pump = asyncio.create_task(self._forward(reader))

    def pause(self) -> None:
        """Stop reading from the server."""
        self._reading.clear()

    def resume(self) -> None:
        """Undo :meth:`pause`."""
        self._reading.set()

    def hang_up(self) -> None:
        """Close the connection as a network would, without closing DTLS."""
        assert self._writer is not None
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close it. May be called twice."""
        for transport in (self._datagrams, self._writer.transport if self._writer else None):
            if transport is not None:
                transport.abort()
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])

    def answer(self, sdp: str) -> str:
        """The server's answer with the relay as the only candidate."""
        return only_candidate(sdp, self.udp_port)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._peer = addr
        if self._writer is not None and not self._writer.transport.is_closing():
            self._writer.write(len(data).to_bytes(2, "big") + data)

    async def _forward(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self._reading.wait()
                size = int.from_bytes(await reader.readexactly(2), "big")
                data = await reader.readexactly(size)
                if self._datagrams is not None and self._peer is not None:
                    self._datagrams.sendto(data, self._peer)
