"""Connections that send nothing, and clients that open too many: real sockets against the real server."""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod

from tests.support.partial_app import admission_of
from tests.support.serving import serving
from web.middleware.connection_limiter import ConnectionLimiter, Use
from web.middleware.listener import Listener
from web.middleware.malformed import MalformedRequests
from web.settings import load_settings

OPEN_HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""A complete request, for a raw connection."""


@asynccontextmanager
async def listening(
    folder: Path,
    header_timeout_s: float = 60.0,
    unsafe_timeout_s: float = 60.0,
    keepalive_timeout_s: float = 60.0,
    refused: Counter[str] | None = None,
    **settings: object,
) -> AsyncIterator[int]:
    """Serve an app that answers ``ok`` and reads what is posted, behind the gateway's limits; gives its port."""
    values = load_settings(data_dir=folder, port=0, **settings)
    admission = admission_of(values, unsafe_timeout_s=unsafe_timeout_s)
    app = web.Application(middlewares=[admission.middleware])

    async def ok(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def read(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    app.router.add_get("/", ok)
    app.router.add_post("/api/sign", read)
    runner = web.AppRunner(app, shutdown_timeout=0.1, keepalive_timeout=keepalive_timeout_s)
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
        if b" 100 " in answer.partition(b"\r\n")[0]:
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


async def test_later_heads_of_a_connection_are_timed_too(tmp_path: Path) -> None:
    refused: Counter[str] = Counter()
    async with (
        listening(tmp_path, header_timeout_s=0.2, refused=refused) as port,
        await Peer.connect(port) as slow,
    ):
        assert b"200" in await slow.ask()
        await asyncio.sleep(0.4)
        assert b"200" in await slow.ask(), "without a byte the keep-alive timeout applies, not this one"
        slow.writer.write(OPEN_HEAD[:-1])
        assert await slow.ends()
    assert refused == {"header_timeout": 1}


async def test_a_head_pipelined_behind_a_request_is_timed(tmp_path: Path) -> None:
    async with listening(tmp_path, header_timeout_s=0.2) as port, await Peer.connect(port) as slow:
        assert b"200" in await slow.ask(OPEN_HEAD * 3 + b"GET / HT")
        assert b"200" in await slow.ask(b"")
        assert b"200" in await slow.ask(b"TP/1.1\r\n")
        assert await slow.ends()


async def test_an_idle_connection_ends_after_the_keep_alive_timeout(tmp_path: Path) -> None:
    async with listening(tmp_path, keepalive_timeout_s=0.2) as port, await Peer.connect(port) as idle:
        assert b"200" in await idle.ask()
        assert await idle.ends()


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n",
        b"POST /api/sign HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nabcde",
        b"POST /api/sign HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
    ],
)
async def test_other_forms_of_requests_are_answered_and_timed_alike(tmp_path: Path, head: bytes) -> None:
    async with (
        listening(tmp_path, header_timeout_s=0.3, keepalive_timeout_s=0.3) as port,
        await Peer.connect(port) as peer,
    ):
        assert b"200" in await peer.ask(head)
        assert await peer.ends()


