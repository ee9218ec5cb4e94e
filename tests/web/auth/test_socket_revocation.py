"""When a token ends, what it opened over Socket.IO is closed, with the reason."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
import socketio
from socketio.exceptions import ConnectionError as Refused

from tests.support.auth_gateway import (
    ADMIN_TOKEN,
    DEMO,
    JWT_SECRET,
    OFF,
    Client,
    auth_gateway,
    close_failed,
    offered,
)
from tests.support.eventually import eventually
from tests.support.manual_clock import OffsetClock
from web.auth.authenticator import AUTHENTICATOR
from web.auth.jwt import LEEWAY_S
from web.gateway import GATEWAY
from web.settings import load_settings

REVOKED_TOKEN = "the-token-of-a-client-who-leaves"

DEMOS = dict.fromkeys(("demo", "demo2"), DEMO["demo"])


def tables(cameras: list[str] | None = None, *scopes: str) -> dict[str, Any]:
    return {
        "tokens": {
            "revoked": {"token": REVOKED_TOKEN, "scopes": [*(scopes or ("view", "control"))], "cameras": cameras}
        }
    }


def reload(client: Client, **values: Any) -> None:
    assert client.app is not None
    client.app[AUTHENTICATOR].reload(load_settings(**{"auth_token": ADMIN_TOKEN, **values}))


class SocketClient:
    """A connected client, and the events that it received."""

    def __init__(self) -> None:
        self.sio = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        self.ended: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.frames: dict[str, int] = {}
        self.sio.on("access_ended", self.ended.put)
        self.sio.on("disconnect", lambda *_: self.gone.set())
        self.sio.on("video_frame_from_service", self._on_frame)

    def _on_frame(self, data: dict[str, Any]) -> None:
        camera_id = data["metadata"]["camera_id"]
        self.frames[camera_id] = self.frames.get(camera_id, 0) + 1

    async def call(self, event: str, **data: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.sio.call(event, data, timeout=20)
        return answer

    async def seen(self, camera_id: str) -> None:
        """Wait for another frame of a camera."""
        before = self.frames.get(camera_id, 0)
        await eventually(lambda: self.frames.get(camera_id, 0) != before, "a frame arrives")


@asynccontextmanager
async def connected(
    client: Client, token: str | None = REVOKED_TOKEN, transport: str = "websocket"
) -> AsyncIterator[SocketClient]:
    socket = SocketClient()
    auth = {"token": token} if token is not None else None
    try:
        await socket.sio.connect(str(client.make_url("/")), auth=auth, transports=[transport])
    except BaseException:
        await close_failed(socket.sio)
        raise
    yield socket
    await socket.sio.disconnect()


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_revoked_connection_gets_the_reason_and_is_closed(tmp_path: Path, transport: str) -> None:
    async with (
        auth_gateway(tmp_path, cameras=DEMOS, auth=tables()) as client,
        connected(client, transport=transport) as socket,
        connected(client, ADMIN_TOKEN) as admin,
    ):
        assert (await socket.call("frames_subscribe", camera_id="demo")).get("camera_id") == "demo"
        await socket.seen("demo")
        reload(client)
        async with asyncio.timeout(60):
            told = await socket.ended.get()
            assert told == {"error": "unauthorized", "message": "this token is unknown, or was revoked"}
            await socket.gone.wait()
        with pytest.raises(Refused):
            async with connected(client):
                pass
        assert "state" in await admin.call("capture_status_request", requesting_client="admin")
        assert client.app is not None
        camera = client.app[GATEWAY].service.camera("demo")
        await eventually(lambda: not camera.viewers, "all viewers have left")


async def test_a_connection_is_closed_when_its_jwt_expires(tmp_path: Path) -> None:
    clock = OffsetClock()
    async with auth_gateway(tmp_path, clock, auth_jwt_secret=JWT_SECRET) as client:
        token = jwt.encode({"exp": time.time() + 600, "scope": "view"}, JWT_SECRET, "HS256")
        async with connected(client, token) as socket:
            assert client.app is not None
            await client.app[AUTHENTICATOR].sessions.check()
            assert socket.ended.empty()
            clock.ahead_s = 601 + LEEWAY_S
            async with asyncio.timeout(60):
                assert (await socket.ended.get())["error"] == "unauthorized"
                await socket.gone.wait()


async def test_turning_auth_on_closes_connections_without_a_token(tmp_path: Path) -> None:
    async with (
        auth_gateway(tmp_path, **OFF) as client,
        connected(client, None) as socket,
        connected(client, REVOKED_TOKEN) as known,
    ):
        reload(client, auth=tables())
        async with asyncio.timeout(60):
            assert (await socket.ended.get())["error"] == "unauthorized"
            await socket.gone.wait()
        assert "state" in await known.call("capture_status_request", requesting_client="known")


async def test_only_what_the_token_no_longer_allows_is_closed(tmp_path: Path) -> None:
    async with (
        offered() as offer,
        auth_gateway(tmp_path, cameras=DEMOS, auth=tables()) as client,
        connected(client) as socket,
    ):
        assert client.app is not None
        webrtc = client.app[GATEWAY].webrtc
        for camera_id in DEMOS:
            assert "sdp" in await socket.call("webrtc_offer", client_id=camera_id, camera_id=camera_id, sdp=offer)
            await socket.call("frames_subscribe", camera_id=camera_id)
            await socket.seen(camera_id)
        gone = next(viewer for viewer in webrtc.viewers.values() if viewer.camera_id == "demo")
        reload(client, auth=tables(["demo2"]))
        async with asyncio.timeout(60):
            told = await socket.ended.get()
        assert (told["camera_id"], told["error"]) == ("demo", "forbidden")
        assert "scope view over camera 'demo'" in told["message"]
        async with asyncio.timeout(60):
            await gone.closed.wait()
        assert "scope view" in (gone.reason or "")
        assert [viewer.camera_id for viewer in webrtc.viewers.values()] == ["demo2"]
        await socket.seen("demo2")
        before = socket.frames["demo"]
        await socket.seen("demo2")
        assert socket.frames["demo"] == before
        # The new permissions apply at once, to the events of a camera and to commands.
        assert (await socket.call("frames_subscribe", camera_id="demo"))["error"] == "forbidden"
        assert (await socket.call("capture_start_request", client_id="c", metadata={"camera_id": "demo2"})).get("state")
        reload(client, auth=tables(["demo2"], "view"))
        refused = await socket.call("capture_start_request", client_id="c", metadata={"camera_id": "demo2"})
        for _ in range(100):
            if refused.get("error") == "forbidden":
                break
            await asyncio.sleep(0.05)
            refused = await socket.call("capture_start_request", client_id="c", metadata={"camera_id": "demo2"})
        assert refused["error"] == "forbidden"
        assert not socket.gone.is_set()
        # A viewer lives on without its signaling, but not without its right.
        await socket.sio.disconnect()
        assert webrtc.viewers
        reload(client)
        await eventually(lambda: not webrtc.viewers, "all viewers have left")
        assert not client.app[AUTHENTICATOR].sessions.active


async def test_a_client_that_does_not_read_is_closed_too(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path, auth=tables()) as client, connected(client) as socket:
        assert client.app is not None
        transport = socket.sio.eio.ws._response.connection.transport
        transport.pause_reading()
        reload(client)
        await eventually(lambda: not client.app[GATEWAY].browser.status().clients, "all clients have disconnected")
        transport.resume_reading()
