"""Two cameras with the Socket.IO server for browsers."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio
from aiohttp import web

from gateway.service import CaptureService
from gateway.status import LiveEdge
from gateway.webrtc.server import WebRtcServer
from signaling.browser import BrowserSignaling
from tests.support.ems import Ems
from tests.support.ems_gateway import CAMERA
from web.http_runner import http_runner
from web.settings import load_settings


class SignalingServer:
    """Two cameras, the server, and clients that are closed at the end."""

    def __init__(self, grace_s: float = 0.05, webrtc: WebRtcServer | None = None) -> None:
        self.settings = load_settings(frame_rate=20)
        self.service = CaptureService({name: self.settings.camera(name, CAMERA) for name in ("default", "yard")})
        self.browser = BrowserSignaling(
            self.settings,
            self.service,
            webrtc,
            live_edge=self._live_edge,
            grace_s=grace_s,
        )
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._clients: list[socketio.AsyncClient] = []

    def _live_edge(self, camera_id: str) -> LiveEdge | None:
        edge = self.service.status(camera_id).live_edge
        if edge is None or camera_id != "default":
            return None
        return edge.model_copy(update={"media_sequence": 7, "part": 3})

    async def start(self) -> None:
        app = web.Application()
        self.browser.attach(app)
        self._runner = http_runner(app, Counter(), shutdown_s=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def client(self, **options: Any) -> socketio.AsyncClient:
        """A connected client."""
        client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        self._clients.append(client)
        for event, handler in options.pop("on", {}).items():
            client.on(event, handler)
        await client.connect(self.url, wait_timeout=10, **options)
        return client

    async def close(self) -> None:
        # First: a client that polls cannot disconnect before its poll is answered.
        await self.browser.close()
        for client in self._clients:
            await client.disconnect()
        if self._runner is not None:
            await self._runner.cleanup()
        await self.service.close()


@pytest.fixture
async def server() -> AsyncIterator[SignalingServer]:
    server = SignalingServer()
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def ems() -> AsyncIterator[Ems]:
    async with Ems() as ems:
        yield ems
