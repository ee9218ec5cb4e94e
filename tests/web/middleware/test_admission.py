"""The order of what a request passes, and what is recorded of it."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from gateway.clock import SYSTEM_CLOCK
from tests.support.serving import GatewayServer
from web.auth.authenticator import Authenticator
from web.middleware.admission import Admission
from web.settings import load_settings

TOKEN = "the-token-of-the-admin"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}
FOREIGN = {"Origin": "https://evil.example"}
CODED = {"Content-Encoding": "gzip"}

ASKED = [
    ("GET", "/api/cameras", KNOWN, 200),
    ("GET", "/api/cameras", {}, 401),
    ("GET", "/api/cameras", CODED, 401),
    ("GET", "/api/cameras", KNOWN | CODED, 415),
    ("GET", "/api/cameras", KNOWN | CODED | {"Authorize-Only": "1"}, 204),
    ("GET", "/nowhere", {}, 404),
    ("GET", "/nowhere", {"Authorize-Only": "1"}, 404),
    ("DELETE", "/api/cameras", KNOWN, 405),
    ("GET", "/not-in-the-table", KNOWN, 403),
    ("POST", "/api/cameras", FOREIGN, 403),
    ("OPTIONS", "/api/cameras", {"Access-Control-Request-Method": "GET"}, 204),
    ("GET", "/api/status", KNOWN, 500),
    ("GET", "/", {}, 302),
]


async def test_each_request_is_recorded_with_its_status(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorded: list[tuple[str, str, int]] = []
    waiting = asyncio.Event()

    async def ok(_: web.Request) -> web.Response:
        return web.Response()

    async def fail(_: web.Request) -> web.Response:
        raise ZeroDivisionError

    async def move(_: web.Request) -> web.Response:
        raise web.HTTPFound("/elsewhere")

    async def wait(_: web.Request) -> web.Response:
        waiting.set()
        await asyncio.Event().wait()
        raise AssertionError

    settings = load_settings(data_dir=tmp_path, auth_token=TOKEN)
    admission = Admission(
        settings,
        Authenticator(settings, SYSTEM_CLOCK),
        Counter(),
        lambda request, status, _: recorded.append((request.method, request.path, status)),
    )
    app = web.Application(middlewares=[admission.middleware])
    handlers = {"/api/cameras": ok, "/not-in-the-table": ok, "/api/status": fail, "/": move, "/health": wait}
    for path, handler in handlers.items():
        app.router.add_get(path, handler)
    async with TestClient(GatewayServer(app)) as client:
        for method, path, headers, status in ASKED:
            async with client.request(method, path, headers=headers, allow_redirects=False) as answer:
                assert answer.status == status, (method, path, headers)
        assert recorded == [(method, path, status) for method, path, _, status in ASKED]
        assert "ZeroDivisionError" in caplog.text
        leaving = asyncio.create_task(client.get("/health"))
        await waiting.wait()
        leaving.cancel()
        await asyncio.wait([leaving])
        async with asyncio.timeout(60):
            while len(recorded) == len(ASKED):
                await asyncio.sleep(0.01)
    assert recorded[-1] == ("GET", "/health", 499)
