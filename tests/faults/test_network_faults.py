"""Several viewers of one camera, each behind its own network: a viewer with a bad network degrades, others do not.

The camera has 1.5 Mbit/s at 15 fps and a keyframe each second. The bad networks lose 5 %, have a delay of 200 ms, or
carry 300 kbit/s; see :mod:`tests.support.netem`.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import aiohttp
import pytest
import socketio
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from playwright.async_api import Page, Route

from gateway.webrtc.stats import ViewerStats
from tests.faults.conftest import Site, Sites
from tests.support.browser import headless_shell
from tests.support.eventually import eventually
from tests.support.netem import Link, TcpNetwork, UdpNetwork
from tests.support.sources.encoded_loop import EncodedLoopEngine, encode_loop

FPS = 15
NARROW = Link(bits_per_s=300_000, queue_bytes=30_000, delay_s=0.01)

WATCH = """
async (path) => {
  const peer = (window.peer = new RTCPeerConnection());
  peer.addTransceiver("video", { direction: "recvonly" });
  const video = document.createElement("video");
  video.muted = video.autoplay = true;
  document.body.replaceChildren(video);
  peer.ontrack = ({ track }) => (video.srcObject = new MediaStream([track]));
  await peer.setLocalDescription();
  const headers = { "Content-Type": "application/sdp" };
  const reply = await fetch(path, { method: "POST", body: peer.localDescription.sdp, headers });
  await peer.setRemoteDescription({ type: "answer", sdp: await reply.text() });
  return reply.headers.get("Location");
}
"""

DECODED = """
async () => [...(await window.peer.getStats()).values()].find((item) => item.type === "inbound-rtp")?.framesDecoded ?? 0
"""


@dataclass
class Watcher:
    """An aiortc peer that decodes its video."""

    site: Site
    peer: RTCPeerConnection
    viewer_id: str
    pictures: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def stats(self) -> ViewerStats:
        return self.site.gateway.webrtc.viewers[self.viewer_id].stats()

    async def count(self) -> None:
        track = self.peer.getReceivers()[0].track
        while True:
            await track.recv()
            self.pictures += 1


@dataclass
class Scene:
    """A gateway with a camera, and networks in front of it."""

    site: Site
    stack: AsyncExitStack

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.site.client.port}"

    @property
    def pictures(self) -> int:
        """The number of frames that the camera has sent."""
        return self.site.gateway.service.camera("loop").hub.packets_published

    async def udp(self, down: Link, up: Link | None = None) -> UdpNetwork:
        network = UdpNetwork(self.site.gateway.webrtc.udp_port, down, up)
        await network.start()
        self.stack.push_async_callback(network.close)
        return network

    async def tcp(self, down: Link) -> TcpNetwork:
        assert self.site.client.port is not None
        network = TcpNetwork(self.site.client.port, down)
        await network.start()
        self.stack.push_async_callback(network.close)
        return network

    async def watch(self, network: UdpNetwork | None = None) -> Watcher:
        """Join with a peer, and wait for its first picture."""
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peer.addTransceiver("video", direction="recvonly")
        # aioice leaves out the loopback address, the only one that a test may rely on.
        with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
            await peer.setLocalDescription(await peer.createOffer())
        headers = {"Content-Type": "application/sdp"}
        async with self.site.client.post("/whep/loop", data=peer.localDescription.sdp, headers=headers) as reply:
            assert reply.status == 201
            answer, viewer_id = await reply.text(), reply.headers["Location"].rsplit("/", 1)[1]
        await peer.setRemoteDescription(
            RTCSessionDescription(network.answer(answer) if network is not None else answer, "answer")
        )
        watcher = Watcher(self.site, peer, viewer_id)
        watcher.tasks.append(asyncio.create_task(watcher.count()))
        self.stack.push_async_callback(self._leave, watcher)
        await eventually(lambda: watcher.pictures, "the first picture has arrived")
        return watcher

    async def _leave(self, watcher: Watcher) -> None:
        for task in watcher.tasks:
            task.cancel()
        await asyncio.wait(watcher.tasks)
        await watcher.peer.close()


@pytest.fixture
async def scene(sites: Sites) -> AsyncIterator[Scene]:
    EncodedLoopEngine.showing["loop"] = (encode_loop(fps=FPS, gop=FPS, gops=2, bit_rate=1_500_000, buffer_s=0.25), None)
    site = await sites(
        {"loop": {"url": "loop://loop", "engine": "tests.support.sources.encoded_loop:EncodedLoopEngine"}},
        record="never",
        frame_rate=FPS,
    )
    async with AsyncExitStack() as stack:
        yield Scene(site, stack)


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with headless_shell() as browser:
        yield await browser.new_page()


async def watch_in_chromium(page: Page, scene: Scene, network: UdpNetwork) -> str:
    """Watch with a page through a network; return the viewer's id."""

    async def lead_through(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, body=network.answer(await answer.text()))

    await page.route("**/whep/loop", lead_through)
    await page.goto(f"{scene.url}/health")
    location: str = await page.evaluate(WATCH, "/whep/loop")
    return location.rsplit("/", 1)[1]


