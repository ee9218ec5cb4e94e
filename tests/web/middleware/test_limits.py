"""Connections that send nothing, and clients that open too many: real sockets against the real server."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from web.middleware.errors import errors_as_json
from web.middleware.listener import Listener
from web.middleware.proxy_headers import ProxyHeaders
from web.middleware.request_limits import RequestLimits
from web.settings import load_settings

OPEN_HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""A complete request, for a raw connection."""


@asynccontextmanager
async def listening(
    folder: Path,
    header_timeout_s: float = 60.0,
    unsafe_timeout_s: float = 60.0,
    refused: Counter[str] | None = None,
    **settings: object,
) -> AsyncIterator[int]:
    """Serve an app that answers ``ok`` and reads what is posted, behind the gateway's limits; gives its port."""
    values = load_settings(data_dir=folder, port=0, **settings)
    limits = RequestLimits(values, Counter(), unsafe_timeout_s=unsafe_timeout_s)
    app = web.Application(middlewares=[errors_as_json, ProxyHeaders(values).middleware, limits.middleware])

    async def ok(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def read(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    app.router.add_get("/", ok)
    app.router.add_post("/", read)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listener = Listener(runner, values, Counter() if refused is None else refused, header_timeout_s=header_timeout_s)
    try:
        await listener.start()
        yield listener.address[1]
    finally:
        listener.close()
        await runner.cleanup()


class Peer:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> "Peer":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def __aenter__(self) -> "Peer":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def ask(self, head: bytes = OPEN_HEAD) -> bytes:
        """Send a request, read the whole answer, and return its status line."""
        self.writer.write(head)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", answer)
        assert length is not None
        await self.reader.readexactly(int(length[1]))
        return answer.partition(b"\r\n")[0]

    async def ends(self) -> bool:
        """Wait until the other end has closed or reset."""
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_a_connection_that_sends_nothing_is_closed(tmp_path: Path) -> None:
    refused: Counter[str] = Counter()
    async with (
        listening(tmp_path, header_timeout_s=0.2, refused=refused) as port,
        await Peer.connect(port) as silent,
    ):
        assert await silent.ends()
    assert refused == {"header_timeout": 1}


async def test_a_connection_that_never_completes_a_head_is_closed(tmp_path: Path) -> None:
    async with listening(tmp_path, header_timeout_s=0.3) as port, await Peer.connect(port) as slow:
        for byte in OPEN_HEAD[:-1]:
            slow.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert await slow.ends()


async def test_a_head_may_arrive_in_single_bytes(tmp_path: Path) -> None:
    async with listening(tmp_path) as port, await Peer.connect(port) as slow:
        for byte in OPEN_HEAD:
            slow.writer.write(bytes([byte]))
            await slow.writer.drain()
        assert b"200" in await slow.ask(b"")
        assert b"200" in await slow.ask(), "the connection stays open"


async def test_the_header_timeout_does_not_limit_the_body(tmp_path: Path) -> None:
    async with listening(tmp_path, header_timeout_s=0.2) as port, await Peer.connect(port) as peer:
        peer.writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab")
        await asyncio.sleep(0.4)
        assert b"200" in await peer.ask(b"cde")


async def test_a_body_that_never_ends_is_answered_408(tmp_path: Path) -> None:
    async with listening(tmp_path, unsafe_timeout_s=0.2) as port, await Peer.connect(port) as peer:
        assert b"408" in await peer.ask(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab")


async def test_connections_of_one_address_are_limited(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(tmp_path, connections_per_address=4) as port, AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(await Peer.connect(port)) for _ in range(4)]
        for peer in peers:
            assert b"200" in await peer.ask()
        for _ in range(5):
            assert await (await stack.enter_async_context(await Peer.connect(port))).ends()
        assert b"200" in await peers[0].ask(), "an open connection is kept"
        assert "too many connections from 127.0.0.1" in {each.getMessage() for each in caplog.records}
        peers[0].writer.close()
        for _ in range(100):
            async with await Peer.connect(port) as another:
                try:
                    assert b"200" in await another.ask()
                    break
                except (asyncio.IncompleteReadError, ConnectionError):
                    await asyncio.sleep(0.01)  # the server has not noticed yet that it left
        else:
            pytest.fail("no connection is accepted any more")


async def test_requests_through_a_trusted_proxy_count_for_its_clients(tmp_path: Path) -> None:
    async with (
        listening(tmp_path, connections_per_address=4, trusted_proxies="127.0.0.1") as port,
        AsyncExitStack() as stack,
    ):
        for _ in range(8):
            peer = await stack.enter_async_context(await Peer.connect(port))
            assert b"200" in await peer.ask()
        waiting = []
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 198.51.100.%d\r\nContent-Length: 5\r\n\r\n"
        for _ in range(4):
            peer = await stack.enter_async_context(await Peer.connect(port))
            peer.writer.write(head % 7)
            waiting.append(peer)
        limited = await stack.enter_async_context(await Peer.connect(port))
        assert b"429" in await limited.ask(head % 7)
        other = await stack.enter_async_context(await Peer.connect(port))
        assert b"200" in await other.ask(head % 8 + b"abcde")
        for peer in waiting:
            assert b"200" in await peer.ask(b"abcde")
