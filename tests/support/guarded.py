"""A gateway with its door shut: tokens of every kind, and a clock in the hand."""

import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiortc import RTCConfiguration, RTCPeerConnection

from web.app import create_app
from web.auth.authenticator import Authenticator
from web.settings import load_settings

Client = TestClient[web.Request, web.Application]

ADMIN_TOKEN = "the-token-of-the-admin"

OFF: dict[str, Any] = {"auth_token": None, "auth": {}}
"""Nobody is asked."""

TABLES: dict[str, dict[str, Any]] = {
    "door-view": {"token": "may-view-the-door", "scopes": ["view"], "cameras": ["door", "ghost"]},
    "door-control": {"token": "may-control-the-door", "scopes": ["control"], "cameras": ["door", "ghost"]},
    "door-archive": {"token": "may-rewind-the-door", "scopes": ["archive"], "cameras": ["door", "ghost"]},
    "yard-all": {"token": "may-all-of-the-yard", "scopes": ["view", "control", "archive"], "cameras": ["yard"]},
    "all-view": {"token": "may-view-everything", "scopes": ["view"]},
}
"""Camera ``ghost`` is none: what is let in there finds nothing, and waits for nothing."""

DEMO = {"demo": {"url": "fake://demo?width=320&height=180&gop=5", "engine": "fake", "record": "never"}}
"""A camera that gives pictures."""

JWT_SECRET = "a-secret-of-thirty-two-bytes-and-more"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class HandClock:
    """Real until it is moved."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def wall_90k(self) -> int:
        return int((time.time() + self.ahead_s) * 90_000)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s


def authenticator(clock: HandClock | None = None, **values: Any) -> Authenticator:
    """The authenticator alone."""
    return Authenticator(load_settings(**values), clock or HandClock())


@asynccontextmanager
async def offered() -> AsyncIterator[str]:
    """A browser's offer to watch."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
        await peer.setLocalDescription(await peer.createOffer())
    yield peer.localDescription.sdp
    await peer.close()


@asynccontextmanager
async def guarded(folder: Path, clock: HandClock | None = None, **settings: Any) -> AsyncIterator[Client]:
    """A gateway with two scripted cameras ``door`` and ``yard``; in ``folder``, the working directory meanwhile."""
    cameras: Mapping[str, Any] = {
        camera_id: {
            "url": f"scripted://viewer:s3cret@camera/{folder.name}/{camera_id}",
            "engine": "tests.support.scripted:ScriptedEngine",
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
        app = create_app(load_settings(**{**values, **settings}), clock or HandClock())
        async with TestClient(TestServer(app)) as client:
            yield client
