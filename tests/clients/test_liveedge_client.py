"""``liveedge-client``: all that it can do, with a real gateway."""

import asyncio
import hashlib
import inspect
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import aiohttp
import av
import pytest
from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription

from gateway.clock import CLOCK_RATE
from liveedge_client import (
    ConflictError,
    EventChange,
    InvalidArgumentError,
    InvalidRequestError,
    Liveedge,
    LiveedgeError,
    NotFoundError,
    ServerError,
    UnauthorizedError,
    UnavailableError,
    UnreachableError,
)
from liveedge_client.http import Requests
from liveedge_client.models import RecordMode, SessionState
from liveedge_client.sse import EventStreamParser, Message
from tests.support.eventually import LIMIT_S, eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.player import cameras
from tests.support.recording import index_of, record
from tests.support.sources.encoded import EncoderSettings, encode

ROOT = Path(__file__).parents[2]
TOKEN = "correct-horse-battery-staple"
CLIP = EncoderSettings(fps=2, gop=8, seconds=40)


@pytest.fixture(scope="module")
def start() -> datetime:
    """When the recording of ``door`` began."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, start: datetime) -> Iterator[GatewayProcess]:
    """A gateway that requires a token, with a camera ``door`` and 40 s of its recordings, in files of 10 s."""
    folder = tmp_path_factory.mktemp("gateway")
    cameras(folder, "door", extra='record = "never"\nstart = "on-demand"\n')
    packets = encode(replace(CLIP), int(start.timestamp()) * CLOCK_RATE, 1)
    index_of(folder / "data", record(folder / "data", packets, segment_s=10)).close()
    with GatewayProcess(folder, AUTH_TOKEN=TOKEN) as process:
        yield process


@pytest.fixture
async def client(gateway: GatewayProcess) -> AsyncIterator[Liveedge]:
    async with Liveedge(gateway.url, TOKEN) as client:
        yield client


async def test_cameras_are_added_changed_and_removed(client: Liveedge) -> None:
    assert [camera.camera_id for camera in await client.cameras()] == ["door"]
    yard = await client.add_camera(camera_id="yard", url="rtsp://127.0.0.1:9/yard", start="on-demand", record="never")
    assert (yard.state, yard.rtsp_url) == (SessionState.STOPPED, "rtsp://127.0.0.1:9/yard")
    changed = await client.change_camera("yard", record=RecordMode.CAPTURE)
    assert changed.record is RecordMode.CAPTURE
    with pytest.raises(ConflictError):
        await client.add_camera(camera_id="yard", url="rtsp://127.0.0.1:9/yard")
    await client.remove_camera("yard")
    with pytest.raises(NotFoundError, match="yard"):
        await client.camera("yard")
    assert (await client.start_capture("door", client_id="test")).is_active
    await eventually(lambda: _is_live(client), "the camera is live")
    assert not (await client.stop_capture("door", client_id="test")).is_active
    assert (await client.status()).status in ("ok", "degraded")
    assert "admin" in (await client.access()).scopes


async def _is_live(client: Liveedge) -> bool:
    return (await client.camera("door")).state is SessionState.LIVE


async def test_pictures_and_recordings(client: Liveedge, start: datetime, tmp_path: Path) -> None:
    assert (await client.snapshot("door", width=320)).startswith(b"\xff\xd8\xff")
    recorded = await client.snapshot("door", at=start + timedelta(seconds=5))
    assert recorded.startswith(b"\xff\xd8\xff")
    segments = [segment async for segment in client.segments("door", start, start + timedelta(minutes=5))]
    assert [segment.camera_id for segment in segments] == ["door"] * len(segments)
    assert len(segments) >= 4
    assert abs(segments[0].start - start) < timedelta(seconds=1)
    found = await client.segment_at("door", start + timedelta(seconds=15))
    assert found.segment in segments

    clip = tmp_path / "clip.mp4"
    size = await client.save_clip("door", start + timedelta(seconds=8), start + timedelta(seconds=24), clip)
    assert clip.stat().st_size == size
    with av.open(str(clip)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 32
    file = tmp_path / "segment.mp4"
    assert await client.save_segment(segments[0], file) == segments[0].size
    if segments[0].sha256 is not None:
        assert hashlib.sha256(file.read_bytes()).hexdigest() == segments[0].sha256
    arrived = [chunk async for chunk in client.clip("door", start, start + timedelta(seconds=4))]
    assert b"".join(arrived)[4:8] == b"ftyp"
    # Nothing stays of a download that fails.
    with pytest.raises(NotFoundError):
        await client.save_clip("door", start - timedelta(hours=2), start - timedelta(hours=1), tmp_path / "none.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "segment.mp4"]


async def test_an_export_of_recordings(client: Liveedge, start: datetime, tmp_path: Path) -> None:
    export = await client.create_export(["door"], start, start + timedelta(seconds=10))

    async def is_done() -> bool:
        return (await client.export(export.id)).state == "done"

    await eventually(is_done, "the export is done")
    size = await client.save_export(export.id, tmp_path / "export.zip")
    assert [each.size for each in await client.exports()] == [size]
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        assert archive.testzip() is None
        assert any(name.endswith(".mp4") for name in archive.namelist())
    await client.delete_export(export.id)
    assert await client.exports() == []


async def test_a_signed_url_opens_without_the_token(client: Liveedge) -> None:
    url = await client.sign(client.hls_path("door"), expires_s=60)
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200
        assert (await response.text()).startswith("#EXTM3U")


async def test_an_offer_is_answered_and_video_arrives(client: Liveedge) -> None:
    connection = RTCPeerConnection()
    try:
        connection.addTransceiver("video", direction="recvonly")
        await connection.setLocalDescription(await connection.createOffer())
        async with await client.whep("door", connection.localDescription.sdp) as viewer:
            await connection.setRemoteDescription(RTCSessionDescription(viewer.answer, "answer"))
            (receiver,) = connection.getReceivers()
            async with asyncio.timeout(LIMIT_S):
                frame = await receiver.track.recv()
            assert frame.width > 100  # type: ignore[union-attr]
            assert (await client.camera("door")).viewers["webrtc"] == 1
        # It has ended: there is nobody to end.
        await viewer.close()
    finally:
        await connection.close()


async def test_events_and_their_changes_over_a_restart(client: Liveedge, gateway: GatewayProcess) -> None:
    changes = client.event_changes(cameras=["door"])
    first = asyncio.create_task(_next(changes))
    await eventually(lambda: _has_stream(gateway, first), "the stream is open")
    event = await client.create_event(camera_id="door", label="person", start=datetime.now(UTC), data={"who": "Ada"})
    assert event.data == {"who": "Ada"}
    change = await first
    assert (change.kind, change.event) == ("created", event)
    ended = await client.change_event(event.id, end="now", reviewed=True)
    assert ended.end is not None
    assert (await _next(changes)).event == ended

    waiting = asyncio.create_task(_next(changes))
    await asyncio.to_thread(gateway.stop)
    gateway.start()
    await client.create_event(camera_id="door", label="ring", duration_s=0)
    change = await waiting
    assert change.event is not None
    assert change.event.label == "ring"
    assert [each.label async for each in client.events(cameras=["door"], order="oldest")] == ["person", "ring"]
    assert [each.label async for each in client.events(reviewed=True)] == ["person"]
    await client.delete_event(event.id)
    assert (await _next(changes)).kind == "deleted"
    # A client that was away hears of what it missed.
    later = client.event_changes(last_id=change.id)
    assert (await _next(later)).kind == "deleted"
    await later.aclose()
    await changes.aclose()
    with pytest.raises(NotFoundError):
        await client.event(event.id)


async def _next(changes: AsyncIterator[EventChange]) -> EventChange:
    async with asyncio.timeout(LIMIT_S):
        return await anext(changes)


async def _has_stream(gateway: GatewayProcess, first: "asyncio.Task[EventChange]") -> bool:
    assert not first.done()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return b"\nliveedge_event_streams 1" in (await asyncio.to_thread(gateway.fetch, "/metrics", headers=headers))[2]


async def test_errors_have_types_and_advice(
    client: Liveedge, gateway: GatewayProcess, free_port: int, start: datetime
) -> None:
    async with Liveedge(gateway.url, "a-wrong-token-of-length") as other:
        with pytest.raises(UnauthorizedError):
            await other.cameras()
    async with Liveedge(f"http://127.0.0.1:{free_port}") as nobody:
        with pytest.raises(UnreachableError, match="Is the gateway running"):
            await nobody.cameras()
        with pytest.raises(UnreachableError):
            await anext(nobody.event_changes())
    with pytest.raises(InvalidRequestError) as invalid:
        await client.snapshot("door", width=1)
    assert (invalid.value.status, invalid.value.code) == (400, "bad_request")
    with pytest.raises(InvalidRequestError, match="end is not after start"):
        await anext(client.segments("door", start, start - timedelta(hours=1)))
    with pytest.raises(NotFoundError, match="no camera 'a/b'"):
        await client.camera("a/b")
    # As a file has it that an editor wrote.
    async with Liveedge(f" {gateway.url}/\n", f"{TOKEN}\r\n") as other:
        assert await other.cameras()
    await client.add_camera(camera_id="away", url="rtsp://127.0.0.1:9/away", start="on-demand", record="never")
    with pytest.raises(UnavailableError) as unavailable:
        await client.snapshot("away", wait_s=0)
    assert unavailable.value.retry_after_s
    await client.remove_camera("away")


async def test_another_program_is_no_gateway(free_port: int) -> None:
    async def page(request: web.Request) -> web.Response:
        assert "Authorization" in request.headers
        return web.Response(status=int(request.query.get("text", 200)), text="<html>")

    app = web.Application()
    app.router.add_get("/api/cameras", page)
    app.router.add_get("/api/events", page)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", free_port).start()
        async with Liveedge(f"http://127.0.0.1:{free_port}", "token") as other:
            with pytest.raises(ServerError, match="older or newer"):
                await other.cameras()
            with pytest.raises(ServerError, match="does not answer as liveedge does"):
                await anext(other.events(text="502"))
    finally:
        await runner.cleanup()


async def test_a_session_that_is_passed_in_stays_open(gateway: GatewayProcess) -> None:
    async with aiohttp.ClientSession() as session:
        async with Liveedge(gateway.url, TOKEN, session=session) as client:
            await client.cameras()
        assert not session.closed


def test_the_example_saves_a_picture_of_an_event(gateway: GatewayProcess, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, ROOT / "docs" / "examples" / "events_watcher.py", gateway.url, tmp_path],
        env={"PYTHONPATH": str(ROOT / "clients" / "python" / "src"), "LIVEEDGE_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("door is ")
        body = b'{"camera_id": "door", "label": "person", "duration_s": 0}'
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        # The stream may not be open yet.
        for _ in range(100):
            gateway.fetch("/api/events", "POST", body, headers)
            if list(tmp_path.glob("*.jpg")):
                break
        line = process.stdout.readline()
        assert line.startswith("person on door: ")
        assert (tmp_path / line.split()[-1]).read_bytes().startswith(b"\xff\xd8\xff")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


# --- without a gateway


STREAM = (
    b": comment\r\nretry: 500\nid: 7\n\nevent: created\rdata: one\r\ndata: two\nid: 8\n\n"
    b"data: without a type\n\nevent: x"
)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_messages_are_found_wherever_the_bytes_are_cut(size: int) -> None:
    parser = EventStreamParser()
    found = [each for at in range(0, len(STREAM), size) for each in parser.feed(STREAM[at : at + size])]
    assert found == [Message("created", "one\ntwo"), Message("message", "without a type")]
    assert (parser.last_id, parser.retry_s) == ("8", 0.5)


def test_a_message_without_an_end_is_refused() -> None:
    parser = EventStreamParser()
    line = b"data: " + b"x" * 300_000 + b"\n"
    assert parser.feed(line * 3) == []
    with pytest.raises(ValueError, match="more than"):
        parser.feed(line)


def test_values_of_a_later_gateway_are_kept() -> None:
    assert SessionState("live") is SessionState.LIVE
    later = SessionState("hibernating")
    assert (later, later.name, str(later)) == ("hibernating", "UNKNOWN", "hibernating")
    assert later not in list(SessionState)


@pytest.mark.parametrize(
    "call",
    [
        lambda _: Liveedge(""),
        lambda _: Liveedge("gateway.example"),
        lambda _: Liveedge("ftp://gateway.example"),
        lambda _: Liveedge("http://gate way:8000"),
        lambda _: Liveedge("http://gateway:99999"),
        lambda _: Liveedge("http://[::1"),
        lambda _: Liveedge("http://\ud800"),
        lambda _: Liveedge("http://user:secret@gateway", "the-token"),
        lambda _: Liveedge("http://gateway", "the-secret\nX-Other: 1"),
        lambda _: Liveedge("http://gateway", "the-secret\ud800"),
        lambda nobody: nobody.camera(""),
        lambda nobody: nobody.remove_camera(".."),
        lambda nobody: nobody.snapshot("\ud800"),
        lambda nobody: nobody.delete_event("."),
        lambda nobody: nobody.delete_export(".."),
        lambda nobody: anext(nobody.events(text="\ud800")),
        lambda nobody: anext(nobody.event_changes(last_id="1\n2")),
        lambda nobody: nobody.whep("door", "\ud800"),
        lambda nobody: nobody.snapshot("door", at=datetime(2026, 1, 1)),  # noqa: DTZ001
        lambda nobody: nobody.snapshot("door", at=datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))),
        lambda nobody: nobody.create_event(camera_id="door", label="x", start=datetime(2026, 1, 1)),  # noqa: DTZ001
        lambda nobody: nobody.create_event(camera_id="door", label="x", data={"who": {1}}),
    ],
)
async def test_what_cannot_be_sent_is_an_error_in_words(call: Callable[[Liveedge], object]) -> None:
    async def do() -> None:
        async with Liveedge("http://127.0.0.1:9") as nobody:
            waits = call(nobody)
            assert inspect.isawaitable(waits)
            await waits

    with pytest.raises(InvalidArgumentError) as raised:
        await do()
    assert isinstance(raised.value, LiveedgeError)
    assert isinstance(raised.value, ValueError)
    assert "secret" not in str(raised.value)


async def test_nothing_stays_of_a_download_that_is_cancelled_at_any_moment(
    tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def clip(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 1000)

    app = web.Application()
    app.router.add_get("/api/cameras/door/clip.mp4", clip)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", free_port).start()
    begun, goes_on = asyncio.Event(), threading.Event()
    loop, open_file, replace_file = asyncio.get_running_loop(), Path.open, Path.replace

    def held(do: Callable[..., Any], *given: Any) -> Any:
        loop.call_soon_threadsafe(begun.set)
        assert goes_on.wait(LIMIT_S)
        return do(*given)

    try:
        async with Liveedge(f"http://127.0.0.1:{free_port}") as client:
            for name, do in (("open", open_file), ("replace", replace_file)):
                begun.clear()
                goes_on.clear()
                with monkeypatch.context() as patch:
                    patch.setattr(Path, name, lambda *given, do=do: held(do, *given))
                    saving = asyncio.create_task(client.save_clip("door", 1, 2, tmp_path / "clip.mp4"))
                    await begun.wait()
                    saving.cancel()
                    saving.cancel()
                    loop.call_soon(goes_on.set)
                    with pytest.raises(asyncio.CancelledError):
                        await saving
                assert [path.name for path in tmp_path.iterdir() if path.name != "clip.mp4"] == []
            long = tmp_path / ("x" * 251 + ".mp4")
            assert await client.save_clip("door", 1, 2, long) == long.stat().st_size == 1000
    finally:
        goes_on.set()
        await runner.cleanup()


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("http://host:8000", "/api/cameras", "http://host:8000/api/cameras"),
        (
            "https://host/cams/",
            "/hls/a%20b/index.m3u8?token=a%2Bb",
            "https://host/cams/hls/a%20b/index.m3u8?token=a%2Bb",
        ),
        ("https://host/api", "/api/cameras", "https://host/api/api/cameras"),
        ("https://host/a%20b/#/camera/door", "/api/cameras", "https://host/a%20b/api/cameras"),
    ],
)
def test_the_gateway_may_be_below_a_path(base: str, path: str, url: str) -> None:
    assert str(Requests(base, None, None, 1).resolve(path)) == url


@pytest.mark.parametrize(
    ("base", "answered", "url"),
    [
        ("http://host", "/whep/door/1", "http://host/whep/door/1"),
        # A proxy has put its path in front, or not.
        ("http://host/cams", "/cams/whep/door/1", "http://host/cams/whep/door/1"),
        ("http://host/cams", "/whep/door/1", "http://host/cams/whep/door/1"),
        (
            "http://host/api",
            "/api/exports/7/export.zip?token=a%2Bb",
            "http://host/api/api/exports/7/export.zip?token=a%2Bb",
        ),
        ("http://host/api", "/api/api/exports/7/export.zip", "http://host/api/api/exports/7/export.zip"),
        ("http://host/cams", "http://host/cams/whep/door/1", "http://host/cams/whep/door/1"),
    ],
)
def test_paths_in_answers_are_those_of_the_gateway(base: str, answered: str, url: str) -> None:
    assert str(Requests(base, None, None, 1).resolve_answered(answered)) == url


def test_the_packages_have_the_version_of_the_gateway(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "packages", "client", "--into", tmp_path], check=True)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {path.name for path in tmp_path.iterdir()} == {
        f"liveedge_client-{version}-py3-none-any.whl",
        f"liveedge_client-{version}.tar.gz",
    }
    with zipfile.ZipFile(tmp_path / f"liveedge_client-{version}-py3-none-any.whl") as wheel:
        names = wheel.namelist()
        assert {"liveedge_client/py.typed", "liveedge_client/models.py"} <= set(names)
        assert any(name.endswith("LICENSE") for name in names)
