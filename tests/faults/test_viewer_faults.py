"""Hundreds of viewers that vanish while they are sent data: no traceback, and nothing is left behind."""

import asyncio
import logging
import os
import random
import re
import socket
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.faults.conftest import Sites
from tests.support.auth_gateway import offered
from tests.support.eventually import eventually
from tests.support.fault_injection import ENGINE
from web.app import create_app
from web.gateway import GATEWAY
from web.middleware.errors import errors_as_json
from web.settings import load_settings


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


async def test_clients_that_leave_while_they_wait_leave_nothing_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Blocking reloads, parts that are awaited, an offer that waits for a camera, a recording that grows."""
    caplog.set_level(logging.WARNING)
    silent = socket.create_server(("127.0.0.1", 0))  # the kernel accepts, and nobody answers
    cameras = {
        "door": {"url": "faulty://door?fps=30", "engine": ENGINE, "record": "always"},
        "dark": {"url": f"rtsp://127.0.0.1:{silent.getsockname()[1]}/", "start": "on-demand", "capture_timeout": 1000},
    }
    values = {"webrtc_udp_port": 0, "archive_min_free_bytes": 0, "capture_linger": 0.0, "archive_segment_seconds": 60}
    app = create_app(load_settings(cameras=cameras, data_dir=tmp_path, **values))
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        gateway = app[GATEWAY]
        await eventually(lambda: gateway.live.stream("door").live_edge is not None, "there is a live edge")
        await eventually(lambda: gateway.archive.live_position("door") is not None, "it is recorded")
        async with aiohttp.ClientSession(f"http://{host}:{port}") as http:
            async with http.get("/hls/door/live.m3u8") as answer:
                playlist = await answer.text()
            async with http.get("/api/cameras/door/segments") as answer:
                segment = (await answer.json())["segments"][-1]["id"]
        sequence, _, _ = gateway.live.stream("door").live_edge or (0, 0, 0)
        hint = re.findall(r'PRELOAD-HINT:TYPE=PART,URI="([^"]+)"', playlist)[-1]
        async with offered() as sdp:
            heads = [
                f"GET /hls/door/live.m3u8?_HLS_msn={sequence + 1}&_HLS_part=0",
                f"GET /hls/door/{hint}",
                f"GET /archive/door/{segment}.mp4",
                f"POST /whep/dark\r\n{sdp}",
            ]

        async def leave(head: str) -> None:
            first, _, body = head.partition("\r\n")
            more = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n" if body else ""
            _, writer = await asyncio.open_connection(host, port)
            writer.write(f"{first} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n{body}".encode())
            await writer.drain()
            await asyncio.sleep(random.uniform(0.0, 0.1))
            writer.transport.abort()

        def open_now() -> tuple[int, int]:
            return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))

        before = open_now()
        for _ in range(4):
            await asyncio.gather(*(leave(head) for head in heads * 8))
        await eventually(lambda: not gateway.webrtc.viewers, "no viewer is left")
        await eventually(lambda: not gateway.service.camera("dark").viewers, "nobody holds the camera")
        await eventually(
            lambda: all(now <= then for now, then in zip(open_now(), before, strict=True)),
            "no task and no descriptor is left",
        )
        assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
    finally:
        await runner.cleanup()
        silent.close()
