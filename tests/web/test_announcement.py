"""The address that is printed at the start can be opened."""

import asyncio
import socket

import aiohttp
import pytest

from gateway.tcp_server import listening_sockets
from web.announcement import announcement, url_host


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::", "localhost"])
async def test_each_address_that_is_announced_answers(host: str) -> None:
    listening = listening_sockets(host, 0)
    port = listening[0].getsockname()[1]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        await writer.drain()
        writer.close()

    url, hint = announcement(host, port)
    servers = [await asyncio.start_server(answer, sock=each) for each in listening]
    async with aiohttp.ClientSession() as client:
        for each in (url, *hint.split()[-1:]):
            assert "0.0.0.0" not in each
            assert "[::]" not in each
            async with client.get(each) as response:
                assert await response.text() == "hi", each
    for server in servers:
        server.close()
        await server.wait_closed()


def test_the_host_of_a_url() -> None:
    assert [url_host(host) for host in ("192.0.2.7", "2001:db8::7", "gateway.example")] == [
        "192.0.2.7",
        "[2001:db8::7]",
        "gateway.example",
    ]


def test_a_machine_without_a_network_has_no_address_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "socket", refuse)
    assert announcement("0.0.0.0", 8000) == ("http://localhost:8000/", "")