async def more(page: Page, pictures: int) -> None:
    """Wait until the page has decoded so many more."""
    wanted = await page.evaluate(DECODED) + pictures

    async def are_decoded() -> bool:
        return bool(await page.evaluate(DECODED) >= wanted)

    await eventually(are_decoded, f"the page has decoded {pictures} more pictures")


async def test_a_viewer_behind_a_narrow_network_gets_fewer_frames_and_others_get_all(
    scene: Scene, page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.webrtc")
    clean, slow = await scene.watch(), await scene.watch(await scene.udp(Link(delay_s=0.1), Link(delay_s=0.1)))
    network = await scene.udp(NARROW)
    began, given = [clean.pictures, slow.pictures], scene.pictures
    viewer_id = await watch_in_chromium(page, scene, network)
    viewer = scene.site.gateway.webrtc.viewers[viewer_id]

    await eventually(lambda: viewer.stats().limit_bps, "the viewer's bandwidth is limited")
    await more(page, 3)
    stats = viewer.stats()
    assert stats.limit_bps is not None
    assert stats.limit_bps < 600_000
    assert stats.bandwidth_method == "transport-cc", "Chromium's feedback is read"
    assert stats.estimate_bps is not None
    assert stats.frames_dropped > FPS
    assert (await scene.site.json(f"/api/cameras/loop/viewers/{viewer_id}/clock"))["degraded_reason"] == stats.degraded
    (camera,) = (await scene.site.json("/api/status"))["cameras"]
    assert camera["webrtc"]["bandwidth_limited"] == 1
    assert camera["webrtc"]["degraded_reasons"] == [stats.degraded]
    assert "its network carries about" in str(stats.degraded)
    assert await scene.site.metric('liveedge_webrtc_viewers_bandwidth_limited{camera="loop"}') == 1
    assert await scene.site.metric('liveedge_webrtc_bandwidth_limits_total{camera="loop"}') >= 1
    told = [record.getMessage() for record in caplog.records if "carries about" in record.getMessage()]
    assert told[-1] == f"camera loop: viewer {viewer_id}: {stats.degraded}"

    for neighbour, before in zip((clean, slow), began, strict=True):
        seen, there = neighbour.pictures - before, scene.pictures - given
        assert seen > 0.9 * there - FPS, "as many as the camera gave"
        stats = neighbour.stats()
        assert (stats.degraded, stats.packets_lost, stats.replays) == (None, 0, 1)
        assert stats.frames_dropped < FPS, "some of the first second on a busy machine, and none of the network's"

    # The network is good again, and the viewer gets every frame.
    network.down.link = Link()
    await eventually(lambda: viewer.degraded is None, "the viewer is not degraded any more")
    await more(page, 2 * FPS)
    await eventually(lambda: "is good again" in caplog.text, "the log says that the network is good again")


async def test_lost_packets_are_retransmitted_and_every_frame_is_decoded(scene: Scene) -> None:
    network = await scene.udp(Link(loss=0.05), Link(loss=0.05))
    clean, lossy = await scene.watch(), await scene.watch(network)
    began, given = lossy.pictures, scene.pictures
    await eventually(lambda: scene.pictures - given >= 5 * FPS, "the other viewer keeps its pictures")
    await asyncio.sleep(0.5)
    assert network.down.lost > 10
    assert lossy.pictures - began > 0.85 * 5 * FPS
    stats = lossy.stats()
    assert stats.retransmitted > 0.6 * network.down.lost
    assert (stats.degraded, stats.frames_dropped) == (None, 0)
    assert (clean.stats().packets_lost, clean.stats().retransmitted) == (0, 0)


async def test_a_cable_that_is_pulled_for_a_moment_affects_one_viewer(scene: Scene) -> None:
    network = await scene.udp(Link())
    clean, cut = await scene.watch(), await scene.watch(network)
    network.cut()
    given, seen, at_cut = scene.pictures, clean.pictures, cut.pictures
    await eventually(lambda: scene.pictures - given >= 2 * FPS, "the other viewer keeps its pictures")
    assert cut.pictures <= at_cut + 3
    network.restore()
    before = cut.pictures
    await eventually(lambda: cut.pictures >= before + FPS, "the viewer has pictures again")
    assert clean.pictures - seen > 0.9 * (scene.pictures - given) - FPS
    assert clean.stats().packets_lost == 0


async def follow_hls(url: str, seconds: float) -> tuple[int, int]:
    """Fetch all parts in order, as a player does; return how many there were, and how many had expired."""
    came: dict[str, int] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds), aiohttp.ClientSession(url) as http:
            while True:
                async with http.get("/hls/loop/live.m3u8") as reply:
                    playlist = await reply.text()
                for uri in re.findall(r'#EXT-X-PART:.*?URI="([^"]+)"', playlist)[-12:]:
                    if uri not in came:
                        async with http.get(f"/hls/loop/{uri}") as part:
                            await part.read()
                            came[uri] = part.status
                await asyncio.sleep(0.05)
    return sum(status == 200 for status in came.values()), sum(status != 200 for status in came.values())


