"""A network between viewer and gateway, in user space: loss, delay, jitter, a narrow and bounded queue, a cut cable.

It does what ``tc netem`` does in kernels that have it, for tests that have to run anywhere. A relay on 127.0.0.1
has one :class:`Direction` each way. A :class:`Link` says what a direction does to its traffic; a test may replace it
while it is in use.

Rules of a direction:

1. A datagram is lost by chance (the random numbers have a seed: the same losses each time), or because the queue is
   full (drop-tail), or because the direction is cut. Each kind has its own counter.
2. Other datagrams leave at the link's rate, and arrive ``delay_s`` ± ``jitter_s`` later; in order, unless the link says
   otherwise.
3. A byte stream is not lost but held back: it does not read while its queue is full, and passes nothing on while it is
   cut.
"""

import asyncio
import contextlib
import random
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

Address = tuple[str, int]

CHUNK_BYTES = 1400
"""A stream is forwarded in chunks of a packet's size, so that a narrow link treats streams like datagrams."""

STREAM_BUFFER_BYTES = 8192
"""Of the sockets towards the gateway. Small, so that data waits in the link's queue, which is counted."""

DATAGRAM_MAX_BYTES = 65_535

RECEIVE_BYTES = 4 * 1024 * 1024
"""The receive buffer, so that only the link loses datagrams."""

UPSTREAMS_MAX = 64


@dataclass(frozen=True, slots=True)
class Link:
    """What a network does in one direction."""

    loss: float = 0.0
    """The probability that a datagram is lost, 0 to 1."""
    delay_s: float = 0.0
    jitter_s: float = 0.0
    """The delay varies evenly by up to this much."""
    keeps_order: bool = True
    bits_per_s: int | None = None
    """``None``: no limit."""
    queue_bytes: int = 64 * 1024
    """The size of the queue before ``bits_per_s``. When it is full, the newest datagram is dropped."""


class Direction:
    """One direction of a network."""

    def __init__(self, link: Link, seed: int) -> None:
        self.link = link
        self.is_cut = False
        self.offered = self.delivered = self.delivered_bytes = 0
        self.lost = self.overflowed = self.cut = 0
        """Datagrams that were lost: by chance, in a full queue, while the direction was cut."""
        self._dice = random.Random(seed)
        self._free_at_s = 0.0
        self._last_arrival_s = 0.0

    @property
    def under_way(self) -> int:
        """Datagrams that may still arrive."""
        return self.offered - self.delivered - self.lost - self.overflowed - self.cut

    def backlog_bytes(self) -> float:
        """Bytes in the queue."""
        if self.link.bits_per_s is None:
            return 0.0
        return max(0.0, self._free_at_s - asyncio.get_running_loop().time()) * self.link.bits_per_s / 8

    def datagram(self, data: bytes, deliver: Callable[[bytes], None]) -> None:
        """Forward a datagram, or lose it."""
        self.offered += 1
        if self.is_cut:
            self.cut += 1
        elif self._dice.random() < self.link.loss:
            self.lost += 1
        elif self.backlog_bytes() + len(data) > self.link.queue_bytes and self.link.bits_per_s is not None:
            self.overflowed += 1
        else:
            arrival_s = self.arrival_s(len(data))
            loop = asyncio.get_running_loop()
            if arrival_s <= loop.time():
                self._arrive(data, deliver)
            else:
                loop.call_at(arrival_s, self._arrive, data, deliver)

    def arrival_s(self, size: int) -> float:
        """Put bytes into the queue; return when they arrive, by the loop's clock."""
        link, now = self.link, asyncio.get_running_loop().time()
        if link.bits_per_s is not None:
            self._free_at_s = max(now, self._free_at_s) + size * 8 / link.bits_per_s
            now = self._free_at_s
        at = now + max(0.0, link.delay_s + self._dice.uniform(-link.jitter_s, link.jitter_s))
        if link.keeps_order:
            # Timers of the same time would fire in any order.
            at = max(at, self._last_arrival_s + 1e-6)
        self._last_arrival_s = at
        return at

    def _arrive(self, data: bytes, deliver: Callable[[bytes], None]) -> None:
        if self.is_cut:
            self.cut += 1
            return
        self.delivered += 1
        self.delivered_bytes += len(data)
        deliver(data)


class Network:
    """Both directions, and the common part of all relays. ``up`` leads to the gateway."""

    def __init__(self, gateway_port: int, down: Link | None = None, up: Link | None = None, seed: int = 1) -> None:
        self.down = Direction(down or Link(), seed)
        self.up = Direction(up or Link(), seed + 1)
        self.port = 0
        """The port for viewers, on 127.0.0.1."""
        self._gateway_port = gateway_port

    def cut(self) -> None:
        """Pull the cable: nothing arrives any more, not even data under way, and neither end gets an error."""
        self.up.is_cut = self.down.is_cut = True

    def restore(self) -> None:
        """Undo :meth:`cut`."""
        self.up.is_cut = self.down.is_cut = False


