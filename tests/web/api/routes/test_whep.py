"""WHEP over HTTP: each status of the draft, and mistakes of clients."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from unittest.mock import patch

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from gateway.camera import Camera
from gateway.webrtc import server
from gateway.webrtc.viewer import COUNTER_OFFER_S
from tests.support.eventually import eventually
from tests.support.partial_app import admission_of, app_with_routes
from tests.support.serving import GatewayServer
from tests.support.sources.encoded_loop import EncodedLoopEngine, encode_loop
from web.api.routes import viewers, whep
from web.gateway import GATEWAY, Gateway
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
    app = app_with_routes(gateway, whep, viewers, admission=admission_of(settings))
    async with TestClient(GatewayServer(app), headers={"Origin": ORIGIN}) as client:
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
    async with asyncio.timeout(60):
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
    for condition in (etag, "*", '"*"', f'"other", {etag}', f'{etag},W/"other"', f', "a,b" ,{etag}'):
        reply = await client.patch(location, data=CANDIDATE, headers={**FRAGMENT, "If-Match": condition})
        assert reply.status == 204
        assert "ETag" not in reply.headers
    twice = [*FRAGMENT.items(), ("If-Match", '"other"'), ("If-Match", etag)]
    assert (await client.patch(location, data=CANDIDATE, headers=twice)).status == 204


async def test_an_ice_restart(client: Client, peer: RTCPeerConnection) -> None:
    location, etag = await join(client, peer)
    reply = await client.patch(location, data=RESTART, headers={**FRAGMENT, "If-Match": "*"})
    assert reply.status == 200
    assert reply.content_type == "application/trickle-ice-sdpfrag"
    assert reply.headers["ETag"] != etag
    assert "a=ice-ufrag:" in await reply.text()
    stale = await client.patch(location, data=CANDIDATE, headers={**FRAGMENT, "If-Match": etag})
    assert stale.status == 412


async def test_the_fragment_of_a_restart_has_the_tagged_section(client: Client, peer: RTCPeerConnection) -> None:
    location, _ = await join(client, peer)
    reply = await client.patch(location, data=RESTART, headers={**FRAGMENT, "If-Match": "*"})
    lines = (await reply.text()).split("\r\n")
    media = next(place for place, line in enumerate(lines) if line.startswith("m=video 9 UDP/TLS/RTP/SAVPF "))
    assert lines[:2] == ["a=ice-lite", "a=ice-options:trickle ice2"]
    assert lines[media - 1] == "a=group:BUNDLE 0"
    assert lines[media + 1] == "a=mid:0"
    assert [line.split(":")[0] for line in lines[media + 2 : media + 4]] == ["a=ice-ufrag", "a=ice-pwd"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (CANDIDATE, FRAGMENT, 428),
        (CANDIDATE, {**FRAGMENT, "If-Match": '"other"'}, 412),
        (CANDIDATE, {**FRAGMENT, "If-Match": "nonsense"}, 412),
        (CANDIDATE, {**FRAGMENT, "If-Match": '"one", "other"'}, 412),
        (CANDIDATE, {**FRAGMENT, "If-Match": ""}, 412),
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
        ("/whep/loop", b"v=0", {**SDP, "Accept": "application/sdp;q=0"}, 406),
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


async def test_a_weak_etag_never_matches(client: Client, peer: RTCPeerConnection) -> None:
    location, etag = await join(client, peer)
    reply = await client.patch(location, data=CANDIDATE, headers={**FRAGMENT, "If-Match": f"W/{etag}"})
    assert reply.status == 412


async def test_a_client_that_accepts_json_gets_the_reason_instead_of_a_counter_offer(
    client: Client, peer: RTCPeerConnection, camera: Camera
) -> None:
    offer = peer.localDescription.sdp.replace("H264", "H123")
    reply = await client.post("/whep/loop", data=offer, headers={**SDP, "Accept": "application/sdp, application/json"})
    assert reply.status == 406
    assert (await reply.json())["transports"] == ["hls", "mjpeg"]
    assert camera.viewers == {}


USELESS = [
    ("H264", "H123"),
    ("a=recvonly", "a=sendonly"),
    ("a=recvonly", "a=inactive"),
    ("a=rtcp-mux\r\n", ""),
    ("packetization-mode=1", "packetization-mode=0"),
    ("m=video", "m=audio"),
]


@pytest.mark.parametrize(("old", "new"), USELESS)
async def test_a_useless_offer_is_answered_with_a_counter_offer_which_the_client_answers(
    client: Client, peer: RTCPeerConnection, camera: Camera, old: str, new: str
) -> None:
    offer = peer.localDescription.sdp
    assert old in offer
    reply = await client.post("/whep/loop", data=offer.replace(old, new), headers=SDP)
    assert reply.status == 406
    assert reply.content_type == "application/sdp"
    until = re.fullmatch(r'application/sdp; valid-until="(.*)"', reply.headers["Content-Type"])
    assert until is not None
    assert parsedate_to_datetime(until[1]) > datetime.now(UTC)
    location, text = reply.headers["Location"], await reply.text()
    assert "i=" in text
    fragment = {**FRAGMENT, "If-Match": "*"}
    assert (await client.patch(location, data=CANDIDATE, headers=fragment)).status == 409, "there is no session yet"
    other = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    await other.setRemoteDescription(RTCSessionDescription(text, "offer"))
    with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
        await other.setLocalDescription(await other.createAnswer())
    nonsense = await client.patch(location, data="nonsense", headers=SDP)
    assert nonsense.status == 400
    answered = await client.patch(location, data=other.localDescription.sdp, headers=SDP)
    assert answered.status == 204, await answered.text()
    async with asyncio.timeout(60):
        await other.getReceivers()[0].track.recv()
    again = await client.patch(location, data=other.localDescription.sdp, headers=SDP)
    assert again.status == 409
    trickled = {**FRAGMENT, "If-Match": answered.headers["ETag"]}
    assert (await client.patch(location, data=CANDIDATE, headers=trickled)).status == 204
    await client.delete(location)
    await other.close()
    assert camera.viewers == {}


async def test_the_counter_offer_of_a_camera_that_is_transcoded_is_what_can_be_sent(
    client: Client, peer: RTCPeerConnection, camera: Camera
) -> None:
    EncodedLoopEngine.showing["loop"] = (encode_loop(b_frames=2, profile="main"), None)
    offer = peer.localDescription.sdp
    reply = await client.post("/whep/loop", data=offer.replace("H264", "H123"), headers=SDP)
    assert reply.content_type == "application/sdp", await reply.text()
    location, text = reply.headers["Location"], await reply.text()
    assert "B-frames" in text
    assert set(re.findall("profile-level-id=(..)", text)) == {"42"}
    assert camera.viewers == {"webrtc": 1}
    assert camera.transcode.pid is None, "nothing is transcoded for a client that may not come back"
    of_viewer = location.replace("/whep/loop/", "/api/cameras/loop/viewers/")
    assert (await client.get(of_viewer)).status == 404
    other = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    await other.setRemoteDescription(RTCSessionDescription(text, "offer"))
    with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
        await other.setLocalDescription(await other.createAnswer())
    answered = await client.patch(location, data=other.localDescription.sdp, headers=SDP)
    assert answered.status == 204, await answered.text()
    async with asyncio.timeout(60):
        await other.getReceivers()[0].track.recv()
    assert (await (await client.get(of_viewer)).json())["transcoded"]
    assert camera.viewers == {"webrtc": 1}
    await client.delete(location)
    await other.close()
    assert camera.viewers == {}


async def test_an_answer_to_a_counter_offer_for_a_camera_that_is_away_may_be_repeated(
    client: Client, peer: RTCPeerConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "KEYFRAME_WAIT_S", 0.1)
    reply = await client.post("/whep/loop", data=peer.localDescription.sdp.replace("H264", "H123"), headers=SDP)
    answer = peer.localDescription.sdp.replace("setup:actpass", "setup:active")
    loop = EncodedLoopEngine.showing.pop("loop")
    await eventually(lambda: client.app[GATEWAY].service.camera("loop").main.is_lost, "the camera is away")
    away = await client.patch(reply.headers["Location"], data=answer, headers=SDP)
    assert away.status == 409
    assert int(away.headers["Retry-After"]) > 0
    monkeypatch.undo()
    EncodedLoopEngine.showing["loop"] = loop
    assert (await client.patch(reply.headers["Location"], data=answer, headers=SDP)).status == 204
    await client.delete(reply.headers["Location"])


async def test_a_counter_offer_is_valid_for_half_a_minute(
    client: Client, peer: RTCPeerConnection, camera: Camera
) -> None:
    reply = await client.post("/whep/loop", data=peer.localDescription.sdp.replace("H264", "H123"), headers=SDP)
    assert camera.viewers == {"webrtc": 1}
    (viewer,) = client.app[GATEWAY].webrtc.viewers.values()
    viewer.tick(viewer._created_s + COUNTER_OFFER_S - 0.1, 0)
    assert (await client.get(reply.headers["Location"])).status == 204
    viewer.tick(viewer._created_s + COUNTER_OFFER_S + 0.1, 0)
    await viewer.closed.wait()
    late = await client.patch(reply.headers["Location"], data=peer.localDescription.sdp, headers=SDP)
    assert late.status == 404
    assert camera.viewers == {}


async def test_a_camera_that_webrtc_cannot_carry_makes_no_counter_offer(
    client: Client, peer: RTCPeerConnection, camera: Camera
) -> None:
    EncodedLoopEngine.showing["loop"] = (encode_loop(b_frames=2, profile="main"), None)
    client.app[GATEWAY].service.change_camera("loop", camera.settings.model_copy(update={"transcode": "never"}))
    reply = await client.post("/whep/loop", data=peer.localDescription.sdp, headers=SDP)
    assert reply.status == 406
    assert (await reply.json())["transports"] == ["hls", "mjpeg"]
    assert camera.viewers == {}


async def test_a_camera_that_connects_is_409_with_retry_after(client: Client, peer: RTCPeerConnection) -> None:
    EncodedLoopEngine.showing.clear()
    reply = await client.post("/whep/loop?wait=0", data=peer.localDescription.sdp, headers=SDP)
    assert reply.status == 409
    assert int(reply.headers["Retry-After"]) >= 1
    assert (await reply.json())["error"] == "not_live"
    reply = await client.post("/whep/loop?wait=-1", data=peer.localDescription.sdp, headers=SDP)
    assert reply.status == 400
    assert "wait" in (await reply.json())["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/whep/loop"), ("PATCH", "/whep/loop"), ("PUT", "/whep/loop/x"), ("POST", "/whep/loop/x")],
)
async def test_other_methods_are_not_allowed(client: Client, method: str, path: str) -> None:
    reply = await client.request(method, path)
    assert reply.status == 405
    assert "OPTIONS" in reply.headers["Allow"]


async def test_options_for_browsers_on_other_origins(client: Client) -> None:
    reply = await client.options("/whep/loop")
    assert reply.status == 200
    assert reply.headers["Accept-Post"] == "application/sdp"
    assert len(reply.headers.getall("Link")) == 2
    session = await client.options("/whep/loop/x")
    assert session.status == 200
    assert session.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"
    asked = await client.options("/whep/loop/x", headers={"Access-Control-Request-Method": "PATCH"})
    assert "PATCH" in asked.headers["Access-Control-Allow-Methods"]
    assert {"Authorization", "Content-Type", "If-Match"} <= set(
        asked.headers["Access-Control-Allow-Headers"].split(", ")
    )


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_media_type_tells_that_this_is_a_whep_endpoint(client: Client, method: str) -> None:
    reply = await client.request(method, "/whep/loop")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/sdp"
    assert reply.headers["Content-Length"] == "0"
    assert await reply.read() == b""
    assert (await client.request(method, "/whep/none")).status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_session_has_no_content(client: Client, peer: RTCPeerConnection, method: str) -> None:
    location, _ = await join(client, peer)
    reply = await client.request(method, location)
    assert (reply.status, await reply.read()) == (204, b"")
    assert (await client.request(method, "/whep/loop/none")).status == 404


async def test_delete_ignores_etags(client: Client, peer: RTCPeerConnection) -> None:
    location, _ = await join(client, peer)
    assert (await client.delete(location, headers={"If-Match": '"other"'})).status == 200


async def test_an_unknown_session_is_404(client: Client) -> None:
    assert (await client.delete("/whep/loop/none")).status == 404
    assert (await client.patch("/whep/loop/none", data=CANDIDATE, headers={**FRAGMENT, "If-Match": "*"})).status == 404
