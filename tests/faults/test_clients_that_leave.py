"""Every route, and clients that leave in the middle of it: no error in the log, and nothing stays held.

The test takes the routes from the router, so that a new one is tried as soon as it exists. A new path parameter needs a
value in :func:`path_values`, a new required query parameter one in :func:`of_every_route`.
"""

import asyncio
import contextlib
import json
import logging
import os
import random
import re
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import hdrs, web
from aiohttp.test_utils import TestClient, TestServer

from gateway.clock import CLOCK_RATE
from gateway.webrtc import media_transport
from hls.live import stream
from signaling import socket_server
from tests.support.auth_gateway import ADMIN_TOKEN, bearer, offered
from tests.support.eventually import eventually
from tests.support.fault_injection import ENGINE, FILLER
from tests.support.partial_app import errors_as_json
from tests.support.recording import index_of, record
from tests.support.serving import Serving, serving
from tests.support.sources.packets import START_90K, PacketSource
from tests.support.webhook_receiver import SECRET
from web.api.describe import description_of
from web.auth.authenticator import AUTHENTICATOR
from web.auth.viewer_ownership import VIEWER_OWNERSHIP
from web.settings import load_settings

HUGE_FRAMES, HUGE_FRAME_BYTES = 40, 512 * 1024
"""A recording of 20 MB: more than sockets take, so that the gateway waits for its client."""

LEAVE_S = 20.0
"""How long it may take until nothing is left of a client; see :mod:`tests.support.eventually`."""

PATIENCE_S = 0.25
"""How long a client waits for an answer that may not come."""

BODIES: Mapping[tuple[str, str], object] = {
    ("POST", "/api/cameras"): {
        "camera_id": "new",
        "url": "rtsp://127.0.0.1:1/",
        "start": "on-demand",
        "record": "never",
    },
    ("PATCH", "/api/cameras/{camera}"): {"frame_rate": 5},
    ("POST", "/api/events"): {"camera_id": "door", "label": "cat"},
    ("PATCH", "/api/events/{event}"): {"reviewed": True},
    ("PATCH", "/api/cameras/{camera}/viewers/{viewer}"): {"rendition": "main"},
    ("POST", "/api/sign"): {"path": "/mjpeg/door"},
    ("POST", "/api/exports"): {"cameras": ["door"], "start": "2026-11-22T18:50:00Z", "end": "now"},
    ("POST", "/api/evidence/verify"): {"sha256": "00" * 32},
    ("PUT", "/api/walls/{wall}"): {"name": "Gates", "tiles": [{"camera_id": "door", "rendition": "auto"}]},
}
"""JSON of requests that are accepted."""


class Leave(Enum):
    """How a client leaves."""

    BEFORE_THE_REQUEST_IS_COMPLETE = auto()
    AFTER_THE_REQUEST = auto()
    WHILE_IT_WAITS = auto()
    WITHIN_THE_ANSWER = auto()
    BETWEEN_TWO_REQUESTS = auto()
    """It has sent a second request, and leaves within the answer to the first."""
    HALF = auto()
    """It closes its sending side (FIN) and goes on to read, until it leaves."""


@dataclass(frozen=True)
class Request:
    """What a client sends."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: bearer(ADMIN_TOKEN))

    @property
    def encoded(self) -> bytes:
        headers = {"Host": "127.0.0.1", "Content-Length": str(len(self.body)), **self.headers}
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body

    @property
    def most_of_it(self) -> bytes:
        return self.encoded[: -max(2, len(self.body) // 2)]


async def visit(port: int, request: Request, leave: Leave, *, is_reset: bool) -> None:
    """Send a request and leave, with ``is_reset`` by RST, as programs do that crash."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    if leave is Leave.BEFORE_THE_REQUEST_IS_COMPLETE:
        writer.write(request.most_of_it)
        await asyncio.sleep(random.uniform(0.0, 0.02))
    else:
        writer.write(request.encoded * (2 if leave is Leave.BETWEEN_TWO_REQUESTS else 1))
    if leave is Leave.WHILE_IT_WAITS:
        await asyncio.sleep(random.uniform(0.0, 0.05))
    if leave is Leave.HALF:
        writer.write_eof()
    if leave in (Leave.WITHIN_THE_ANSWER, Leave.BETWEEN_TWO_REQUESTS, Leave.HALF):
        with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            async with asyncio.timeout(PATIENCE_S):
                await reader.readuntil(b"\r\n\r\n")
                await reader.read(1)
    if is_reset:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


