"""A TCP and UDP proxy between a browser and the gateway, which a test cuts as a change of network does.

Theory of operation. A :class:`NetworkProxy` listens on TCP ports, and on UDP ports of the same numbers, and forwards
everything to those of the gateway. While it is cut, it forwards nothing. When a test opens it again, it is one of two:

- the same network: data that was held back arrives
- another network: new connections work. TCP connections from before, and those begun meanwhile, are dead, and neither
  end is informed, as with a NAT that has forgotten them. UDP leaves from another port.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self, cast

CHUNK_BYTES = 65_536

Address = tuple[str, int]
Send = Callable[[bytes, Address], None]

PORT_AHEAD = """
((ports) => {
  // What the gateway says of where it is, is behind the way.
  const set = RTCPeerConnection.prototype.setRemoteDescription;
  const candidate = /(a=candidate:\\S+ \\d+ \\S+ \\d+ \\S+ )(\\d+)/g;
  RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
    return set.call(this, { type, sdp: sdp.replace(candidate, (_, start, port) => start + (ports[port] ?? port)) });
  };
})
"""
"""A script for the page that replaces the candidates' ports. Call it with the proxy's ``ports``."""


class NetworkProxy:
    """See the module. An asynchronous context manager."""

    def __init__(self, *ports: int) -> None:
        """It forwards to these ``ports`` of 127.0.0.1, TCP and UDP."""
        self.ports: dict[int, int] = dict.fromkeys(ports, 0)
        """The proxy's port for each port of the gateway."""
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._forgets = False
        self._servers: list[asyncio.Server] = []
        self._datagrams: list[_Datagrams] = []
        self._flows: set[asyncio.Task[None]] = set()
        self._dead: list[asyncio.StreamWriter] = []

    def cut(self, *, forget: bool) -> None:
        """Forward nothing from now on. With ``forget``, the connections of now stay dead after :meth:`open`."""
        self._is_open.clear()
        self._forgets = forget
        if not forget:
            return
        for flow in self._flows:
            flow.cancel()
        for datagrams in self._datagrams:
            datagrams.cut()

    def open(self) -> None:
        """Undo :meth:`cut`."""
        self._is_open.set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for port in self.ports:
            server = await asyncio.start_server(partial(self._connected, port), "127.0.0.1", 0)
            self.ports[port] = own = server.sockets[0].getsockname()[1]
            self._servers.append(server)
            _, datagrams = await loop.create_datagram_endpoint(
                partial(_Datagrams, ("127.0.0.1", port), self._is_open), ("127.0.0.1", own)
            )
            self._datagrams.append(datagrams)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.cut(forget=True)
        for server in self._servers:
            server.close()
        for datagrams in self._datagrams:
            datagrams.close()
        # A flow that is cancelled keeps its two ends; see `_serve`.
        await asyncio.gather(*self._flows, return_exceptions=True)
        for writer in self._dead:
            writer.transport.abort()
        await asyncio.sleep(0)  # the event loop closes their sockets

    def _connected(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._forgets and not self._is_open.is_set():
            self._dead.append(writer)
            return
        flow = asyncio.create_task(self._serve(reader, writer, port))
        self._flows.add(flow)
        flow.add_done_callback(self._flows.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        ends = [writer]
        try:
            await self._is_open.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            ends.append(far_writer)
            pumps = [asyncio.create_task(self._pump(*pair)) for pair in ((reader, far_writer), (far_reader, writer))]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except asyncio.CancelledError:
            # Kept open and not read: neither end is informed.
            self._dead.extend(ends)
            ends.clear()
        except OSError:
            pass
        finally:
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            await self._is_open.wait()
            writer.write(data)
            await writer.drain()


class _Datagrams(asyncio.DatagramProtocol):
    """One UDP port of the proxy; each peer has a socket of its own towards the gateway."""

    def __init__(self, far: Address, is_open: asyncio.Event) -> None:
        self._far = far
        self._is_open = is_open
        self._transport: asyncio.DatagramTransport | None = None
        self._peers: dict[Address, asyncio.DatagramTransport] = {}
        self._opening: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if not self._is_open.is_set():
            return
        if (peer := self._peers.get(addr)) is not None:
            peer.sendto(data)
            return
        task = asyncio.create_task(self._open(data, addr))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def cut(self) -> None:
        for peer in self._peers.values():
            peer.abort()
        self._peers.clear()

    def close(self) -> None:
        self.cut()
        if self._transport is not None:
            self._transport.abort()

    async def _open(self, data: bytes, addr: Address) -> None:
        loop = asyncio.get_running_loop()
        peer, _ = await loop.create_datagram_endpoint(lambda: _Return(self._send, addr), remote_addr=self._far)
        if addr in self._peers or not self._is_open.is_set():
            peer.abort()
            return
        self._peers[addr] = peer
        peer.sendto(data)

    def _send(self, data: bytes, addr: Address) -> None:
        if self._transport is not None and self._is_open.is_set():
            self._transport.sendto(data, addr)


class _Return(asyncio.DatagramProtocol):
    def __init__(self, send: Send, addr: Address) -> None:
        self._send = send
        self._addr = addr

    def datagram_received(self, data: bytes, _: Address) -> None:
        self._send(data, self._addr)