async def test_hls_through_a_narrow_network_falls_behind_alone(scene: Scene) -> None:
    network = await scene.tcp(NARROW)
    async with scene.site.client.get("/hls/loop/index.m3u8") as reply:
        assert "live.m3u8" in await reply.text()
    (narrow, _), (seen, gone) = await asyncio.gather(follow_hls(network.url, 6), follow_hls(scene.url, 6))
    assert narrow < seen / 2
    assert gone == 0


async def read_mjpeg(url: str, pictures: int) -> list[dict[str, int]]:
    """The headers of this many parts of MJPEG, as numbers."""
    seen: list[dict[str, int]] = []
    async with aiohttp.ClientSession(read_bufsize=4096) as http, http.get(f"{url}/mjpeg/loop") as reply:
        while len(seen) < pictures:
            part: dict[str, int] = {}
            while (line := (await reply.content.readline()).strip().decode()) or not part:
                name, colon, value = line.partition(": ")
                if colon and value.isdecimal():
                    part[name.lower()] = int(value)
            await reply.content.readexactly(part["content-length"])
            seen.append(part)
    return seen


async def read_socket(url: str, pictures: int) -> list[dict[str, Any]]:
    """The metadata of this many frames over Socket.IO."""
    seen: list[dict[str, Any]] = []
    done = asyncio.Event()

    async def frame(data: dict[str, Any]) -> dict[str, bool]:
        seen.append(data["metadata"])
        if len(seen) >= pictures:
            done.set()
        return {"ok": True}

    client = socketio.AsyncClient(reconnection=False)
    client.on("video_frame_from_service", frame)
    await client.connect(url, transports=["websocket"])
    await client.call("frames_subscribe", {"camera_id": "loop"})
    await done.wait()
    await client.disconnect()
    return seen


def skipped(seen: list[dict[str, Any]], name: str, sequence: str) -> int:
    """The number of frames reported as skipped. Assert that it is the number missing in the sequence."""
    for one, following in pairwise(seen):
        assert following[sequence] > one[sequence], "never an older picture than before"
    return sum(part[name] for part in seen[1:])


@pytest.mark.parametrize(
    ("read", "names"),
    [(read_mjpeg, ("x-skipped", "x-sequence")), (read_socket, ("skipped", "sequence"))],
    ids=["MJPEG", "Socket.IO"],
)
async def test_jpeg_through_a_narrow_network_skips_to_the_newest_frame_and_others_get_all(
    scene: Scene, read: Callable[[str, int], Any], names: tuple[str, str]
) -> None:
    network = await scene.tcp(NARROW)
    async with asyncio.timeout(60):
        neighbour = asyncio.create_task(read(scene.url, 4 * FPS))
        narrow = await read(network.url, 8)
        seen = await neighbour
    assert skipped(narrow, *names) > len(narrow) // 2, "frames are left out, and not queued"
    assert skipped(seen, *names) < FPS
