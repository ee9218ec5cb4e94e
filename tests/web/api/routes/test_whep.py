"""WHEP over HTTP: each status of the draft, and mistakes of clients."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from unittest.mock import patch

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from gateway.camera import Camera
from tests.support.partial_app import app_with_routes
from tests.support.sources.encoded_loop import EncodedLoopEngine, encode_loop
from web.api.routes import whep
from web.gateway import GATEWAY, Gateway
from web.middleware.cors import Cors
from web.settings import load_settings

ORIGIN = "https://wall.example.org"

SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
CANDIDATE = "a=mid:0\r\na=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n"
RESTART = "a=ice-ufrag:abcd\r\na=ice-pwd:" + "x" * 24 + "\r\n"

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """WHEP over one camera ``loop``, behind the middleware that answers CORS."""
    EncodedLoopEngine.showing["loop"] = (encode_loop(), None)
    camera = {
        "url": "loop://loop",
        "engine": "tests.support.sources.encoded_loop:EncodedLoopEngine",
        "start": "on-demand",
        "record": "never",
        "capture_linger": 0,
        "connection_retry_delay": 0.2,
    }
    settings = load_settings(
        cameras={"loop": camera},
        cors_origins=ORIGIN,
        webrtc_udp_port=0,
        ice_servers=["stun:stun.example:3478", "turn:u:p@turn.example"],
    )
    gateway = Gateway(settings)
    await gateway.webrtc.start()
    cors = Cors(settings, Counter())
    app = app_with_routes(gateway, whep)
    app.middlewares.append(cors.middleware)
    app.on_response_prepare.append(cors.on_prepare)
    async with TestClient(TestServer(app), headers={"Origin": ORIGIN}) as client:
        yield client
    await gateway.webrtc.close()
    await gateway.service.close()


@pytest.fixture
def camera(client: Client) -> Camera:
    return client.app[GATEWAY].service.camera("loop")


@pytest.fixture
async def peer() -> AsyncIterator[RTCPeerConnection]:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
        await peer.setLocalDescription(await peer.createOffer())
    yield peer
    await peer.close()


async def test_a_client_joins_watches_and_leaves(client: Client, peer: RTCPeerConnection, camera: Camera) -> None:
    reply = await client.post("/whep/loop", data=peer.localDescription.sdp, headers=SDP)
    assert reply.status == 201
    assert reply.content_type == "application/sdp"
    assert reply.headers["Location"].startswith("/whep/loop/")
    assert reply.headers["ETag"].startswith('"')
    assert reply.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"
    assert reply.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert {"Location", "ETag", "Link"} <= set(reply.headers["Access-Control-Expose-Headers"].split(", "))
    stun, turn = reply.headers.getall("Link")
    assert stun == '<stun:stun.example:3478>; rel="ice-server"'
    assert 'username="u"; credential="p"' in turn
    await peer.setRemoteDescription(RTCSessionDescription(await reply.text(), "answer"))
    async with asyncio.timeout(10):
        frame = await peer.getReceivers()[0].track.recv()
    assert frame.width == 320  # type: ignore[union-attr]
    left = await client.delete(reply.headers["Location"])
    assert left.status == 200
    assert camera.viewers == {}
    assert (await client.delete(reply.headers["Location"])).status == 404


async def join(client: Client, peer: RTCPeerConnection) -> tuple[str, str]:
    reply = await client.post("/whep/loop", data=peer.localDescription.sdp, headers=SDP)
    assert reply.status == 201
    return reply.headers["Location"], reply.headers["ETag"]


async def test_trickled_candidates(client: Client, peer: RTCPeerConnection) -> None:
    location, etag = await join(client, peer)
    for condition in (etag, f"W/{etag}", "*"):
        reply = await client.patch(location, data=CANDIDATE, headers={**FRAGMENT, "If-Match": condition})
        assert reply.status == 204


async def test_an_ice_restart(client: Client, peer: RTCPeerConnection) -> None:
    location, etag = await join(client, peer)
    reply = await client.patch(location, data=RESTART, headers={**FRAGMENT, "If-Match": "*"})
    assert reply.status == 200
    assert reply.content_type == "application/trickle-ice-sdpfrag"
    assert reply.headers["ETag"] != etag
    assert "a=ice-ufrag:" in await reply.text()
    stale = await client.patch(location, data=CANDIDATE, headers={**FRAGMENT, "If-Match": etag})
    assert stale.status == 412


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (CANDIDATE, FRAGMENT, 428),
        (CANDIDATE, {**FRAGMENT, "If-Match": '"other"'}, 412),
        (CANDIDATE, {**FRAGMENT, "If-Match": "nonsense"}, 412),
        (CANDIDATE, {**SDP, "If-Match": "*"}, 415),
        ("nonsense", {**FRAGMENT, "If-Match": "*"}, 400),
        (RESTART.replace("a=ice-pwd", "a=ice"), {**FRAGMENT, "If-Match": "*"}, 400),
    ],
)
async def test_patches_that_are_refused(
    client: Client, peer: RTCPeerConnection, body: str, headers: dict[str, str], status: int
) -> None:
    location, _ = await join(client, peer)
    reply = await client.patch(location, data=body, headers=headers)
    assert reply.status == status
    assert set(await reply.json()) >= {"error", "message"}
    assert reply.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/whep/loop", b"v=0", {"Content-Type": "text/plain"}, 415),
        ("/whep/loop", b"v=0", {}, 415),
        ("/whep/loop", b"nonsense", SDP, 400),
        ("/whep/loop", b"\xff\xfe", SDP, 400),
        ("/whep/loop", b"v=0\r\n" + b"a=x\r\n" * 20_000, SDP, 400),
        ("/whep/loop", b"v=0", {**SDP, "Accept": "text/html"}, 406),
        ("/whep/none", b"v=0", SDP, 404),
    ],
)
async def test_offers_that_are_refused(
    client: Client, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    reply = await client.post(path, data=body, headers={"Content-Type": "application/octet-stream", **headers})
    assert reply.status == status
    assert set(await reply.json()) >= {"error", "message"}
    assert reply.headers["Access-Control-Allow-Origin"] == ORIGIN


async def test_an_offer_without_h264_lists_transports_that_would_work(client: Client, peer: RTCPeerConnection) -> None:
    offer = peer.localDescription.sdp.replace("H264", "H123")
    reply = await client.post("/whep/loop", data=offer, headers={**SDP, "Accept": "application/sdp, */*;q=0.1"})
    assert reply.status == 406
    assert (await reply.json())["transports"] == ["hls", "mjpeg"]


async def test_a_camera_that_connects_is_503_with_retry_after(
    client: Client, peer: RTCPeerConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.webrtc.server.KEYFRAME_WAIT_S", 0.2)
    EncodedLoopEngine.showing.clear()
    reply = await client.post("/whep/loop", data=peer.localDescription.sdp, headers=SDP)
    assert reply.status == 503
    assert int(reply.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/whep/loop"), ("PUT", "/whep/loop"), ("GET", "/whep/loop/x"), ("POST", "/whep/loop/x")],
)
async def test_other_methods_are_not_allowed(client: Client, method: str, path: str) -> None:
    reply = await client.request(method, path)
    assert reply.status == 405
    assert "OPTIONS" in reply.headers["Allow"]


async def test_options_for_browsers_on_other_origins(client: Client) -> None:
    reply = await client.options("/whep/loop")
    assert reply.status == 204
    assert reply.headers["Accept-Post"] == "application/sdp"
    assert len(reply.headers.getall("Link")) == 2
    session = await client.options("/whep/loop/x")
    assert session.status == 204
    assert session.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"
    asked = await client.options("/whep/loop/x", headers={"Access-Control-Request-Method": "PATCH"})
    assert "PATCH" in asked.headers["Access-Control-Allow-Methods"]
    assert {"Authorization", "Content-Type", "If-Match"} <= set(
        asked.headers["Access-Control-Allow-Headers"].split(", ")
    )


async def test_an_unknown_session_is_404(client: Client) -> None:
    assert (await client.delete("/whep/loop/none")).status == 404
    assert (await client.patch("/whep/loop/none", data=CANDIDATE, headers={**FRAGMENT, "If-Match": "*"})).status == 404
