"""Accepting connections: without descriptors, and of peers that do not read."""

import asyncio
import logging
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway import tcp_server
from gateway.tcp_server import TcpServer


class Kept(asyncio.Protocol):
    """Keeps what happens to a connection."""

    def __init__(self) -> None:
        self.made: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.made.set_result(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Lower the limit to what is open now."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    spare = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
        try:
            while True:
                spare.append(os.dup(0))
        except OSError:
            pass
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for each in spare:
            os.close(each)


async def test_without_descriptors_connections_wait_and_the_log_has_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_server, "RETRY_S", 0.01)
    made: list[Kept] = []

    def make(_: str) -> Kept:
        made.append(Kept())
        return made[-1]

    server = TcpServer("HTTP", make)
    await server.start("127.0.0.1", 0)
    clients = [socket.socket() for _ in range(5)]
    try:
        with no_descriptors_left(), caplog.at_level(logging.DEBUG):
            for client in clients:
                client.connect(server.address)
            while server.accept_failures < 10:
                await asyncio.sleep(0.01)
            assert not made
        assert [each.getMessage() for each in caplog.records] == [
            "HTTP: new connections wait: Too many open files; raise the limit of open files"
        ]
        while len(made) < 5:
            await asyncio.sleep(0.01)
        for each in made:
            (await each.made).abort()
            await each.lost
    finally:
        server.close()
        for client in clients:
            client.close()


async def test_a_refused_connection_is_closed() -> None:
    server = TcpServer("HTTP", lambda _: None)
    await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.address)
    try:
        assert await reader.read() == b""
    finally:
        writer.close()
        server.close()
        server.close()


async def test_a_peer_that_does_not_read_is_ended_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_server, "UNACKNOWLEDGED_MAX_S", 1)
    kept = Kept()
    server = TcpServer("HTTP", lambda _: kept)
    await server.start("127.0.0.1", 0)
    client = socket.socket()
    try:
        client.connect(server.address)
        transport = await kept.made
        transport.write(b"x" * 20_000_000)
        async with asyncio.timeout(60):
            error = await kept.lost
        assert isinstance(error, TimeoutError)
    finally:
        client.close()
        server.close()
