"""Which stream of its camera a WHEP viewer asks for and gets, over HTTP and with a real RTSP server."""

from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import patch

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.support.eventually import eventually
from tests.support.partial_app import app_with_routes
from tests.support.rtsp import RtspServer
from tests.support.serving import GatewayServer
from web.api.routes import cameras, viewers, whep
from web.gateway import GATEWAY, Gateway
from web.settings import load_settings

pytestmark = pytest.mark.integration

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client(rtsp_server: RtspServer) -> AsyncIterator[Client]:
    base = {"url": rtsp_server.url("/large"), "start": "on-demand", "record": "never", "capture_linger": 0}
    tables = {"door": {**base, "sub_url": rtsp_server.url("/gop1")}, "single": base}
    gateway = Gateway(load_settings(cameras=tables, webrtc_udp_port=0))
    await gateway.webrtc.start()
    async with TestClient(GatewayServer(app_with_routes(gateway, whep, viewers, cameras))) as client:
        yield client
        await gateway.webrtc.close()
        await gateway.service.close()


@pytest.fixture
async def peer() -> AsyncIterator[RTCPeerConnection]:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
        await peer.setLocalDescription(await peer.createOffer())
    yield peer
    await peer.close()


async def post(client: Client, peer: RTCPeerConnection, query: str, camera: str = "door") -> Any:
    headers = {"Content-Type": "application/sdp"}
    return await client.post(f"/whep/{camera}{query}", data=peer.localDescription.sdp, headers=headers)


async def test_a_viewer_joins_with_a_size_asks_for_another_and_is_told_what_it_gets(
    client: Client, peer: RTCPeerConnection
) -> None:
    answer = await post(client, peer, "?width=320&height=180")
    assert answer.status == 201
    await peer.setRemoteDescription(RTCSessionDescription(await answer.text(), "answer"))
    url = f"/api/cameras/door/viewers/{answer.headers['Location'].rpartition('/')[2]}"
    told = await (await client.get(url)).json()
    assert (told["rendition"], told["requested"], told["available"]) == ("sub", "auto", ["main", "sub"])
    assert told["reason"] == "it is as large as the viewer shows it"
    await eventually(lambda: peer.connectionState == "connected", "the peer is connected")

    async def gets(rendition: str) -> bool:
        return (await (await client.get(url)).json())["rendition"] == rendition

    assert (await client.patch(url, json={"width": 1920, "height": 1080})).status == 200
    await eventually(lambda: gets("main"), "it gets the main stream")
    told = await (await client.patch(url, json={"rendition": "sub"})).json()
    assert told["requested"] == "sub"
    await eventually(lambda: gets("sub"), "it gets the sub stream")
    told = await (await client.get(url)).json()
    assert (told["reason"], told["pending"], told["transcoded"]) == ("it was asked for", None, False)
    (each,) = (await (await client.get("/api/cameras/door")).json())["webrtc"]["renditions"]
    assert each.pop("bandwidth_method") in ("receiver-reports", "remb")
    assert each == {
        "rendition": "sub",
        "transcoded": False,
        "codec": "h264",
        "pinned": True,
        "limit_bps": None,
        "estimate_bps": None,
        "reason": "it was asked for",
    }
    # A size without a rendition keeps the pin.
    assert (await (await client.patch(url, json={"width": 99, "height": 99})).json())["requested"] == "sub"
    assert (await (await client.patch(url, json={"rendition": "auto"})).json())["requested"] == "auto"


@pytest.mark.parametrize(
    ("query", "camera", "status"),
    [
        ("?rendition=both", "door", 400),
        ("?width=100", "door", 400),
        ("?width=0&height=5", "door", 400),
        ("?width=-1&height=5", "door", 400),
        ("?rendition=sub", "single", 404),
        ("?rendition=main", "single", 201),
        ("?rendition=auto&width=99&height=99", "single", 201),
    ],
)
async def test_what_cannot_be_had_is_refused(
    client: Client, peer: RTCPeerConnection, query: str, camera: str, status: int
) -> None:
    answer = await post(client, peer, query, camera)
    assert answer.status == status
    if status == 404:
        assert "sub_url" in (await answer.json())["message"]


async def test_an_invalid_request_changes_nothing(client: Client, peer: RTCPeerConnection) -> None:
    answer = await post(client, peer, "?rendition=main")
    url = f"/api/cameras/door/viewers/{answer.headers['Location'].rpartition('/')[2]}"
    for body in ({"rendition": "both"}, {"width": 5}, {"width": "5", "height": 5}, {"size": 5}):
        assert (await client.patch(url, json=body)).status == 400, body
    assert (await (await client.get(url)).json())["requested"] == "main"
    assert (await client.get("/api/cameras/door/viewers/nobody")).status == 404
    assert (await client.get(url.replace("door", "single"))).status == 404
    webrtc = client.app[GATEWAY].webrtc
    assert len(webrtc.viewers) == 1