async def test_a_chunked_body_that_drips_is_answered_408_and_closed(tmp_path: Path) -> None:
    async with listening(tmp_path, unsafe_timeout_s=0.2) as port, await Peer.connect(port) as peer:
        peer.writer.write(b"POST /api/sign HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = asyncio.ensure_future(peer.ask(b""))
        while not answer.done():
            peer.writer.write(b"1\r\nx\r\n")
            await asyncio.sleep(0.02)
        assert b"408" in answer.result()


async def test_a_head_may_arrive_in_single_bytes(tmp_path: Path) -> None:
    async with listening(tmp_path) as port, await Peer.connect(port) as slow:
        for byte in OPEN_HEAD:
            slow.writer.write(bytes([byte]))
            await slow.writer.drain()
        assert b"200" in await slow.ask(b"")
        assert b"200" in await slow.ask(), "the connection stays open"


async def test_the_header_timeout_does_not_limit_the_body(tmp_path: Path) -> None:
    async with listening(tmp_path, header_timeout_s=0.2) as port, await Peer.connect(port) as peer:
        peer.writer.write(b"POST /api/sign HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab")
        await asyncio.sleep(0.4)
        assert b"200" in await peer.ask(b"cde")


async def test_a_body_that_never_ends_is_answered_408(tmp_path: Path) -> None:
    async with listening(tmp_path, unsafe_timeout_s=0.2) as port, await Peer.connect(port) as peer:
        assert b"408" in await peer.ask(b"POST /api/sign HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab")


async def test_idle_connections_of_an_address_give_way_to_new_ones(tmp_path: Path) -> None:
    refused: Counter[str] = Counter()
    async with (
        listening(tmp_path, connections_per_address=4, refused=refused) as port,
        AsyncExitStack() as stack,
    ):
        used = await stack.enter_async_context(await Peer.connect(port))
        assert b"200" in await used.ask()
        silent = [await stack.enter_async_context(await Peer.connect(port)) for _ in range(20)]
        for peer in silent[:-3]:
            assert await peer.ends(), "the longest silent give way first"
        assert b"200" in await silent[-1].ask()
        assert b"200" in await used.ask(), "those that have made a request give way last"
    assert refused == {"evicted": 17}


async def test_connections_with_an_open_request_are_kept_and_further_ones_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refused: Counter[str] = Counter()
    async with (
        listening(tmp_path, connections_per_address=4, refused=refused) as port,
        AsyncExitStack() as stack,
    ):
        peers = [await stack.enter_async_context(await Peer.connect(port)) for _ in range(4)]
        for peer in peers:
            peer.writer.write(b"POST /api/sign HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab")
            await peer.writer.drain()
        await asyncio.sleep(0.05)
        for _ in range(5):
            assert await (await stack.enter_async_context(await Peer.connect(port))).ends()
        assert "too many connections from 127.0.0.1" in {each.getMessage() for each in caplog.records}
        for peer in peers:
            assert b"200" in await peer.ask(b"cde")
        another = await stack.enter_async_context(await Peer.connect(port))
        assert b"200" in await another.ask()
    assert refused["connections"] == 5


async def test_the_client_with_the_most_connections_makes_room_for_another(tmp_path: Path) -> None:
    values = load_settings(data_dir=tmp_path, connections_max=10)
    refused: Counter[str] = Counter()
    limiter = ConnectionLimiter(values, refused, lambda: 10)
    many = [Connection("2001:db8::/64", idle_s=n) for n in range(5)]
    others = [Connection(f"198.51.100.{n}", idle_s=-1.0) for n in range(5)]
    for each in many + others:
        limiter.add(each)
    assert not any(each.is_aborted for each in many)
    assert limiter.accepts("203.0.113.9")
    assert [each.is_aborted for each in many] == [True, False, False, False, False]
    assert not any(each.is_aborted for each in others)
    limiter.add(Connection("203.0.113.9", idle_s=0.0))
    limiter.reload(load_settings(data_dir=tmp_path, connections_per_address=4))
    assert limiter.accepts("2001:db8::77"), "the addresses of one /64 are one client"
    assert [each.is_aborted for each in many] == [True, True, False, False, False]
    assert refused == {"evicted": 2}


async def test_answered_requests_whose_body_never_comes_give_way(tmp_path: Path) -> None:
    async with listening(tmp_path, connections_per_address=4) as port, AsyncExitStack() as stack:
        lingering = [await stack.enter_async_context(await Peer.connect(port)) for _ in range(4)]
        for peer in lingering:
            assert b"404" in await peer.ask(b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        another = await stack.enter_async_context(await Peer.connect(port))
        assert b"200" in await another.ask()
        assert await lingering[0].ends()


WAITING = {
    "a poll of Socket.IO": b"GET /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a wrong token": b"GET /api/cameras HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong-%s\r\n\r\n",
}


@pytest.mark.parametrize("head", WAITING.values(), ids=WAITING)
async def test_connections_without_a_credential_give_way_to_others(tmp_path: Path, head: bytes) -> None:
    """Those that wait for something without having shown a credential. A viewer with one stays."""
    token = "the-token-of-the-admin"
    values = load_settings(data_dir=tmp_path, port=0, auth_token=token, connections_max=10, webrtc_udp_port=0)
    bearer = b"GET /%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token.encode() + b"\r\n\r\n"
    async with serving(values) as site, AsyncExitStack() as stack:

        async def connect() -> Peer:
            return await stack.enter_async_context(await Peer.connect(site.port))

        viewer = await connect()
        viewer.writer.write(bearer % b"mjpeg/demo")
        await viewer.reader.readuntil(b"image/jpeg")
        for _ in range(4):
            opening = await connect()
            opening.writer.write(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n\r\n")
            session = re.search(rb'"sid":"([^"]+)"', await opening.reader.readuntil(b"}"))
            assert session is not None
            opening.writer.write(head % session[1])
            await asyncio.sleep(0.01)
        assert site.listener.connections == 5
        another = await connect()
        assert b"200" in await another.ask(bearer % b"api/cameras")
        await viewer.reader.readuntil(b"image/jpeg")


async def test_where_all_are_busy_the_client_with_the_most_makes_room(tmp_path: Path) -> None:
    values = load_settings(data_dir=tmp_path, connections_max=8, trusted_proxies="192.0.2.1")
    limiter = ConnectionLimiter(values, Counter(), lambda: 8)
    many = [Connection("198.51.100.1", n, Use.BUSY) for n in range(3)]
    proxied = [Connection("192.0.2.1", n, Use.WITHOUT_CREDENTIAL) for n in range(4)]
    assert limiter.accepts("192.0.2.1")
    for each in (*many, *proxied, Connection("198.51.100.2", 0, Use.BUSY)):
        limiter.add(each)
    assert limiter.accepts("198.51.100.3")
    limiter.add(Connection("198.51.100.3", 0, Use.BUSY))
    assert [each.is_aborted for each in many] == [False, False, True], "its newest one"
    assert not any(each.is_aborted for each in proxied), "a proxy has many clients"
    assert not limiter.accepts("198.51.100.3"), "nobody has more than one more than it would have"
    assert limiter.accepts("192.0.2.1"), "of whose clients nobody knows how many connections they have"


class Connection:
    """A connection without a socket."""

    def __init__(self, network: str, idle_s: float, use: Use = Use.BETWEEN_REQUESTS) -> None:
        self.network = network
        self.use = (use, idle_s)
        self.is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


async def test_requests_through_a_trusted_proxy_count_for_its_clients(tmp_path: Path) -> None:
    async with (
        listening(tmp_path, connections_per_address=4, trusted_proxies="127.0.0.1") as port,
        AsyncExitStack() as stack,
    ):
        for _ in range(8):
            peer = await stack.enter_async_context(await Peer.connect(port))
            assert b"200" in await peer.ask()
        waiting = []
        head = (
            b"POST /api/sign HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 198.51.100.%d\r\nContent-Length: 5\r\n\r\n"
        )
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


def test_a_request_that_is_not_http_is_counted_and_leaves_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    refused: Counter[str] = Counter()
    log = logging.getLogger("tests.http")
    malformed = MalformedRequests(refused)
    log.addFilter(malformed)
    try:
        for error in (BadHttpMethod("\x16\x03"), KeyError("camera")):
            try:
                raise error
            except (BadHttpMethod, KeyError):
                log.exception("Error handling request from 192.0.2.1")
    finally:
        log.removeFilter(malformed)
    assert refused == {"malformed": 1}
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [KeyError]
