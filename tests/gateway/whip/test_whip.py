"""Cameras that a WebRTC peer publishes: media, loss, the newest publisher, and offers that are refused."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from unittest.mock import patch

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from gateway.camera import Camera
from gateway.errors import BadRequestError, ConflictError, NegotiationError, NotFoundError
from gateway.rtsp import rtcp
from gateway.service import CaptureService
from gateway.settings import load_settings
from gateway.webrtc.server import WebRtcServer
from gateway.whip.server import PENDING_MAX, WhipServer
from tests.support.eventually import eventually
from tests.support.whip import WIDTH, offer_of, publish

TABLE = {"record": "never", "capture_linger": 0}


class Site:
    """A WHIP server with cameras ``phone`` (pushed), ``lazy`` (pushed, on demand) and ``door`` (pulled)."""

    def __init__(self, service: CaptureService, webrtc: WebRtcServer, whip: WhipServer) -> None:
        self.service, self.webrtc, self.whip = service, webrtc, whip

    @property
    def phone(self) -> Camera:
        return self.service.camera("phone")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        tables = {
            "phone": {"url": "whip:"},
            "lazy": {"url": "whip:", "start": "on-demand"},
            "door": {"url": "rtsp://127.0.0.1:1/", "start": "on-demand"},
        }
        service = CaptureService({name: load_settings().camera(name, TABLE | table) for name, table in tables.items()})
        service.start()
        stack.push_async_callback(service.close)
        webrtc = WebRtcServer(udp_port=0, listen=("127.0.0.1",))
        await webrtc.start()
        stack.push_async_callback(webrtc.close)
        whip = WhipServer(webrtc, webrtc._clock)
        stack.push_async_callback(whip.close)
        yield Site(service, webrtc, whip)


@pytest.fixture
async def peers() -> AsyncIterator[list[RTCPeerConnection]]:
    found: list[RTCPeerConnection] = []
    yield found
    await asyncio.gather(*(peer.close() for peer in found))


async def test_what_is_published_is_the_camera_with_its_sound(site: Site, peers: list[RTCPeerConnection]) -> None:
    lazy = site.service.camera("lazy")
    peer, publisher = await publish(site.whip, lazy, sound=True)
    peers.append(peer)
    await eventually(lambda: lazy.hub.info is not None and lazy.hub.info.audio is not None, "the camera is live")
    info = lazy.hub.info
    assert info is not None
    assert info.audio is not None
    assert (info.video.codec, info.video.width, info.audio.codec, info.audio.channels) == ("h264", WIDTH, "opus", 2)
    await peer.close()
    await asyncio.wait_for(publisher.closed.wait(), 60)
    await eventually(lambda: not lazy.hub.gop, "it has ended")
    assert not site.whip.publishers


async def test_the_newest_publisher_takes_the_place(site: Site, peers: list[RTCPeerConnection]) -> None:
    first, before = await publish(site.whip, site.phone)
    peers.append(first)
    await eventually(lambda: site.phone.hub.gop, "the camera is live")
    second, after = await publish(site.whip, site.phone)
    peers.append(second)
    await asyncio.wait_for(before.closed.wait(), 60)
    assert before.reason == "another publisher has taken its place"
    count = site.phone.hub.packets_published
    await eventually(lambda: site.phone.hub.packets_published > count + 5, "the camera goes on")
    await after.close("the client ended the session")
    await eventually(lambda: second.connectionState == "closed", "the peer notices")


async def test_lost_packets_are_asked_for_and_a_keyframe_where_they_do_not_come(
    site: Site, peers: list[RTCPeerConnection]
) -> None:
    peer, publisher = await publish(site.whip, site.phone)
    peers.append(peer)
    await eventually(lambda: site.phone.hub.gop, "the camera is live")
    receive, count = publisher.on_srtp, 0

    def lose(kind: Callable[[int], bool]) -> None:
        def lossy(transport: object, data: bytes) -> None:
            nonlocal count
            count += not rtcp.is_rtcp(data[1])
            if rtcp.is_rtcp(data[1]) or not kind(count):
                receive(transport, data)  # type: ignore[arg-type]

        publisher.on_srtp = lossy  # type: ignore[method-assign]

    counters = lambda: site.phone.main.runs.counters  # noqa: E731
    lose(lambda number: number % 10 == 0)
    published = site.phone.hub.packets_published
    await eventually(lambda: site.phone.hub.packets_published > published + 20, "it goes on")
    assert counters().rtp_packets_requested >= 2
    assert counters().frames_dropped_after_loss == 0, "what was lost came again"
    keyframes = counters().keyframes_requested
    # Whole seconds of the network: no retransmission comes in time.
    lose(lambda number: True)
    await asyncio.sleep(0.3)
    lose(lambda number: False)
    await eventually(lambda: counters().keyframes_requested > keyframes, "a keyframe is asked for")
    published = site.phone.hub.packets_published
    await eventually(lambda: site.phone.hub.packets_published > published + 5, "the picture is back")


@pytest.mark.parametrize(
    ("camera", "edit", "error"),
    [
        ("door", lambda offer: offer, ConflictError),
        ("phone", lambda offer: "nonsense", BadRequestError),
        ("phone", lambda offer: offer.replace("H264", "VP9"), NegotiationError),
        ("phone", lambda offer: offer.replace("a=sendonly", "a=recvonly"), NegotiationError),
        ("phone", lambda offer: offer.replace("a=ice-ufrag", "a=other"), BadRequestError),
    ],
)
async def test_an_offer_that_cannot_be_taken_is_refused(
    site: Site, camera: str, edit: Callable[[str], str], error: type[Exception]
) -> None:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    offer = await offer_of(peer)
    await peer.close()
    with pytest.raises(error):
        site.whip.publish(site.service.camera(camera), edit(offer), client_address="127.0.0.1")
    assert not site.whip.publishers


async def test_offers_that_never_connect_displace_nobody_and_are_few(
    site: Site, peers: list[RTCPeerConnection]
) -> None:
    peer, publisher = await publish(site.whip, site.phone)
    peers.append(peer)
    other = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    offer = await offer_of(other)
    await other.close()
    for _ in range(PENDING_MAX + 3):
        site.whip.publish(site.phone, offer, client_address="127.0.0.1")
    await eventually(lambda: len(site.whip.publishers) == PENDING_MAX + 1, "the oldest are ended")
    assert site.whip.publisher(publisher.id, "phone") is publisher
    with pytest.raises(NotFoundError):
        site.whip.publisher(publisher.id, "lazy")
    await site.whip.close_camera("phone", "the camera was removed")
    assert not site.whip.publishers


async def test_an_ice_restart_has_other_credentials_and_media_goes_on(
    site: Site, peers: list[RTCPeerConnection]
) -> None:
    peer, publisher = await publish(site.whip, site.phone)
    peers.append(peer)
    before = publisher.etag
    assert publisher.patch("a=ice-ufrag:abcd\r\na=ice-pwd:" + "x" * 24) is not None
    assert publisher.patch("m=video 9 X 96\r\na=mid:0\r\na=end-of-candidates") is None
    assert publisher.transport.agent.sessions[-1].username != before
    await eventually(lambda: site.phone.hub.gop, "the camera is live")


async def test_broken_media_ends_nobody_else(site: Site, peers: list[RTCPeerConnection]) -> None:
    peer, publisher = await publish(site.whip, site.phone)
    peers.append(peer)
    await eventually(lambda: site.phone.hub.gop, "the camera is live")
    for data in (b"", b"\x80", bytes(64), b"\x80\xc8" + bytes(30), b"\x80\x60" + bytes(200)):
        publisher.on_srtp(publisher.transport, data)
    assert publisher.packets_refused == 3
    with patch.object(publisher, "_core") as core:
        core.receive.side_effect = RuntimeError("a fault")
        await asyncio.wait_for(publisher.closed.wait(), 60)
    assert publisher.reason == "what it publishes cannot be read"
