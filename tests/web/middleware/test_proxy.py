"""The reverse-proxy configurations of the documentation, run by nginx and Caddy, with every kind of request."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator

import aiohttp
import m3u8
import pytest
import socketio
from aiortc import RTCConfiguration, RTCPeerConnection

from tests.support.eventually import eventually_sync
from tests.support.gateway_process import GatewayProcess
from tests.support.reverse_proxies import NAME, Caddy, Nginx, Proxy

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    settings = {"TRUSTED_PROXIES": "127.0.0.1", "ALLOWED_HOSTS": NAME, "ARCHIVE_SEGMENT_SECONDS": "4"}
    with GatewayProcess(tmp_path_factory.mktemp("behind"), **settings) as gateway:
        gateway.wait_for_state("live", "demo")
        yield gateway


@pytest.fixture(scope="module", params=[Nginx, Caddy])
def proxy(
    request: pytest.FixtureRequest, gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("proxy")
    with request.param(folder, gateway.url.removeprefix("http://")) as proxy:
        yield proxy


@pytest.fixture
async def session(proxy: Proxy) -> AsyncIterator[aiohttp.ClientSession]:
    async with proxy.session() as session:
        yield session
    # TLS connections end in the background (aiohttp, "Graceful Shutdown").
    await asyncio.sleep(0.25)


def test_the_page_is_served_over_http_2_and_plain_http_redirects_to_it(proxy: Proxy) -> None:
    """ALPN must choose HTTP/2, as for a browser."""
    told = proxy.curl("/", "--dump-header", "-", "--output", "/dev/null", "--write-out", "ALPN gave %{http_version}")
    assert told.startswith("HTTP/2 200")
    assert told.endswith("ALPN gave 2")
    assert "content-security-policy:" in told.lower()
    assert json.loads(proxy.curl("/health")) == {"status": "ok"}
    plain = proxy.curl(f"http://{NAME}:{proxy.plain_port}/x", "--include")
    assert re.search(rf"30[18].*location: https://{NAME}(:{proxy.port})?/x", plain, re.DOTALL | re.IGNORECASE)
    assert [camera["camera_id"] for camera in json.loads(proxy.curl("/api/cameras"))["cameras"]] == ["demo"]


def test_parallel_requests_share_one_connection(proxy: Proxy) -> None:
    """Apple's players request playlist, part and next playlist at once, on one HTTP/2 connection."""
    paths = ("/health", "/api/cameras", "/metrics", "/hls/demo/index.m3u8")
    others = [option for path in paths for option in (proxy.url + path, "--output", "/dev/null")]
    told = proxy.curl(
        "/", "--parallel", "--output", "/dev/null", *others, "--write-out", "%{http_version} %{num_connects}\n"
    )
    versions, connects = zip(*(line.split() for line in told.splitlines()), strict=True)
    assert set(versions) == {"2"}
    assert sum(map(int, connects)) == 1


async def test_a_whep_viewer_joins_and_leaves(session: aiohttp.ClientSession, gateway: GatewayProcess) -> None:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        peer.addTransceiver("video", direction="recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        async with session.post(
            "/whep/demo", data=peer.localDescription.sdp, headers={"Content-Type": "application/sdp"}
        ) as reply:
            assert reply.status == 201, await reply.text()
            assert "m=video" in await reply.text()
            location = reply.headers["Location"]
        assert location.startswith("/whep/demo/")
        async with session.delete(location) as reply:
            assert reply.status == 200
        async with session.delete(location) as reply:
            assert reply.status == 404
    finally:
        await peer.close()


async def test_socket_io_is_a_websocket(session: aiohttp.ClientSession, proxy: Proxy) -> None:
    client = socketio.AsyncClient(http_session=session, reconnection=False)
    statuses: asyncio.Queue[dict[str, object]] = asyncio.Queue()
    client.on("capture_status_response", statuses.put)
    await client.connect(proxy.url, transports=["websocket"])
    try:
        assert client.transport() == "websocket"
        assert (await asyncio.wait_for(statuses.get(), 60))["camera_id"] == "demo"
        answer = await client.call("capture_status_request", {"requesting_client": "proxy"}, timeout=20)
        assert answer["is_active"] is True
    finally:
        await client.disconnect()


async def test_a_blocked_playlist_waits_for_its_part(session: aiohttp.ClientSession, proxy: Proxy) -> None:
    async with session.get("/hls/demo/index.m3u8") as reply:
        (variant,) = m3u8.loads(await reply.text()).playlists
    media = f"/hls/demo/{variant.uri.partition('?')[0]}"
    async with session.get(media) as reply:
        playlist = m3u8.loads(await reply.text())
    next_msn = playlist.media_sequence + len(playlist.segments)
    answers = await asyncio.gather(*(_blocked(session, media, next_msn, part) for part in (0, 1)))
    for text in answers:
        reloaded = m3u8.loads(text)
        assert reloaded.media_sequence + len(reloaded.segments) >= next_msn
    part = [part.uri for segment in m3u8.loads(answers[-1]).segments for part in segment.parts][-1]
    head = proxy.curl(f"/hls/demo/{part}", "--dump-header", "-", "--output", "/dev/null")
    assert head.startswith("HTTP/2 200")
    assert "immutable" in head


async def _blocked(session: aiohttp.ClientSession, media: str, msn: int, part: int) -> str:
    async with session.get(media, params={"_HLS_msn": msn, "_HLS_part": part}) as reply:
        assert reply.status == 200
        return await reply.text()


async def test_a_recording_is_downloaded_in_ranges(session: aiohttp.ClientSession, gateway: GatewayProcess) -> None:
    def finished() -> list[str]:
        segments = gateway.json("/api/cameras/demo/segments")["segments"]
        return [segment["url"] for segment in segments if segment["state"] == "closed"]

    (url, *_) = await asyncio.to_thread(eventually_sync, finished, "a segment is closed")
    async with session.get(url) as reply:
        whole = await reply.read()
        assert reply.headers["Accept-Ranges"] == "bytes"
    async with session.get(url, headers={"Range": "bytes=100-1099"}) as reply:
        assert reply.status == 206
        assert await reply.read() == whole[100:1100]
    async with session.head(url) as reply:
        assert int(reply.headers["Content-Length"]) == len(whole)


async def test_mjpeg_is_not_buffered_and_stops_when_its_reader_leaves(
    session: aiohttp.ClientSession, gateway: GatewayProcess
) -> None:
    async with session.get("/mjpeg/demo?width=160") as reply:
        parts = 0
        async for line in reply.content:
            parts += line.startswith(b"Content-Type: image/jpeg")
            if parts == 3:
                break
    assert parts == 3
    await asyncio.to_thread(
        eventually_sync, lambda: not gateway.camera("demo")["viewers"].get("mjpeg"), "the MJPEG viewer has left"
    )
