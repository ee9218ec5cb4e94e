"""``/mjpeg`` and ``/snapshot`` over real HTTP, with a camera that plays in real time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway.clock import CLOCK_RATE
from gateway.session import SessionState
from tests.support.eventually import eventually
from tests.support.partial_app import app_with_routes
from tests.support.recording import index_of, record
from tests.support.sources.encoded import EncoderSettings, encode
from tests.support.sources.numbered import HEIGHT, WIDTH, ClipEngine, size_of
from web.api.routes import jpeg
from web.gateway import Gateway
from web.http_runner import http_runner
from web.settings import load_settings

CAMERA = {
    "url": "clip://camera",
    "engine": "tests.support.sources.numbered:ClipEngine",
    "start": "on-demand",
    "record": "never",
}


class Site:
    """The two routes, with one camera that plays and one that never has a picture."""

    def __init__(self) -> None:
        settings = load_settings(
            cameras={"door": CAMERA, "dark": {**CAMERA, "url": "rtsp://127.0.0.1:1/", "engine": "pyav"}},
            frame_rate=25,
            capture_linger=0,
            connection_retry_attempts=2,
            connection_retry_delay=0.05,
        )
        gateway = Gateway(settings)
        self.service = gateway.service
        self.gateway = gateway
        app = app_with_routes(gateway, jpeg)
        self.runner = http_runner(app, Counter(), shutdown_s=0.1)
        self.url = ""

    async def start(self) -> None:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self.runner.cleanup()
        await self.service.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.start()
    yield site
    await site.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


async def next_part(reader: Any) -> tuple[Mapping[str, str], bytes]:
    part = await reader.next()
    return part.headers, bytes(await part.read())


def age_90k(site: Site, captured_at: str) -> int:
    """How far a picture was behind the camera's newest on arrival, in 90 kHz ticks."""
    newest = site.service.camera("door").hub.newest
    assert newest is not None
    return newest.captured_at_90k - round(datetime.fromisoformat(captured_at).timestamp() * CLOCK_RATE)