# --- the gateway


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a camera that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
async def site(tmp_path: Path, silent: int, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serving]:
    """A gateway with cameras that play (``door``), do not answer (``dark``), have a large recording (``huge``)."""
    # After so long, what has no connection ends: a viewer that has no transport yet, a Socket.IO client that polls,
    # the viewers of a playlist.
    monkeypatch.setattr(media_transport, "CONNECT_TIMEOUT_S", 0.5)
    monkeypatch.setattr(socket_server, "JOIN_S", 0.5)
    monkeypatch.setattr(stream, "HOLD_S", 0.5)
    source = PacketSource()
    packets = [
        replace(each, data=each.data + FILLER[:5] + b"\xff" * HUGE_FRAME_BYTES) for each in source.frames(HUGE_FRAMES)
    ]
    index_of(tmp_path, record(tmp_path, packets, "huge")).close()
    door = {"url": "faulty://door?fps=30", "sub_url": "faulty://sub?fps=30&width=80", "engine": ENGINE}
    away = {"url": f"rtsp://127.0.0.1:{silent}/"}
    cameras = {
        "door": {**door, "record": "always"},
        **dict.fromkeys(("dark", "huge", "spare"), away),
    }
    values: dict[str, Any] = {
        "port": 0,
        "webrtc_udp_port": 0,
        "archive_min_free_bytes": 0,
        "capture_linger": 0.0,
        "record": "never",
        "start": "on-demand",
        "connection_retry_attempts": 1000,
        "connections_per_address": 1000,
        "auth_token": ADMIN_TOKEN,
        "webhooks": {"home": {"url": "http://127.0.0.1/", "secret": SECRET, "events": "disk.low"}},
    }
    async with serving(load_settings(cameras=cameras, data_dir=tmp_path, **values)) as site:
        live, archive = site.gateway.live, site.gateway.archive
        await eventually(lambda: live.stream("door").live_edge is not None, "there is a live edge")
        await eventually(lambda: archive.live_position("door") is not None, "it is recorded")
        yield site


async def path_values(http: aiohttp.ClientSession, offer: str) -> dict[str, str]:
    """A value for each path parameter of the routes."""
    async with http.get("/hls/door/live.m3u8") as answer:
        playlist = await answer.text()
    async with http.get("/api/cameras/door/segments") as answer:
        segment = (await answer.json())["segments"][-1]["id"]

    async def inits() -> list[str]:
        async with http.get("/hls/door/dvr.m3u8?rendition=main") as answer:
            return re.findall(r"init-([^.]+)\.mp4", await answer.text())

    event = {"camera_id": "door", "label": "dog", "duration_s": 1}
    async with http.post("/api/events", json=event) as answer:
        event_id = (await answer.json())["id"]
    async with http.post("/whep/door", data=offer, headers={"Content-Type": "application/sdp"}) as answer:
        viewer = answer.headers["Location"].rpartition("/")[2]
    return {
        "camera": "door",
        "segment": segment,
        "init": (await eventually(inits, "the recording has a playlist"))[-1],
        "event": event_id,
        "viewer": viewer,
        "publisher": "nobody",
        "talker": "nobody",
        "file": "player.js",
        "webhook": "home",
        "wall": "gates",
        "id": "nothing",
        "subscription": "nobody",
        "export": "nobody",
        "name": re.findall(r'PRELOAD-HINT:TYPE=PART,URI="([^"]+)"', playlist)[-1],
    }


async def of_every_route(site: Serving, http: aiohttp.ClientSession, offer: str) -> list[Request]:
    """A request for each route. Those that delete come last."""
    filled = await path_values(http, offer)
    now_s = site.gateway.clock.wall_90k() / CLOCK_RATE
    today = datetime.fromtimestamp(now_s, UTC).date().isoformat()
    query = {"start": str(now_s - 2), "end": "now", "time": str(now_s - 1), "first": today, "last": today}
    query["wanted"] = "{}"  # between the nodes of a cluster
    requests = []
    for route in site.app.router.routes():
        assert route.resource is not None
        path, description = route.resource.canonical, description_of(route.handler)
        method = "GET" if route.method == hdrs.METH_ANY else route.method
        deletes_camera = (method, path) == ("DELETE", "/api/cameras/{camera}")
        made = path.format(**filled | ({"camera": "spare"} if deletes_camera else {}))
        headers, body = bearer(ADMIN_TOKEN), b""
        if description is not None:
            asked = {name: query[name] for name, parameter in description.query.items() if parameter.required}
            made += f"?{urlencode(asked)}" if asked else ""
            for kind in description.body:
                is_json = kind.endswith("json")
                body = json.dumps(BODIES.get((method, path), {})).encode() if is_json else offer.encode()
                headers = headers | {"Content-Type": kind}
        else:
            assert path == "/socket.io/", f"{method} {path} has no @describe"
            made += "?EIO=4&transport=polling"
        requests.append(Request(method, made, body, headers))
    return sorted(requests, key=lambda each: each.method == hdrs.METH_DELETE)


