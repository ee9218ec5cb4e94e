"""WebRTC signaling over Socket.IO, through both endpoints, with real peers (aiortc)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from gateway.service import CaptureService
from gateway.webrtc.server import WebRtcServer
from signaling.answers import WebRtcAnswer
from signaling.factory import create_messaging
from tests.signaling.conftest import SignalingServer
from tests.support.ems import Ems
from tests.support.ems_gateway import CAMERA
from tests.support.eventually import eventually
from tests.support.sources.numbered import HEIGHT, WIDTH
from web.settings import load_settings


@pytest.fixture
async def webrtc() -> AsyncIterator[WebRtcServer]:
    webrtc = WebRtcServer(udp_port=0, listen=("127.0.0.1",))
    await webrtc.start()
    yield webrtc
    await webrtc.close()


@pytest.fixture
async def peer() -> AsyncIterator[RTCPeerConnection]:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    yield peer
    await peer.close()


async def offer_of(peer: RTCPeerConnection) -> str:
    await peer.setLocalDescription(await peer.createOffer())
    sdp: str = peer.localDescription.sdp
    return sdp


async def watch(peer: RTCPeerConnection, sdp: str) -> None:
    """Return with the first picture."""
    (transceiver,) = peer.getTransceivers()
    await peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
    picture: Any = await transceiver.receiver.track.recv()
    assert (picture.width, picture.height) == (WIDTH, HEIGHT)


async def test_a_browser_watches_through_its_socket(webrtc: WebRtcServer, peer: RTCPeerConnection) -> None:
    server = SignalingServer(webrtc=webrtc)
    await server.start()
    try:
        events: list[Any] = []
        client = await server.client(on={"webrtc_answer": events.append})
        offer = {"client_id": "tab", "camera_id": "yard", "sdp": await offer_of(peer)}
        answer = await client.call("webrtc_offer", offer, timeout=20)
        assert WebRtcAnswer.model_validate(answer).camera_id == "yard"
        await eventually(lambda: events == [answer], "the answer is the only event")
        candidate = {"candidate": "candidate:1 1 udp 1 127.0.0.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
        for data in (candidate, candidate["candidate"], None, ""):
            trickled = {"client_id": "tab", "candidate": data}
            assert await client.call("webrtc_ice_candidate", trickled, timeout=10) == {"ok": True}
        await watch(peer, answer["sdp"])
        other = await server.client()
        stolen = await other.call("webrtc_close", {"client_id": "tab"}, timeout=10)
        assert stolen["error"] == "not_found"
        (viewer,) = webrtc.viewers.values()
        await client.call("webrtc_offer", offer, timeout=20)
        await eventually(lambda: viewer.id not in webrtc.viewers, "the viewer has ended")
        assert viewer.reason == "its client made a new offer"
        assert await client.call("webrtc_close", {"client_id": "tab"}, timeout=10) == {"ok": True}
        assert not webrtc.viewers
        gone = await client.call("webrtc_ice_candidate", {"client_id": "tab", "candidate": None}, timeout=10)
        assert gone["error"] == "not_found"
    finally:
        await server.close()


async def test_a_viewer_asks_for_another_stream_through_its_socket(
    webrtc: WebRtcServer, peer: RTCPeerConnection
) -> None:
    server = SignalingServer(webrtc=webrtc)
    await server.start()
    try:
        events: list[Any] = []
        client = await server.client(on={"webrtc_rendition": events.append})

        async def ask(**wanted: Any) -> Any:
            return await client.call("webrtc_rendition_request", {"client_id": "tab", **wanted}, timeout=10)

        assert (await ask())["error"] == "not_found"
        await client.call(
            "webrtc_offer", {"client_id": "tab", "camera_id": "yard", "sdp": await offer_of(peer)}, timeout=20
        )
        answer = await ask(width=320, height=180)
        shown = {key: answer[key] for key in ("camera_id", "rendition", "requested", "available", "codec")}
        available = {"available": ["main"], "codec": "h264"}
        assert shown == {"camera_id": "yard", "rendition": "main", "requested": "auto", **available}
        (viewer,) = webrtc.viewers.values()
        assert viewer.rendition is not None
        assert viewer.rendition.request.tile == (320, 180)
        assert (await ask(rendition="main"))["requested"] == "main"
        assert viewer.rendition.request.tile == (320, 180), "it stays"
        assert (await ask())["requested"] == "main"
        assert (await ask(rendition="sub"))["error"] == "not_found"
        assert (await ask(width=5))["error"] == "bad_request"
        assert (await ask(rendition="both"))["error"] == "bad_request"
        await eventually(lambda: len(events) == 3, "each answer is an event, too")
        assert events[0] == answer
    finally:
        await server.close()


async def test_a_viewer_stays_after_its_signaling_connection_is_lost(
    webrtc: WebRtcServer, peer: RTCPeerConnection
) -> None:
    server = SignalingServer(webrtc=webrtc)
    await server.start()
    try:
        client = await server.client()
        answer = await client.call("webrtc_offer", {"client_id": "tab", "sdp": await offer_of(peer)}, timeout=20)
        await watch(peer, answer["sdp"])
        await client.disconnect()
        await eventually(lambda: not server.browser._clients, "the client has disconnected")
        assert len(webrtc.viewers) == 1
        track: Any = peer.getTransceivers()[0].receiver.track
        for _ in range(5):
            await track.recv()
    finally:
        await server.close()


async def test_text_that_is_not_an_offer_is_refused_with_the_reason(webrtc: WebRtcServer) -> None:
    server = SignalingServer(webrtc=webrtc)
    await server.start()
    try:
        errors: list[Any] = []
        client = await server.client(on={"webrtc_error": errors.append})
        answer = await client.call("webrtc_offer", {"client_id": "tab", "sdp": "nonsense"}, timeout=20)
        assert answer["error"] == "bad_request"
        await eventually(lambda: errors, "an error arrives")
        assert errors[0] == {"client_id": "tab", **answer}
        assert not webrtc.viewers
    finally:
        await server.close()


async def test_the_ems_relays_an_offer(webrtc: WebRtcServer, peer: RTCPeerConnection) -> None:
    async with Ems() as ems:
        settings = load_settings(socketio_server_url=ems.url)
        service = CaptureService({"default": settings.camera("default", CAMERA)})
        messaging = create_messaging(settings, service, webrtc)
        await messaging.start()
        await ems.expect("capture_status_response")
        await ems.emit("webrtc_offer", {"client_id": "guard", "sdp": await offer_of(peer)})
        at, answer = await ems.expect("webrtc_answer")
        assert answer["data"]["client_id"] == "guard"
        await watch(peer, answer["data"]["sdp"])
        await ems.emit("webrtc_offer", {"client_id": "other", "sdp": "v=0"})
        _, error = await ems.expect("webrtc_error", after=at)
        assert (error["data"]["client_id"], error["data"]["error"]) == ("other", "bad_request")
        await ems.emit("webrtc_close", {"client_id": "guard"})
        await eventually(lambda: not webrtc.viewers, "no viewer is left")
        await messaging.close()
        await service.close()