class UdpNetwork(Network):
    """For WebRTC. :meth:`answer` leads a viewer here. Each viewer has its own socket towards the gateway."""

    def __init__(self, gateway_port: int, down: Link | None = None, up: Link | None = None, seed: int = 1) -> None:
        super().__init__(gateway_port, down, up, seed)
        self._door = _udp_socket()
        self._upstreams: dict[Address, socket.socket] = {}
        self._abandoned: list[socket.socket] = []

    async def start(self) -> None:
        """Listen."""
        self._door.bind(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._door, self._from_viewers)

    async def close(self) -> None:
        """Close everything. May be called twice."""
        for each in (self._door, *self._upstreams.values(), *self._abandoned):
            if each.fileno() >= 0:
                asyncio.get_running_loop().remove_reader(each)
                each.close()

    def rebind(self) -> None:
        """Forget all viewers' addresses, as a restarted NAT or a change from Wi-Fi to a mobile network does.

        What the gateway sends to the old addresses is lost without an error.
        """
        for upstream in self._upstreams.values():
            asyncio.get_running_loop().remove_reader(upstream)
            self._abandoned.append(upstream)
        self._upstreams.clear()

    def answer(self, sdp: str) -> str:
        """The gateway's answer, with this network as the only candidate."""
        return only_candidate(sdp, self.port)

    def _from_viewers(self) -> None:
        for data, viewer in _datagrams(self._door):
            self.up.datagram(data, lambda data, viewer=viewer: _send(self._upstream(viewer), data))  # type: ignore[misc]

    def _from_gateway(self, upstream: socket.socket, deliver: Callable[[bytes], None]) -> None:
        for data, _ in _datagrams(upstream):
            self.down.datagram(data, deliver)

    def _upstream(self, viewer: Address) -> socket.socket:
        """The viewer's own socket: the gateway knows viewers by their addresses."""
        upstream = self._upstreams.get(viewer)
        if upstream is None:
            assert len(self._upstreams) < UPSTREAMS_MAX, "more addresses than any test has viewers"
            upstream = self._upstreams[viewer] = _udp_socket()
            upstream.connect(("127.0.0.1", self._gateway_port))
            deliver = partial(_send, self._door, to=viewer)
            asyncio.get_running_loop().add_reader(upstream, self._from_gateway, upstream, deliver)
        return upstream


def _udp_socket() -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setblocking(False)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    return udp


def _datagrams(udp: socket.socket) -> Iterator[tuple[bytes, Address]]:
    """Read a datagram. A closed socket or ECONNREFUSED looks like a network that loses it."""
    with contextlib.suppress(OSError):
        while udp.fileno() >= 0:
            yield udp.recvfrom(DATAGRAM_MAX_BYTES)


def _send(udp: socket.socket, data: bytes, to: Address | None = None) -> None:
    with contextlib.suppress(OSError):
        if to is None:
            udp.send(data)
        else:
            udp.sendto(data, to)


class TcpNetwork(Network):
    """For HTTP and Socket.IO: :attr:`url` is the gateway's address through this network."""

    def __init__(self, gateway_port: int, down: Link | None = None, up: Link | None = None, seed: int = 1) -> None:
        super().__init__(gateway_port, down, up, seed)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=CHUNK_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Close everything. May be called twice."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(tuple(self._connections))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        upstream = socket.socket()
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STREAM_BUFFER_BYTES)
        upstream.setblocking(False)
        writers = [writer]
        try:
            await asyncio.get_running_loop().sock_connect(upstream, ("127.0.0.1", self._gateway_port))
            there, back = await asyncio.open_connection(sock=upstream, limit=CHUNK_BYTES)
            writers.append(back)
            ways = [
                asyncio.create_task(way) for way in (_carry(reader, back, self.up), _carry(there, writer, self.down))
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.wait(ways)
        except OSError:
            upstream.close()
        finally:
            for each in writers:
                each.transport.abort()
            self._connections.discard(task)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
    """Forward a stream until it ends or fails."""
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(max(1, direction.link.queue_bytes // CHUNK_BYTES))

    async def take() -> None:
        while data := await reader.read(CHUNK_BYTES):
            direction.offered += 1
            await waiting.put((direction.arrival_s(len(data)), data))
        await waiting.put((0.0, b""))

    async def give() -> None:
        loop = asyncio.get_running_loop()
        while True:
            arrival_s, data = await waiting.get()
            if not data:
                return
            await asyncio.sleep(max(0.0, arrival_s - loop.time()))
            while direction.is_cut:
                await asyncio.sleep(0.02)
            writer.write(data)
            await writer.drain()
            direction.delivered += 1
            direction.delivered_bytes += len(data)

    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(take())
            both.create_task(give())
    except* ConnectionError:
        pass  # one end closed the connection


def only_candidate(sdp: str, udp_port: int) -> str:
    """An answer with this port of 127.0.0.1 as the only candidate: no TCP, no other address."""
    lines = [line for line in sdp.split("\r\n") if "tcptype" not in line]
    return re.sub(r"(a=candidate:\S+ 1 udp \d+) \S+ \d+", rf"\1 127.0.0.1 {udp_port}", "\r\n".join(lines))
