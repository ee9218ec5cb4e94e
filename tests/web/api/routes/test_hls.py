"""The live HLS routes, with real players."""

import asyncio
import gzip
import re
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from gateway.errors import UnavailableError
from hls.live import stream as window
from hls.parts.segmenter import STALL_S
from tests.hls.live.llhls_rules import Watch, boxes, check, check_media, parse
from tests.support.browser import assert_moving_picture, headless_shell, look
from tests.support.eventually import eventually
from tests.support.ffprobe import decode, ffprobe
from tests.support.hls_server import HlsServer, hls_server, source_camera
from tests.support.sources.engine import SourceEngine

GIVE_UP_S = 30.0
"""A limit for waits that would otherwise hang the suite. It does not measure speed."""


@pytest.fixture
async def server() -> AsyncIterator[HlsServer]:
    async with hls_server({"yard": source_camera("packets://gop=15,frame_90k=6000")}) as server:
        yield server


@pytest.fixture
async def client(server: HlsServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(server.url) as client:
        yield client


async def test_a_cold_camera_has_its_playlist_within_its_first_gop(client: aiohttp.ClientSession) -> None:
    async with client.get("/hls/yard/index.m3u8") as answer:
        assert answer.status == 200
        assert answer.content_type == "application/vnd.apple.mpegurl"
        text = await answer.text()
    assert 'CODECS="avc1.42c00a",RESOLUTION=160x120,FRAME-RATE=15.000,CLOSED-CAPTIONS=NONE' in text


@pytest.mark.parametrize(
    ("rendition", "status"), [("main", 200), ("auto", 200), ("sub", 404), ("", 400), ("MAIN", 400)]
)
async def test_a_stream_may_be_asked_for(client: aiohttp.ClientSession, rendition: str, status: int) -> None:
    async with client.get("/hls/yard/index.m3u8", params={"rendition": rendition}) as answer:
        assert answer.status == status
        if status == 200:
            assert (await answer.text()).splitlines()[2:] == ["live.m3u8"]


@pytest.mark.integration
async def test_ffprobe_reads_what_is_served(server: HlsServer, client: aiohttp.ClientSession) -> None:
    async with client.get("/hls/yard/index.m3u8"):
        pass
    found = await asyncio.to_thread(ffprobe, f"{server.url}/hls/yard/index.m3u8")
    (stream,) = found["streams"]
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("h264", 160, 120)
    assert await asyncio.to_thread(decode, f"{server.url}/hls/yard/index.m3u8", "-t", "2") == ""


async def test_every_uri_of_the_playlist_is_there_and_may_be_cached(client: aiohttp.ClientSession) -> None:
    async with client.get("/hls/yard/index.m3u8"):
        pass
    async with client.get("/hls/yard/live.m3u8") as answer:
        assert answer.headers["Cache-Control"] == "no-cache"
        text = await answer.text()
    *names, hint = re.findall(r"(?:init|part|segment)-[0-9a-f-]+\.\w+", text)
    for name in names:
        async with client.get(f"/hls/yard/{name}") as answer:
            assert answer.status == 200, name
            assert "immutable" in answer.headers["Cache-Control"]
            assert "Expires" in answer.headers
            assert len(await answer.read()) > 0
    async with client.get(f"/hls/yard/{hint}") as answer:
        assert answer.status == 200
        assert (await answer.read())[4:8] == b"moof"


async def test_gzip_is_sent_to_clients_that_accept_it(client: aiohttp.ClientSession) -> None:
    async with client.get("/hls/yard/index.m3u8"):
        pass
    url = "/hls/yard/live.m3u8"
    for accepts, is_gzipped in (("identity", False), ("gzip;q=0", False), ("br, gzip", True), ("*", True)):
        async with client.get(url, headers={"Accept-Encoding": accepts}, auto_decompress=False) as answer:
            body = await answer.read()
            assert ("Content-Encoding" in answer.headers) is is_gzipped, accepts
            assert answer.headers["Vary"] == "Accept-Encoding"
            assert (gzip.decompress(body) if is_gzipped else body).startswith(b"#EXTM3U\n")


DIRECTIVES = {
    "_HLS_part=1": 400,
    "_HLS_msn=abc": 400,
    "_HLS_msn=-1": 400,
    "_HLS_msn=1&_HLS_part=": 400,
    "_HLS_msn=1.5": 400,
    "_HLS_msn=" + "9" * 400: 400,
    "_HLS_msn=999999999999": 400,
    "_HLS_msn=1": 200,
    "_HLS_msn=1&_HLS_part=7&_HLS_skip=YES": 200,
    "_HLS_skip=maybe": 200,
}


async def test_directives_are_answered_or_refused_at_once(client: aiohttp.ClientSession) -> None:
    async with client.get("/hls/yard/index.m3u8"):
        pass
    for query, status in DIRECTIVES.items():
        async with client.get(f"/hls/yard/live.m3u8?{query}") as answer:
            assert answer.status == status, query
            if status == 400:
                assert (await answer.json())["error"] == "bad_request"


async def test_unknown_names_are_404(client: aiohttp.ClientSession) -> None:
    async with client.get("/hls/yard/index.m3u8"):
        pass
    for path in ("nowhere/index.m3u8", "yard/part-0-1.m4s", "yard/segment-1a-2.m4s", "yard/init-ff.mp4", "yard/x.m4s"):
        async with client.get(f"/hls/{path}") as answer:
            assert answer.status == 404, path


async def test_requests_keep_the_camera_captured_until_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "HOLD_S", 0.2)
    async with (
        hls_server({"porch": source_camera("packets://gop=15", start="on-demand")}) as server,
        aiohttp.ClientSession(server.url) as client,
    ):
        camera = server.service.camera("porch")
        assert not camera.is_wanted
        async with client.get("/hls/porch/index.m3u8") as answer:
            assert answer.status == 200
        assert camera.status().viewers == {"hls": 1}
        await eventually(lambda: not camera.is_wanted, "the camera is not wanted any more")
        assert camera.status().viewers == {}


