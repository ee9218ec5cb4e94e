"""A gateway with authentication: tokens of every kind, and a clock that the test sets."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import socketio
from aiohttp import web
from aiohttp.test_utils import TestClient
from aiortc import RTCConfiguration, RTCPeerConnection

from tests.support.manual_clock import OffsetClock
from tests.support.serving import GatewayServer
from web.app import create_app
from web.auth.authenticator import Authenticator
from web.settings import load_settings

Client = TestClient[web.Request, web.Application]

ADMIN_TOKEN = "the-token-of-the-admin"

OFF: dict[str, Any] = {"auth_token": None, "auth": {}}
"""Settings that turn authentication off."""

TABLES: dict[str, dict[str, Any]] = {
    "door-view": {"token": "may-view-the-door", "scopes": ["view"], "cameras": ["door", "ghost"]},
    "door-control": {"token": "may-control-the-door", "scopes": ["control"], "cameras": ["door", "ghost"]},
    "door-ptz": {"token": "may-move-the-door", "scopes": ["ptz"], "cameras": ["door", "ghost"]},
    "door-talk": {"token": "may-talk-to-the-door", "scopes": ["talk"], "cameras": ["door", "ghost"]},
    "door-archive": {"token": "may-rewind-the-door", "scopes": ["archive"], "cameras": ["door", "ghost"]},
    "door-publish": {"token": "may-publish-the-door", "scopes": ["publish"], "cameras": ["door", "ghost"]},
    "yard-all": {
        "token": "may-all-of-the-yard",
        "scopes": ["view", "control", "archive", "publish", "ptz", "talk"],
        "cameras": ["yard"],
    },
    "all-view": {"token": "may-view-everything", "scopes": ["view"]},
}
"""There is no camera ``ghost``: an accepted request for it is answered 404 without waiting."""

DEMO = {"demo": {"url": "fake://demo?width=320&height=180&gop=5", "engine": "fake", "record": "never"}}
"""A camera with pictures."""

JWT_SECRET = "a-secret-of-thirty-two-bytes-and-more"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def authenticator(clock: OffsetClock | None = None, **values: Any) -> Authenticator:
    """An authenticator without a gateway."""
    return Authenticator(load_settings(**values), clock or OffsetClock())


async def close_failed(sio: socketio.AsyncClient) -> None:
    """Close a Socket.IO client whose connect failed. The library leaves its HTTP session open."""
    await sio.shutdown()
    if sio.eio.http is not None:
        await sio.eio.http.close()


@asynccontextmanager
async def offered() -> AsyncIterator[str]:
    """The SDP offer of a browser that wants to watch."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
        await peer.setLocalDescription(await peer.createOffer())
    try:
        yield peer.localDescription.sdp
    finally:
        await peer.close()


@asynccontextmanager
async def auth_gateway(folder: Path, clock: OffsetClock | None = None, **settings: Any) -> AsyncIterator[Client]:
    """A gateway with two scripted cameras, ``door`` and ``yard``. ``folder`` is its working directory."""
    cameras: Mapping[str, Any] = {
        camera_id: {
            "url": f"scripted://viewer:s3cret@camera/{folder.name}/{camera_id}",
            "engine": "tests.support.sources.scripted:ScriptedEngine",
            "start": "on-demand",
        }
        for camera_id in ("door", "yard")
    }
    values: dict[str, Any] = {
        "auth_token": ADMIN_TOKEN,
        "auth": {"tokens": TABLES},
        "cameras": cameras,
        "data_dir": folder / "data",
        "webrtc_udp_port": 0,
        "archive_min_free_bytes": 0,
    }
    with contextlib.chdir(folder):
        app = create_app(load_settings(**{**values, **settings}), clock or OffsetClock())
        async with TestClient(GatewayServer(app)) as client:
            yield client