async def test_a_snapshot_captures_the_camera_until_it_is_sent(site: Site, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{site.url}/snapshot/door.jpg") as reply:
        assert reply.status == 200
        assert reply.content_type == "image/jpeg"
        assert reply.headers["Cache-Control"] == "no-store"
        assert size_of(await reply.read()) == (WIDTH, HEIGHT)
        assert int(reply.headers["Age"]) == int(float(reply.headers["X-Age-Seconds"]))
    await eventually(lambda: site.service.status("door").state is SessionState.STOPPED, "the capture stops")
    assert site.service.status("door").viewers == {}


async def test_frames_that_mjpeg_skips_are_counted(site: Site, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{site.url}/mjpeg/door?frame_rate=4") as reply:
        parts = aiohttp.MultipartReader.from_response(reply)
        skipped = sum([int((await next_part(parts))[0]["X-Skipped"]) for _ in range(4)])
        assert skipped > 0
        assert site.gateway.mjpeg_frames_skipped["door"] >= skipped


async def test_a_snapshot_of_another_size(site: Site, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{site.url}/snapshot/door.jpg?width=80") as reply:
        assert size_of(await reply.read()) == (80, 60)
    async with http.get(f"{site.url}/snapshot/door.jpg?width=7680") as reply:
        assert size_of(await reply.read()) == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    "path",
    [
        "snapshot/door.jpg?width=0",
        "snapshot/door.jpg?width=-80",
        "snapshot/door.jpg?width=%D9%A8%D9%A0",
        "snapshot/door.jpg?width=99999999999999999999",
        "snapshot/door.jpg?width=",
        "mjpeg/door?width=1e2",
        "mjpeg/door?frame_rate=0",
        "mjpeg/door?frame_rate=nan",
        "mjpeg/door?frame_rate=inf",
        "mjpeg/door?frame_rate=fast",
        "snapshot/door.jpg?rendition=middle",
        "snapshot/door.jpg?rendition=",
        "snapshot/door.jpg?rendition=sub&at=2026-11-22T18:50:01Z&width=x",
        "snapshot/door.jpg?rendition=SUB&at=2026-11-22T18:50:01Z",
        "mjpeg/door?rendition=0",
        "mjpeg/door?rendition=both&at=2026-11-22T18:50:01Z",
    ],
)
async def test_an_invalid_request_is_refused(site: Site, http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(f"{site.url}/{path}") as reply:
        assert reply.status == 400
        assert (await reply.json())["error"] == "bad_request"
    assert site.service.status("door").state is SessionState.STOPPED


@pytest.mark.parametrize("path", ["snapshot/door.jpg", "mjpeg/door"])
async def test_a_sub_stream_that_is_not_configured_is_not_found(
    site: Site, http: aiohttp.ClientSession, path: str
) -> None:
    async with http.get(f"{site.url}/{path}?rendition=sub") as reply:
        assert reply.status == 404
        assert "sub" in (await reply.json())["message"]


@pytest.mark.parametrize("path", ["snapshot/attic.jpg", "mjpeg/attic"])
async def test_an_unknown_camera_is_404(site: Site, http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(f"{site.url}/{path}") as reply:
        assert reply.status == 404


@pytest.mark.parametrize("path", ["snapshot/dark.jpg", "mjpeg/dark"])
async def test_a_camera_that_fails_is_503_with_a_reason_and_retry_after(
    site: Site, http: aiohttp.ClientSession, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jpeg, "PICTURE_WAIT_S", 0.3)
    async with http.get(f"{site.url}/{path}") as reply:
        assert reply.status == 503
        assert int(reply.headers["Retry-After"]) > 0
        assert "camera dark is" in (await reply.json())["message"]
    assert site.service.status("dark").viewers == {}


async def test_mjpeg_is_the_live_edge_part_by_part(site: Site, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{site.url}/mjpeg/door?width=80") as reply:
        assert reply.content_type == "multipart/x-mixed-replace"
        parts = aiohttp.MultipartReader.from_response(reply)
        sequences = []
        for _ in range(5):
            headers, data = await next_part(parts)
            assert headers["Content-Type"] == "image/jpeg"
            assert size_of(data) == (80, 60)
            sequences.append(int(headers["X-Sequence"]))
        assert sequences == sorted(set(sequences))
        assert site.service.status("door").viewers == {"mjpeg": 1}
    await eventually(lambda: site.service.status("door").state is SessionState.STOPPED, "the capture stops")
    assert not site.service.camera("door").jpeg.is_decoding


async def test_mjpeg_as_multipart_mixed_for_clients_that_accept_it(site: Site, http: aiohttp.ClientSession) -> None:
    for accept, kind in (
        ("multipart/mixed", "multipart/mixed"),
        ("image/avif,image/*;q=0.8,*/*;q=0.5", "multipart/x-mixed-replace"),
    ):
        async with http.get(f"{site.url}/mjpeg/door", headers={"Accept": accept}) as reply:
            assert reply.content_type == kind
            headers, data = await next_part(aiohttp.MultipartReader.from_response(reply))
            assert int(headers["Content-Length"]) == len(data)


async def test_a_part_ends_with_the_next_boundary(site: Site, http: aiohttp.ClientSession) -> None:
    """Chromium shows a part after it has read the next boundary, so that must not wait for the next picture."""
    async with http.get(f"{site.url}/mjpeg/door?frame_rate=0.01") as reply:
        assert await reply.content.readuntil(b"--liveedge\r\n") == b"--liveedge\r\n"
        assert (await reply.content.readuntil(b"\r\n--liveedge\r\n")).endswith(b"\xff\xd9\r\n--liveedge\r\n")


async def test_mjpeg_is_at_the_live_edge_after_a_cut(site: Site, http: aiohttp.ClientSession) -> None:
    await site.service.start_capture("somebody else", "door")
    hub = site.service.camera("door").hub
    async with http.get(f"{site.url}/mjpeg/door") as reply:
        before, _ = await next_part(aiohttp.MultipartReader.from_response(reply))
        assert reply.connection is not None
        assert reply.connection.transport is not None
        reply.connection.transport.abort()
    await eventually(lambda: "mjpeg" not in site.service.status("door").viewers, "the viewer has left")
    published = hub.packets_published
    await eventually(lambda: hub.packets_published >= published + 50, "50 more packets came")
    async with http.get(f"{site.url}/mjpeg/door") as reply:
        after, _ = await next_part(aiohttp.MultipartReader.from_response(reply))
        assert age_90k(site, after["X-Captured-At"]) < CLOCK_RATE
    assert after["X-Captured-At"] > before["X-Captured-At"]


async def test_mjpeg_is_at_the_live_edge_after_camera_and_gateway_restart(
    http: aiohttp.ClientSession,
) -> None:
    for _ in range(2):
        site = Site()
        await site.start()
        async with http.get(f"{site.url}/mjpeg/door") as reply:
            headers, _ = await next_part(aiohttp.MultipartReader.from_response(reply))
            assert age_90k(site, headers["X-Captured-At"]) < CLOCK_RATE
            assert headers["X-Skipped"] == "0"
        await site.stop()


async def test_an_mjpeg_viewer_stays_while_the_camera_is_away(site: Site, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{site.url}/mjpeg/door") as reply:
        parts = aiohttp.MultipartReader.from_response(reply)
        await next_part(parts)
        hub = site.service.camera("door").hub
        run = hub.newest.run if hub.newest else 0
        assert ClipEngine.newest is not None
        ClipEngine.newest.interrupt()
        await eventually(lambda: hub.newest is not None and hub.newest.run > run, "the next run has begun")
        for _ in range(3):
            await next_part(parts)
        assert reply.status == 200


async def test_a_client_that_does_not_read_queues_no_frames_and_stops_no_viewer(
    site: Site, http: aiohttp.ClientSession
) -> None:
    feed = site.service.camera("door").jpeg
    port = int(site.url.rsplit(":", 1)[1])
    _, lazy = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    lazy.write(b"GET /mjpeg/door?frame_rate=60 HTTP/1.1\r\nHost: x\r\n\r\n")
    async with http.get(f"{site.url}/mjpeg/door?frame_rate=60") as reply:
        parts = aiohttp.MultipartReader.from_response(reply)
        await next_part(parts)
        made = feed.frames_encoded
        while feed.frames_encoded < made + 30:
            await next_part(parts)
    lazy.close()


async def test_mjpeg_from_a_moment_plays_the_recording(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    index_of(tmp_path, record(tmp_path, encode(EncoderSettings(seconds=4)), segment_s=2)).close()
    door = {**CAMERA, "engine": "pyav", "url": "rtsp://127.0.0.1:1"}
    settings = load_settings(cameras={"door": door}, data_dir=tmp_path, archive_min_free_bytes=0, frame_rate=60)
    gateway = Gateway(settings)
    service, archive = gateway.service, gateway.archive
    await archive.start()
    app = app_with_routes(gateway, jpeg)
    runner = http_runner(app, Counter(), shutdown_s=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/mjpeg/door?at="
    async with http.get(url + "2026-11-22T18:50:01.5Z&width=80") as reply:
        parts = aiohttp.MultipartReader.from_response(reply)
        shown = [(await next_part(parts))[0]["X-Captured-At"] for _ in range(8)]
    assert shown[0] == "2026-11-22T18:50:01.500Z"
    assert shown == sorted(set(shown))
    assert shown[-1] > "2026-11-22T18:50:02.000Z"
    async with http.get(url + "2030-01-01T00:00:00Z") as reply:
        assert reply.status == 404
    async with http.get(url + "yesterday") as reply:
        assert reply.status == 400
    await runner.cleanup()
    await service.close()
    await archive.close()
    gateway.archive_reader.close()
