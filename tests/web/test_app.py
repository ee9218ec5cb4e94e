"""The gateway as an application: it starts, answers requests, and stops without threads or tasks left over."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from prometheus_client.parser import text_string_to_metric_families

from tests.support.eventually import eventually
from tests.support.serving import GatewayServer
from tests.support.sources.scripted import ScriptedEngine
from web.app import create_app
from web.settings import load_settings

Client = TestClient[web.Request, web.Application]


def camera_url(tmp_path: Path) -> str:
    """The URL of this test's scripted camera."""
    return f"scripted://viewer:s3cret@camera/{tmp_path.name}"


@pytest.fixture
async def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """A gateway with one scripted camera ``door``, on demand."""
    monkeypatch.chdir(tmp_path)
    door = {
        "url": camera_url(tmp_path),
        "engine": "tests.support.sources.scripted:ScriptedEngine",
        "start": "on-demand",
    }
    settings = load_settings(
        cameras={"door": door}, data_dir=tmp_path / "data", webrtc_udp_port=0, archive_min_free_bytes=0
    )
    async with TestClient(GatewayServer(create_app(settings))) as client:
        yield client


async def test_a_stopped_gateway_leaves_no_thread_and_no_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before_threads = set(threading.enumerate())
    before_tasks = asyncio.all_tasks()
    settings = load_settings(data_dir=tmp_path / "data", webrtc_udp_port=0, archive_min_free_bytes=0)
    async with TestClient(GatewayServer(create_app(settings))) as client:

        async def live_segment() -> str | None:
            camera = await (await client.get("/api/cameras/demo")).json()
            return (camera["live_edge"] or {}).get("segment") if camera["state"] == "live" else None

        segment = await eventually(live_segment, "the camera is live and recorded")
        assert segment.startswith("segment_")
        assert (await client.get("/snapshot/demo.jpg")).status == 200
        assert (await client.get("/hls/demo/index.m3u8")).status == 200

    def left() -> set[threading.Thread]:
        # Idle workers of the default executor belong to the event loop, and end with it.
        return {thread for thread in set(threading.enumerate()) - before_threads if "asyncio" not in thread.name}

    # Workers of an executor that was shut down end a moment later.
    await eventually(lambda: not left(), "the gateway's threads have ended")
    assert not {task for task in asyncio.all_tasks() - before_tasks if not task.done()}


async def test_health_and_status(client: Client) -> None:
    assert await (await client.get("/health")).json() == {"status": "ok"}
    status = await (await client.get("/api/status")).json()
    assert [camera["camera_id"] for camera in status["cameras"]] == ["door"]
    assert status["messaging"]["connected"] is False
    assert "s3cret" not in str(status)


async def test_every_error_is_json_with_a_code_and_a_sentence(client: Client) -> None:
    for method, path, status in [
        ("GET", "/nowhere", 404),
        ("GET", "/api/cameras/nosuch", 404),
        ("POST", "/api/cameras/nosuch/capture/start", 404),
        ("PUT", "/api/cameras", 405),
        ("POST", "/api/cameras", 400),
        ("GET", "/hls/nosuch/index.m3u8", 404),
        ("GET", "/snapshot/nosuch.jpg", 404),
        ("GET", "/mjpeg/nosuch", 404),
        ("POST", "/whep/nosuch", 404),
    ]:
        headers = {"Content-Type": "application/sdp"} if path.startswith("/whep") else {}
        reply = await client.request(method, path, headers=headers)
        assert reply.status == status, (method, path, await reply.text())
        body = await reply.json()
        assert body["error"]
        assert len(body["message"]) > 5


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"client_id": 5}', b'{"metadata": []}', b'{"x": 1}', b"\xff"])
async def test_an_invalid_command_is_a_400(client: Client, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    reply = await client.post("/api/cameras/door/capture/start", data=body, headers=headers)
    assert reply.status == (400 if body else 200), await reply.text()


async def test_a_start_command_starts_one_engine(client: Client, tmp_path: Path) -> None:
    url = camera_url(tmp_path)
    assert url not in ScriptedEngine.runs
    await client.post("/api/cameras/door/capture/start")
    await eventually(lambda: url in ScriptedEngine.runs, "an engine was made")
    await client.post("/api/cameras/door/capture/start")
    await client.get("/api/cameras/door")
    assert len(ScriptedEngine.runs[url]) == 1


async def test_metrics_are_prometheus_text_with_help_and_without_viewers_in_labels(client: Client) -> None:
    await client.post("/api/cameras/door/capture/start")
    reply = await client.get("/metrics")
    text = await reply.text()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for name in ("liveedge_camera_state", "liveedge_camera_packets", "liveedge_archive_disk_free_bytes"):
        assert families[name].documentation
    assert families["liveedge_camera_clients"].samples[0].value == 1
    states = {s.labels["state"]: s.value for s in families["liveedge_camera_state"].samples}
    assert states["connecting"] == 1
    assert sum(states.values()) == 1
    labels = {label for family in families.values() for sample in family.samples for label in sample.labels}
    assert labels.isdisjoint({"viewer", "viewer_id", "client", "address"})
    assert not re.search("s3cret", text)
