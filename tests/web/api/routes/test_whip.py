"""WHIP over HTTP: each status of RFC 9725, and mistakes of clients."""

import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from aiortc import RTCConfiguration, RTCPeerConnection

from tests.support.partial_app import admission_of, app_with_routes
from tests.support.serving import GatewayServer
from tests.support.whip import offer_of
from web.api.routes import page, whip
from web.gateway import GATEWAY, Gateway
from web.settings import load_settings

ORIGIN = "https://studio.example.org"
SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
RESTART = "a=ice-ufrag:abcd\r\na=ice-pwd:" + "x" * 24 + "\r\n"

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """WHIP for ``phone``, which is pushed, and ``door``, which is pulled, behind the middleware that answers CORS."""
    cameras = {
        "phone": {"url": "whip:", "sub_url": "publish:", "start": "on-demand", "record": "never"},
        "door": {"url": "rtsp://127.0.0.1:1/", "start": "on-demand", "record": "never"},
    }
    settings = load_settings(
        cameras=cameras, cors_origins=ORIGIN, webrtc_udp_port=0, ice_servers=["turn:u:p@turn.example"]
    )
    gateway = Gateway(settings)
    await gateway.webrtc.start()
    app = app_with_routes(gateway, whip, page, admission=admission_of(settings))
    async with TestClient(GatewayServer(app), headers={"Origin": ORIGIN}) as client:
        yield client
    await gateway.whip.close()
    await gateway.webrtc.close()
    await gateway.service.close()


@pytest.fixture
async def offer() -> AsyncIterator[str]:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    yield await offer_of(peer, sound=True)
    await peer.close()


async def test_an_offer_gets_an_answer_a_session_and_ice_servers(client: Client, offer: str) -> None:
    async with client.post("/whip/phone", data=offer, headers=SDP) as answer:
        text = await answer.text()
        assert (answer.status, answer.content_type) == (201, "application/sdp")
    location, etag = answer.headers["Location"], answer.headers["ETag"]
    assert re.fullmatch(r"/whip/phone/[\w-]+", location)
    assert answer.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"
    assert 'rel="ice-server"' in answer.headers["Link"]
    assert {"Location", "ETag", "Link"} <= set(answer.headers["Access-Control-Expose-Headers"].split(", "))
    assert text.count("a=recvonly") == 2
    assert "a=sendonly" not in text
    assert "H264/90000" in text
    assert "opus/48000/2" in text
    assert re.search(r"a=rtcp-fb:\d+ nack pli", text)
    async with client.patch(location, data="a=end-of-candidates\r\n", headers=FRAGMENT | {"If-Match": etag}) as answer:
        assert answer.status == 204
    async with client.patch(location, data=RESTART, headers=FRAGMENT | {"If-Match": '"other"'}) as answer:
        assert answer.status == 412
    async with client.patch(location, data=RESTART, headers=FRAGMENT) as answer:
        assert answer.status == 428
    async with client.patch(location, data=RESTART, headers=FRAGMENT | {"If-Match": "*"}) as answer:
        assert answer.status == 200
        assert "a=ice-ufrag:" in await answer.text()
    async with client.delete(location) as answer:
        assert answer.status == 200
    async with client.delete(location) as answer:
        assert answer.status == 404
    assert not client.app[GATEWAY].whip.publishers


async def test_the_sub_stream_is_published_on_its_own(client: Client, offer: str) -> None:
    async with client.post("/whip/phone?rendition=sub", data=offer, headers=SDP) as answer:
        assert answer.status == 201
    (publisher,) = client.app[GATEWAY].whip.publishers.values()
    assert publisher.rendition.name == "sub"


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/whip/door", SDP, None, 409),
        ("/whip/ghost", SDP, None, 404),
        ("/whip/phone", {"Content-Type": "text/plain"}, None, 415),
        ("/whip/phone", SDP, "no SDP", 400),
        ("/whip/phone?rendition=both", SDP, None, 400),
        ("/whip/phone", SDP | {"Accept": "text/html"}, None, 406),
    ],
)
async def test_what_cannot_be_published_is_refused(
    client: Client, offer: str, path: str, headers: dict[str, str], body: str | None, status: int
) -> None:
    async with client.post(path, data=offer if body is None else body, headers=headers) as answer:
        assert answer.status == status
        assert (await answer.json())["message"]


async def test_methods_that_are_reserved_are_not_allowed_and_pages_may_ask_first(client: Client) -> None:
    for method in ("GET", "HEAD", "PUT"):
        async with client.request(method, "/whip/phone") as answer:
            assert answer.status == 405
        async with client.request(method, "/whip/phone/nobody") as answer:
            assert answer.status == 405
    async with client.options("/whip/phone") as answer:
        assert (answer.status, answer.headers["Accept-Post"]) == (200, "application/sdp")
        assert "turn.example" in answer.headers["Link"]
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    async with client.options("/whip/phone", headers=asked) as answer:
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, ORIGIN)
    async with client.get("/publish/phone") as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
