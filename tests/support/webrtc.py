"""A WebRTC server on 127.0.0.1, cameras that play encoded video, and a page of a real Chromium."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from unittest.mock import patch

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from playwright.async_api import Page

from gateway.camera import Camera
from gateway.webrtc.rendition_request import AUTO, RenditionRequest
from gateway.webrtc.server import WebRtcServer
from gateway.webrtc.viewer import Viewer
from tests.support.browser import headless_shell
from tests.support.eventually import eventually
from tests.support.sources.encoded_loop import AudioLoop, EncodedLoop, encoded_loop_camera

WATCH = """
async (edit) => {
  // Watch through `join`, which the test provides; `edit` may rewrite the answer.
  const peer = window.peer = new RTCPeerConnection();
  const video = document.createElement("video");
  video.autoplay = true; video.playsInline = true;
  document.body.replaceChildren(video);
  const stream = video.srcObject = new MediaStream();
  peer.ontrack = (event) => stream.addTrack(event.track);
  peer.addTransceiver("video", { direction: "recvonly" });
  peer.addTransceiver("audio", { direction: "recvonly" });
  await peer.setLocalDescription();
  const sdp = await window.join(peer.localDescription.sdp);
  await peer.setRemoteDescription({ type: "answer", sdp: edit ? new Function("sdp", edit)(sdp) : sdp });
  await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
}
"""

STATS = """
async () => Object.fromEntries([...(await window.peer.getStats()).values()]
  .filter((item) => item.type === "inbound-rtp" && item.kind === "video" ||
                    item.type === "inbound-rtp" && item.kind === "audio" ||
                    item.type === "candidate-pair" && item.nominated)
  .map((item) => [item.kind === "audio" ? "audio" : item.type, item]))
"""

Cameras = Callable[..., Camera]
Join = Callable[..., Awaitable[tuple[RTCPeerConnection, Viewer]]]


@pytest.fixture
async def server() -> AsyncIterator[WebRtcServer]:
    """A server on a free port."""
    server = WebRtcServer(udp_port=0, listen=("127.0.0.1",))
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def camera_with() -> AsyncIterator[Cameras]:
    """Makes cameras that play encoded video. They are closed at the end."""
    cameras: list[Camera] = []

    def make(playing: EncodedLoop, sound: AudioLoop | None = None, **settings: Any) -> Camera:
        cameras.append(encoded_loop_camera(playing, sound, **settings))
        return cameras[-1]

    yield make
    for camera in cameras:
        await camera.aclose()


@pytest.fixture
async def join(server: WebRtcServer) -> AsyncIterator[Join]:
    """Joins a camera with an aiortc peer. Returns the peer and the server's viewer, connected.

    ``edit`` may rewrite the answer.
    """
    peers: list[RTCPeerConnection] = []

    async def join(
        camera: Camera,
        on: WebRtcServer = server,
        host: str = "127.0.0.1",
        edit: Callable[[str], str] = lambda answer: answer,
        request: RenditionRequest = AUTO,
    ) -> tuple[RTCPeerConnection, Viewer]:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peers.append(peer)
        peer.addTransceiver("video", direction="recvonly")
        # aioice leaves out the loopback address, the only one that a test may rely on.
        with patch("aioice.ice.get_host_addresses", return_value=[host]):
            await peer.setLocalDescription(await peer.createOffer())
        viewer = await on.join(camera, peer.localDescription.sdp, client_address="127.0.0.1", request=request)
        await peer.setRemoteDescription(RTCSessionDescription(edit(viewer.answer_sdp), "answer"))
        async with asyncio.timeout(60):
            await viewer.connected.wait()
            await eventually(lambda: peer.connectionState == "connected", "the peer is connected")
        return peer, viewer

    yield join
    await asyncio.gather(*(peer.close() for peer in peers))


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """An empty page of a real Chromium."""
    async with headless_shell() as browser:
        yield await browser.new_page()


async def watch(page: Page, server: WebRtcServer, camera: Camera, edit: str = "") -> None:
    """Watch a camera in the page; returns with the first frame."""

    async def join(sdp: str) -> str:
        return (await server.join(camera, sdp, client_address="127.0.0.1")).answer_sdp

    await page.expose_function("join", join)
    await page.evaluate(WATCH, edit)


async def stats_of(page: Page) -> dict[str, dict[str, Any]]:
    """Chromium's statistics: ``inbound-rtp`` (video), ``audio``, ``candidate-pair``."""
    stats: dict[str, dict[str, Any]] = await page.evaluate(STATS)
    return stats


async def stat(page: Page, kind: str, name: str) -> Any:
    """One of Chromium's statistics, once it exists and is not zero."""
    async with asyncio.timeout(60):
        while not (value := (await stats_of(page)).get(kind, {}).get(name)):
            await asyncio.sleep(0.05)
    return value


async def offer() -> str:
    """An offer of aiortc for video alone."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
        await peer.setLocalDescription(await peer.createOffer())
    sdp = peer.localDescription.sdp
    await peer.close()
    return sdp
