"""The user-space network itself, with real sockets: what it loses, holds back, delays and counts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from tests.support.eventually import eventually
from tests.support.netem import Link, TcpNetwork, UdpNetwork, only_candidate


class Echo(asyncio.DatagramProtocol):
    """Echo each datagram, and keep the senders' addresses."""

    def __init__(self) -> None:
        self.clients: dict[tuple[str, int], int] = {}
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self.transport is not None
        self.clients[addr] = self.clients.get(addr, 0) + 1
        self.transport.sendto(data, addr)


class Client(asyncio.DatagramProtocol):
    """Send numbers, and keep the ones that come back with their round-trip times."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, float]] = []
        self.transport: asyncio.DatagramTransport | None = None
        self._sent_s: dict[int, float] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def send(self, count: int, size: int = 200) -> None:
        assert self.transport is not None
        for _ in range(count):
            number = len(self._sent_s)
            self._sent_s[number] = asyncio.get_running_loop().time()
            self.transport.sendto(number.to_bytes(4, "big") + bytes(size - 4))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        number = int.from_bytes(data[:4], "big")
        self.heard.append((number, asyncio.get_running_loop().time() - self._sent_s[number]))


Connect = Callable[[UdpNetwork], Awaitable[Client]]


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: echo, ("127.0.0.1", 0))
    yield echo
    transport.abort()


@pytest.fixture
async def connect(echo: Echo) -> AsyncIterator[Connect]:
    """Connect a client through a network."""
    opened: list[UdpNetwork] = []
    clients: list[Client] = []

    async def connect(network: UdpNetwork) -> Client:
        if network not in opened:
            opened.append(network)
            await network.start()
        clients.append(Client())
        await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: clients[-1], remote_addr=("127.0.0.1", network.port)
        )
        return clients[-1]

    yield connect
    for client in clients:
        assert client.transport is not None
        client.transport.abort()
    for network in opened:
        await network.close()


def port_of(echo: Echo) -> int:
    assert echo.transport is not None
    port: int = echo.transport.get_extra_info("sockname")[1]
    return port


async def settle(network: UdpNetwork, sent: int) -> None:
    """Wait until every datagram of the clients was received or is lost."""
    await eventually(
        lambda: (
            network.up.offered >= sent
            and not network.up.under_way
            and network.down.offered >= network.up.delivered
            and not network.down.under_way
        ),
        "no datagram is under way",
    )
    await asyncio.sleep(0.05)  # from the network's port to the client


async def test_each_viewer_has_an_address_of_its_own_and_order_is_kept(echo: Echo, connect: Connect) -> None:
    network = UdpNetwork(port_of(echo), down=Link(delay_s=0.02, jitter_s=0.02))
    one, other = await connect(network), await connect(network)
    one.send(40)
    other.send(7)
    await settle(network, 47)
    assert sorted(echo.clients.values()) == [7, 40]
    assert [number for number, _ in one.heard] == list(range(40))
    assert [number for number, _ in other.heard] == list(range(7))


async def test_jitter_without_order_disturbs_it_and_delay_delays(echo: Echo, connect: Connect) -> None:
    network = UdpNetwork(port_of(echo), down=Link(delay_s=0.05, jitter_s=0.04, keeps_order=False))
    client = await connect(network)
    client.send(40)
    await settle(network, 40)
    numbers = [number for number, _ in client.heard]
    assert sorted(numbers) == list(range(40)) != numbers
    assert min(took_s for _, took_s in client.heard) > 0.009


async def test_the_seed_decides_the_losses_of_each_direction(echo: Echo, connect: Connect) -> None:
    heard = []
    for _ in range(2):
        network = UdpNetwork(port_of(echo), Link(loss=0.1), Link(loss=0.3), seed=5)
        client = await connect(network)
        client.send(100)
        await settle(network, 100)
        assert network.up.offered == 100
        assert network.down.offered == network.up.delivered == 100 - network.up.lost
        assert len(client.heard) == network.down.delivered == network.down.offered - network.down.lost
        assert 15 <= network.up.lost <= 45
        assert network.down.lost > 0
        heard.append([number for number, _ in client.heard])
    assert heard[0] == heard[1]


async def test_a_narrow_link_drops_when_its_queue_is_full(echo: Echo, connect: Connect) -> None:
    # 60 datagrams of 1000 bytes into a queue of 20,000 bytes, at 1 MB a second.
    network = UdpNetwork(port_of(echo), up=Link(bits_per_s=8_000_000, queue_bytes=20_000))
    client = await connect(network)
    began = asyncio.get_running_loop().time()
    client.send(60, size=1000)
    await settle(network, 60)
    assert network.up.overflowed + network.up.delivered == 60
    took_s = asyncio.get_running_loop().time() - began
    assert 20 <= network.up.delivered <= 20 + took_s * 1000
    assert network.up.lost == network.up.cut == 0


async def test_a_cut_cable_loses_everything_until_it_is_repaired(echo: Echo, connect: Connect) -> None:
    network = UdpNetwork(port_of(echo))
    client = await connect(network)
    network.cut()
    client.send(5)
    await settle(network, 5)
    assert (network.up.cut, client.heard) == (5, [])
    network.restore()
    client.send(5)
    await settle(network, 10)
    assert [number for number, _ in client.heard] == [5, 6, 7, 8, 9]


async def test_streams_are_held_back_and_whole() -> None:
    body = bytes(range(256)) * 400

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body)

    app = web.Application()
    app.router.add_get("/", answer)
    async with TestServer(app) as server, ClientSession() as http:
        assert server.port is not None
        network = TcpNetwork(server.port, down=Link(bits_per_s=1_600_000, delay_s=0.05, queue_bytes=16_000))
        await network.start()
        began = asyncio.get_running_loop().time()
        async with http.get(network.url) as reply:
            assert await reply.read() == body
        assert asyncio.get_running_loop().time() - began > len(body) / 200_000, "it took no less than the link needs"
        assert network.down.delivered_bytes > len(body)
        network.cut()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), http.get(network.url) as reply:
                pass
        network.restore()
        async with http.get(network.url) as reply:
            assert len(await reply.read()) == len(body)
        await network.close()


def test_an_answer_leads_through_the_network_alone() -> None:
    answer = (
        "v=0\r\na=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host\r\n"
        "a=candidate:2 1 tcp 1518214911 192.0.2.1 8189 typ host tcptype passive\r\na=end-of-candidates\r\n"
    )
    assert only_candidate(answer, 777) == (
        "v=0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 777 typ host\r\na=end-of-candidates\r\n"
    )
