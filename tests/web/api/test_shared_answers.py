"""Answers that many clients get: they are what each would have got alone."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from tests.support.serving import GatewayServer
from web.api import shared_answers
from web.api.shared_answers import SharedAnswers
from web.middleware.cors import Cors
from web.middleware.security_headers import SecurityHeaders
from web.settings import Settings, load_settings

Client = TestClient[web.Request, web.Application]

PAGE, OTHER = "https://page.example", "https://other.example"

HEADERS = (("Content-Type", "video/mp4"), ("Vary", "Accept-Encoding"), ("Cache-Control", "public, max-age=9"))

BODY = b"moof" * 50_000

LARGE = bytes(shared_answers.VIEW_MAX_BYTES + 1)


class Answering:
    """``/shared`` and ``/alone`` answer the same, one of them with :class:`SharedAnswers`. Others are views."""

    def __init__(self, settings: Settings) -> None:
        self.answers = SharedAnswers()
        refused: Counter[str] = Counter()
        self.cors, self.security = Cors(settings, refused), SecurityHeaders(settings)
        self.app = web.Application()
        self.app.on_response_prepare.extend([self.security.on_prepare, self.cors.on_prepare])
        self.app.router.add_get("/shared", self.shared)
        self.app.router.add_get("/alone", self.alone)
        self.app.router.add_get("/{name}", self.view)

    async def shared(self, request: web.Request) -> web.StreamResponse:
        return self.answers.answer(request, BODY, HEADERS)

    async def view(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        return self.answers.answer(request, memoryview(LARGE if name == "large-view" else name.encode()), HEADERS)

    async def alone(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=BODY, headers=HEADERS)


def settings_with(*origins: str, has_auth: bool = True) -> Settings:
    return load_settings(cors_origins=origins, auth_token="t" * 32 if has_auth else None)


@pytest.fixture(params=[True, False], ids=["auth", "no auth"])
async def answering(empty_place: None, request: pytest.FixtureRequest) -> Answering:
    return Answering(settings_with(PAGE, has_auth=request.param))


@pytest.fixture
async def client(answering: Answering) -> AsyncIterator[Client]:
    async with TestClient(GatewayServer(answering.app)) as client:
        yield client


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """All within one second, so that every answer but the first is a kept one."""
    now_s = time.time()
    monkeypatch.setattr("web.api.shared_answers.time.time", lambda: now_s)


async def raw(client: Client, head: str) -> tuple[str, dict[str, str], bytes]:
    """The status line, the headers and the body of the answer to a head, on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(f"{head}\r\nHost: localhost\r\n\r\n".encode())
    async with asyncio.timeout(60):
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        assert len(headers) == len(lines), "a header occurs twice"
        body = await reader.readexactly(int(headers["Content-Length"])) if not head.startswith("HEAD") else b""
    writer.close()
    assert parsedate_to_datetime(headers.pop("Date")).timestamp() == pytest.approx(time.time(), abs=10)
    return status, headers, body


REQUESTS = {
    "plain": "GET {} HTTP/1.1",
    "allowed origin": f"GET {{}} HTTP/1.1\r\nOrigin: {PAGE}",
    "other origin": f"GET {{}} HTTP/1.1\r\nOrigin: {OTHER}",
    "HEAD": "HEAD {} HTTP/1.1",
    "HTTP/1.0": "GET {} HTTP/1.0",
    "HTTP/1.0 kept open": "GET {} HTTP/1.0\r\nConnection: keep-alive",
    "closed": "GET {} HTTP/1.1\r\nConnection: close",
}


async def test_a_shared_answer_is_what_a_response_of_its_own_would_be(client: Client, one_second: None) -> None:
    for _ in range(2):
        for name, head in REQUESTS.items():
            shared, alone = await raw(client, head.format("/shared")), await raw(client, head.format("/alone"))
            assert shared == alone, name
            assert shared[2] == (b"" if name == "HEAD" else BODY)


async def test_requests_in_one_packet_are_all_answered(client: Client, one_second: None) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(b"GET /shared HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
    async with asyncio.timeout(60):
        for _ in range(3):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
            assert await reader.readexactly(len(BODY)) == BODY
    writer.close()


async def test_a_client_that_reads_nothing_keeps_no_other_waiting(client: Client, one_second: None) -> None:
    _, idle = await asyncio.open_connection("127.0.0.1", client.port, limit=1)
    idle.write(b"GET /shared HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
    async with asyncio.timeout(60):
        for _ in range(20):
            assert await (await client.get("/shared")).read() == BODY
    idle.transport.abort()


async def test_other_settings_and_another_second_make_another_answer(
    answering: Answering, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = time.time() // 1
    monkeypatch.setattr("web.api.shared_answers.time.time", lambda: now_s)

    async def get() -> tuple[str | None, float]:
        answer = await client.get("/shared", headers={"Origin": OTHER})
        sent_at = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        return answer.headers.get("Access-Control-Allow-Origin"), sent_at

    assert await get() == (None, now_s)
    answering.cors.reload(settings_with(OTHER))
    answering.answers.reload(settings_with(OTHER))
    assert await get() == (OTHER, now_s)
    now_s += 1
    assert await get() == (OTHER, now_s)


async def test_what_is_kept_is_bounded(client: Client, answering: Answering, one_second: None) -> None:
    for number in range(shared_answers.ANSWERS_MAX + 10):
        answer = await client.get("/shared", headers={"Origin": f"https://{number}.example"})
        assert len(await answer.read()) == len(BODY)
    assert len(answering.answers) == shared_answers.BYTES_MAX // len(BODY) < shared_answers.ANSWERS_MAX


async def test_views_are_shared_by_their_path(client: Client, answering: Answering, one_second: None) -> None:
    for _ in range(2):
        for name in ("view-1", "view-2"):
            assert await (await client.get(f"/{name}")).read() == name.encode()
    assert len(answering.answers) == 2
    assert await (await client.get("/large-view")).read() == LARGE
    assert len(answering.answers) == 2, "it is not copied"
