"""Hundreds of viewers that vanish while they are sent data: no traceback, and nothing is left behind."""

import asyncio
import logging

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.faults.conftest import Sites
from tests.support.eventually import eventually
from web.middleware.errors import errors_as_json


async def test_viewers_that_vanish_leave_no_traceback_in_the_log(
    sites: Sites, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    site = await sites({"door": "faulty://door?fps=60&width=640"}, record="never", frame_rate=60)
    port = site.client.port

    async def vanish() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /mjpeg/door HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.readuntil(b"image/jpeg")
        writer.transport.abort()

    for _ in range(5):
        await asyncio.gather(*(vanish() for _ in range(12)))
    await eventually(lambda: not site.gateway.service.camera("door").viewers, "all viewers have left")
    assert "Error handling request" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_viewer_that_vanishes_during_a_write_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """The transport is closing, and no callback has run yet. A busy loop makes that common."""

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a picture")
        assert request.transport is not None
        request.transport.abort()
        await response.write(b"another one")
        return response

    async def fault(_: web.Request) -> web.StreamResponse:
        raise ConnectionRefusedError("of somebody else's, with the client still there")

    app = web.Application(middlewares=[errors_as_json])
    app.router.add_get("/stream", stream)
    app.router.add_get("/fault", fault)
    async with TestClient(TestServer(app)) as client:
        with pytest.raises(aiohttp.ClientError):
            async with client.get("/stream") as reply:
                await reply.read()
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
        async with client.get("/fault") as reply:
            assert reply.status == 500