async def of_long_answers(site: Serving, http: aiohttp.ClientSession, offer: str) -> list[Request]:
    """Requests whose handlers wait, stream, or send more than sockets take."""
    sequence, _, _ = site.gateway.live.stream("door").live_edge or (0, 0, 0)
    async with http.get("/api/cameras/huge/segments") as answer:
        huge = (await answer.json())["segments"][0]["id"]
    start_s = START_90K // CLOCK_RATE
    sdp = {"Content-Type": "application/sdp"} | bearer(ADMIN_TOKEN)
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    ranges = {"Range": "bytes=0-5000000,9000000-15000000"} | bearer(ADMIN_TOKEN)
    paths = [
        f"/hls/door/live.m3u8?_HLS_msn={sequence + 1}&_HLS_part=0",
        f"/hls/door/live.m3u8?_HLS_msn={sequence + 2}",
        "/hls/dark/index.m3u8",
        "/hls/dark/live.m3u8",
        "/mjpeg/dark",
        "/snapshot/dark.jpg",
        "/mjpeg/door?frame_rate=0.2",
        f"/mjpeg/huge?at={start_s}",
        f"/snapshot/huge.jpg?at={start_s + 2}",
        f"/archive/huge/{huge}.mp4",
        f"/archive/huge/{huge}.jpg",
        f"/api/cameras/huge/clip.mp4?start={start_s}&end={start_s + 10}",
        f"/hls/huge/dvr.m3u8?start={start_s}",
        "/api/events/stream?last_event_id=unknown",
    ]
    return [
        *(Request("GET", path) for path in paths),
        Request("GET", f"/archive/huge/{huge}.mp4", headers=ranges),
        Request("POST", "/whep/dark?wait=8", offer.encode(), sdp),
        Request("GET", "/socket.io/?EIO=4&transport=websocket", headers=upgrade),
    ]


def held(site: Serving) -> Counter[str]:
    """What requests hold, by kind; without connections, tasks and files."""
    gateway, app = site.gateway, site.app
    found = {f"viewers of {camera.id}": sum(camera.viewers.values()) for camera in gateway.service.cameras.values()}
    found |= {
        f"subscriptions to {camera.id}": len(camera.hub._subscriptions) for camera in gateway.service.cameras.values()
    }
    found |= {
        "WebRTC viewers": len(gateway.webrtc.viewers),
        "owned viewers": len(app[VIEWER_OWNERSHIP]),
        "streams of events": gateway.events.streams,
        "archive": sum(gateway.archive_reader._open.values()),
        "pinned": len(gateway.archive.retention_job._pins),
        "sessions": sum(len(each.subscriptions) for each in app[AUTHENTICATOR].sessions.active),
        "Socket.IO": len(gateway.browser._sio.eio.sockets),
        "connections": site.listener.connections,
    }
    return Counter(found)


async def all_gone(count: Callable[[], Counter[str]], before: Counter[str]) -> None:
    """Wait until there is not more of anything than ``before``."""
    try:
        await eventually(lambda: not count() - before, "nothing is left", LEAVE_S)
    except AssertionError:
        raise AssertionError(f"left: {count() - before}") from None


def running() -> Counter[str]:
    """Tasks by what they run, and open descriptors."""
    tasks = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks() if not task.done())
    return tasks + Counter(files=len(os.listdir("/proc/self/fd")))


async def test_clients_that_leave_any_request_leave_nothing_behind(
    site: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    url = f"http://127.0.0.1:{site.port}"
    async with aiohttp.ClientSession(url, headers=bearer(ADMIN_TOKEN)) as http, offered() as offer:
        requests = await of_every_route(site, http, offer)
        requests = [*await of_long_answers(site, http, offer), *requests]
        async with http.get("/socket.io/?EIO=4&transport=polling") as answer:  # starts a task of the library's, once
            assert answer.status == 200
        await eventually(lambda: not site.gateway.browser._sio.eio.sockets, "the connection is over")
    before, before_running = held(site), running()
    for leave in Leave:
        visits = [visit(site.port, each, leave, is_reset=is_reset) for each in requests for is_reset in (False, True)]
        await asyncio.gather(*visits)
        faults = [each for each in caplog.records if each.exc_info or each.levelno >= logging.ERROR]
        assert not faults, f"{leave}: {[each.getMessage() for each in faults]}"
    await all_gone(lambda: held(site), before)
    await all_gone(running, before_running)


async def test_a_viewer_that_vanishes_during_a_write_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """The transport is closing, and no callback has run yet. A busy loop makes that common."""

    async def stream_pictures(request: web.Request) -> web.StreamResponse:
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
    app.router.add_get("/stream", stream_pictures)
    app.router.add_get("/fault", fault)
    async with TestClient(TestServer(app)) as client:
        with pytest.raises(aiohttp.ClientError):
            async with client.get("/stream") as reply:
                await reply.read()
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
        async with client.get("/fault") as reply:
            assert reply.status == 500