async def test_a_camera_without_pictures_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("stream", "multivariant"):
        monkeypatch.setattr(f"hls.live.{module}.READY_S", 0.1)
    async with (
        hls_server({"gone": source_camera("packets://gop=16")}) as server,
        aiohttp.ClientSession(server.url) as client,
    ):
        for name in ("index.m3u8", "live.m3u8"):
            async with client.get(f"/hls/gone/{name}") as answer:
                assert answer.status == 503
                assert int(answer.headers["Retry-After"]) > 0


async def test_the_served_playlists_keep_every_rule(server: HlsServer, client: aiohttp.ClientSession) -> None:
    """A low-latency client over HTTP: blocking reloads with delta updates, each part as soon as it is hinted."""
    async with client.get("/hls/yard/index.m3u8"):
        pass
    watch = Watch(punctual_s=STALL_S)
    loop = asyncio.get_running_loop()
    async with client.get("/hls/yard/live.m3u8") as answer:
        playlist = watch.see(await answer.text(), loop.time())
    for _ in range(15):
        msn, part = playlist.edge
        async with (
            client.get(f"/hls/yard/{playlist.hints[0]['URI']}") as hinted,
            client.get(f"/hls/yard/live.m3u8?_HLS_msn={msn}&_HLS_part={part}&_HLS_skip=YES") as answer,
        ):
            assert (hinted.status, answer.status) == (200, 200)
            # video.js repeats its request at the end of a segment: its browser's cache must not answer.
            assert answer.headers["Cache-Control"] == "public, max-age=0, s-maxage=1"
            (moof, _), (mdat, _) = boxes(await hinted.read())
            assert (moof, mdat) == (b"moof", b"mdat")
            playlist = watch.see(await answer.text(), loop.time())
            assert playlist.edge >= (msn, part + 1) or playlist.edge[0] > msn
    window = server.live.stream("yard").window
    text = window.media_playlist().body.decode()
    check_media(parse(text), lambda uri: bytes(data) if (data := window.media(uri)) is not None else None)


async def test_a_blocked_reload_ends_when_no_part_comes(server: HlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """§6.2.5.2: 503 if the requested part does not come."""
    yard = server.live.stream("yard")
    await server.live.multivariant_playlist("yard")
    monkeypatch.setattr(yard, "_blocking_timeout_s", lambda: 0.05)
    last = yard.window.live_edge
    assert last is not None
    with pytest.raises(UnavailableError):
        await yard.media_playlist(last[0] + 1)


async def test_a_silent_camera_comes_back_after_a_discontinuity_and_there_is_no_gap(
    server: HlsServer, client: aiohttp.ClientSession
) -> None:
    yard = server.live.stream("yard")
    url = server.service.camera("yard").settings.url.get_secret_value()
    async with client.get("/hls/yard/index.m3u8"):
        pass

    def is_stalled() -> bool:
        yard.window.advance(time.monotonic())
        return yard.window.is_stalled

    SourceEngine.silenced.add(url)
    try:
        await eventually(is_stalled, "the camera is silent")
        msn, part, _ = yard.window.live_edge or (0, 0, 0)
        waiting = asyncio.create_task(client.get(f"/hls/yard/live.m3u8?_HLS_msn={msn}&_HLS_part={part + 2}"))
        SourceEngine.hung_up.add(url)
        await eventually(lambda: server.service.camera("yard").session.reconnects, "it is lost")
    finally:
        SourceEngine.silenced.discard(url)
        SourceEngine.hung_up.discard(url)
    async with await waiting as answer:
        assert answer.status == 200
        text = await answer.text()
    assert "GAP" not in text
    check(parse(text))
    await eventually(
        lambda: "#EXT-X-DISCONTINUITY\n" in yard.window.media_playlist().body.decode(), "the camera is back"
    )


@pytest.mark.integration
async def test_hls_js_plays_at_the_live_edge_with_sound_of_any_codec_or_none() -> None:
    cameras = {name: source_camera(f"packets://gop=15{sound}") for name, sound in SOUNDS.items()}
    async with hls_server(cameras) as server, headless_shell() as browser:
        for name in cameras:
            page = await browser.new_page()
            await page.goto(f"{server.url}/player?src=/hls/{name}/index.m3u8")
            assert_moving_picture(await look(page, frames=15))
            state = await page.evaluate("({lowLatency: hls.lowLatencyMode, target: hls.targetLatency})")
            assert state == {"lowLatency": True, "target": pytest.approx(0.615)}
            # A busy machine may make it stall and look for a way on; what it cannot get over is the stream's fault.
            assert await page.evaluate("faults.filter((fault) => fault.fatal)") == []
            if name != "mute":
                await page.wait_for_function("() => document.querySelector('video').webkitAudioDecodedByteCount > 0")
            await page.close()


SOUNDS = {"mute": "", "aac": ",audio=aac", "g711": ",audio=pcma"}
