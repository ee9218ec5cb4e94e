"""Cameras that the API adds, changes and removes at run time. Changes are kept over a restart."""

import asyncio
import json
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import SettingsError
from gateway.session import SessionState
from tests.support.configured import engines, load, write
from tests.support.eventually import eventually
from web.camera_store import CameraStore, write_tables
from web.gateway import GATEWAY

pytestmark = pytest.mark.usefixtures("place")


async def test_changes_by_the_api_are_kept_over_a_restart(place: Path, open_gateway: Callable[[], Any]) -> None:
    write(place, door={"start": "on-demand"})
    client = await open_gateway()
    new = {"camera_id": "yard", "url": "rtsp://u:s3cret@127.0.0.1:1/x", "start": "on-demand", "record": "never"}
    assert (await client.post("/api/cameras", json=new)).status == 201
    assert (await client.patch("/api/cameras/door", json={"frame_rate": 3})).status == 200
    assert (await client.patch("/api/cameras/yard", json={"frame_rate": 4, "frame_width": 320})).status == 200
    assert (await client.patch("/api/cameras/yard", json={"frame_width": None})).status == 200
    await client.close()
    file = place / "data" / "cameras.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    client = await open_gateway()
    cameras = client.app[GATEWAY].service.cameras
    assert set(cameras) == {"door", "yard"}
    assert cameras["door"].settings.frame_rate == 3
    assert (cameras["yard"].settings.frame_rate, cameras["yard"].settings.frame_width) == (4, None)
    assert cameras["yard"].settings.url.get_secret_value() == "rtsp://u:s3cret@127.0.0.1:1/x"
    assert (await client.delete("/api/cameras/yard")).status == 204
    await client.close()
    client = await open_gateway()
    assert set(client.app[GATEWAY].service.cameras) == {"door"}


async def test_a_sub_stream_is_configured_by_the_api_and_its_credentials_stay_secret(
    place: Path, open_gateway: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    write(place)
    client = await open_gateway()
    urls = {"url": "rtsp://u:s3cret@127.0.0.1:1/1", "sub_url": "rtsp://u:h1dden@127.0.0.1:1/2"}
    new = {"camera_id": "yard", **urls, "start": "on-demand", "record": "never"}
    reply = await client.post("/api/cameras", json=new)
    assert reply.status == 201
    assert (await reply.json())["sub"]["rtsp_url"] == "rtsp://127.0.0.1:1/2"
    client.app[GATEWAY].service.camera("yard").sub.hold("test")
    await eventually(lambda: "sub stream" in caplog.text, "the sub stream is tried")

    async def is_reported() -> bool:
        problems = (await (await client.get("/api/status")).json())["problems"]
        return any("sub stream" in each["message"] for each in problems)

    await eventually(is_reported, "the sub stream is a problem")
    for path in ("/api/status", "/api/cameras", "/metrics"):
        text = await (await client.get(path)).text()
        assert "h1dden" not in text
        assert "s3cret" not in text
    assert "h1dden" not in caplog.text
    reply = await client.patch("/api/cameras/yard", json={"sub_url": None})
    assert (await reply.json())["sub"] is None
    reply = await client.patch("/api/cameras/yard", json={"sub_url": "rtsp://169.254.169.254/"})
    assert reply.status == 400
    assert "ALLOW_METADATA_ADDRESSES" in (await reply.json())["message"]
    assert (await client.patch("/api/cameras/yard", json={"sub_url": "file:///etc/passwd"})).status == 400
    assert (await client.patch("/api/cameras/yard", json={"sub_url": 7})).status == 400
    assert client.app[GATEWAY].service.camera("yard").sub is None


async def test_a_change_of_settings_that_somebody_else_has_changed_is_refused(
    place: Path, open_gateway: Callable[[], Any]
) -> None:
    write(place, door={"start": "on-demand"})
    client = await open_gateway()
    new = {"camera_id": "yard", "url": "rtsp://u:s3cret@127.0.0.1:1/x", "start": "on-demand", "record": "never"}
    assert (await client.post("/api/cameras", json=new)).status == 201
    for camera in ("door", "yard"):
        path = f"/api/cameras/{camera}"
        read = (await (await client.get(path)).json())["revision"]
        first = await client.patch(path, json={"name": "Gate", "revision": read})
        assert first.status == 200
        second = await client.patch(path, json={"name": "Porch", "revision": read})
        error = await second.json()
        assert (second.status, error["error"], error["reason"]) == (409, "conflict", "camera_changed")
        camera_now = await (await client.get(path)).json()
        assert camera_now["name"] == "Gate"
        assert camera_now["revision"] == (await first.json())["revision"] != read
        # What is not named replaces, and so does the next attempt.
        for again in ({}, {"revision": camera_now["revision"]}):
            assert (await client.patch(path, json={"name": "Gate", **again})).status == 200
        assert (await client.patch(path, json={"name": "Porch", "revision": 7})).status == 400
        assert (await client.patch(path, json={"name": None, "revision": camera_now["revision"]})).status == 200
        assert (await (await client.get(path)).json())["revision"] == read
    # A guess at the password cannot be tried on it.
    await client.patch("/api/cameras/yard", json={"url": "rtsp://u:an0ther@127.0.0.1:1/x"})
    assert (await (await client.get("/api/cameras/yard")).json())["revision"] == read
    await client.patch("/api/cameras/yard", json={"url": "rtsp://u:an0ther@127.0.0.1:1/y"})
    assert (await (await client.get("/api/cameras/yard")).json())["revision"] != read


async def test_a_camera_has_a_name_in_any_language(place: Path, open_gateway: Callable[[], Any]) -> None:
    write(place, door={"name": "Front  door"}, yard={})
    client = await open_gateway()
    cameras = (await (await client.get("/api/cameras")).json())["cameras"]
    assert {each["camera_id"]: each["name"] for each in cameras} == {"door": "Front door", "yard": None}
    reply = await client.patch("/api/cameras/yard", json={"name": "정문 🚪"})
    assert (await reply.json())["name"] == "정문 🚪"
    for name in ("درب\u200cپشتی", "ශ්\u200dරී", "👨\u200d👩\u200d👧"):  # need joiners to be written
        assert (await (await client.patch("/api/cameras/yard", json={"name": name})).json())["name"] == name
    assert (await (await client.patch("/api/cameras/yard", json={"name": ""})).json())["name"] is None


async def test_a_paused_camera_is_refused_in_words_at_once_and_stays_paused_over_a_restart(
    place: Path, open_gateway: Callable[[], Any]
) -> None:
    write(place, door={"start": "on-demand"})
    client = await open_gateway()
    camera = await (await client.patch("/api/cameras/door", json={"paused": True})).json()
    assert (camera["paused"], camera["is_configured"], camera["state"]) == (True, True, "stopped")
    await client.close()
    client = await open_gateway()
    for path in ("/snapshot/door.jpg", "/hls/door/index.m3u8", "/mjpeg/door"):
        reply = await client.get(path)
        assert (reply.status, "paused: resume" in await reply.text()) == (503, True), path
    assert (await (await client.get("/api/status")).json())["problems"] == []
    resumed = await (await client.patch("/api/cameras/door", json={"paused": None})).json()
    assert (resumed["paused"], resumed["error_message"]) == (False, None)


async def test_the_api_does_not_remove_a_configured_camera(place: Path, open_gateway: Callable[[], Any]) -> None:
    write(place, door={"start": "on-demand"})
    client = await open_gateway()
    reply = await client.delete("/api/cameras/door")
    assert reply.status == 409
    assert "liveedge.toml" in (await reply.json())["message"]
    assert (await client.get("/api/cameras/door")).status == 200


@pytest.mark.parametrize(
    ("patch", "status"),
    [
        ({"frame_rate": "fast"}, 400),
        ({"colour": 1}, 400),
        ({"name": "x" * 101}, 400),
        ({"name": "a\u202eb"}, 400),
        ({"name": 5}, 400),
        ({"port": 80}, 400),
        ({"url": "file:///etc/passwd"}, 400),
        ({"engine": "os:system"}, 400),
        ({"capture_engine": "tests.support.sources.scripted:ScriptedEngine"}, 400),
        ({"engine": {}}, 400),
        ({"camera_id": "other"}, 400),
        ({"record": "always", "start": "on-demand"}, 400),
        ({}, 200),
    ],
)
async def test_an_invalid_patch_changes_nothing(
    place: Path, open_gateway: Callable[[], Any], patch: dict[str, object], status: int
) -> None:
    (place / "liveedge.toml").write_text("[cameras.door]\nurl = 'rtsp://u:s3cret@127.0.0.1:1/'\nstart = 'on-demand'")
    client = await open_gateway()
    before = client.app[GATEWAY].service.camera("door").settings
    reply = await client.patch("/api/cameras/door", json=patch)
    assert reply.status == status, await reply.text()
    assert "s3cret" not in await reply.text()
    assert client.app[GATEWAY].service.camera("door").settings == before
    assert not (place / "data" / "cameras.json").exists() or status == 200
    assert (await client.patch("/api/cameras/nosuch", json={})).status == 404


async def test_a_patch_restarts_only_what_it_changes(place: Path, open_gateway: Callable[[], Any]) -> None:
    write(place, door={}, yard={})
    client = await open_gateway()
    service = client.app[GATEWAY].service
    await eventually(lambda: engines(place, "door") and engines(place, "yard"), "both engines run")
    (run,) = engines(place, "door")
    run.send(key=True)
    await eventually(lambda: service.camera("door").session.state is SessionState.LIVE, "the camera is live")
    hold = service.camera("door").hold("test")

    await client.patch("/api/cameras/door", json={"frame_rate": 2, "connection_retry_attempts": 9})
    assert service.camera("door").session.policy.attempts == 9
    assert engines(place, "door") == [run]
    assert not run.interrupted

    # The engine's own settings need another run; the viewer stays.
    await client.patch("/api/cameras/door", json={"capture_timeout": 4321})
    await eventually(lambda: len(engines(place, "door")) == 2, "a second engine runs")
    assert run.interrupted
    assert engines(place, "door")[1].source.timeout_s == 4.321
    engines(place, "door")[1].send(key=True)
    await eventually(lambda: service.camera("door").session.state is SessionState.LIVE, "the camera is live")
    assert service.camera("door").viewers == {"test": 1}
    assert len(engines(place, "yard")) == 1
    assert not engines(place, "yard")[0].interrupted
    hold.release()


async def test_a_change_that_cannot_be_saved_is_not_made(
    place: Path, open_gateway: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place, door={"start": "on-demand"})
    client = await open_gateway()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("web.private_files.os.fsync", full)
    reply = await client.post("/api/cameras", json={"camera_id": "yard", "url": "rtsp://127.0.0.1/"})
    assert reply.status == 503
    assert "No space left" in (await reply.json())["message"]
    assert set(client.app[GATEWAY].service.cameras) == {"door"}
    assert not [path for path in (place / "data").iterdir() if "cameras.json" in path.name]


async def test_a_client_that_hangs_up_during_a_change_leaves_it_complete(
    place: Path, open_gateway: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place, door={"start": "on-demand"})
    client = await open_gateway()
    gateway = client.app[GATEWAY]
    begun, go_on = threading.Event(), threading.Event()

    def slow(*arguments: Any) -> None:
        begun.set()
        assert go_on.wait(20)
        write_tables(*arguments)

    monkeypatch.setattr("web.camera_store.write_tables", slow)
    table = {"url": "rtsp://127.0.0.1:1/", "start": "on-demand", "record": "never"}
    request = asyncio.create_task(gateway.changes.add("yard", table))
    await asyncio.to_thread(begun.wait, 20)
    request.cancel()
    await asyncio.wait([request])
    assert request.cancelled()
    go_on.set()
    await eventually(lambda: "yard" in gateway.service.cameras, "the camera is added")
    assert "yard" in json.loads((place / "data" / "cameras.json").read_text())["cameras"]
    await gateway.changes.remove("yard")
    assert set(gateway.service.cameras) == {"door"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"version": 1, "cameras": []}',
        '{"version": 2, "cameras": {}}',
        '{"version":1,"cameras":{"a":1}}',
    ],
)
def test_a_damaged_file_stops_the_start(place: Path, text: str) -> None:
    (place / "data").mkdir()
    (place / "data" / "cameras.json").write_text(text)
    with pytest.raises(SettingsError, match=r"cameras\.json"):
        CameraStore(load())


def test_an_invalid_camera_in_the_file_is_left_out_and_kept(place: Path) -> None:
    (place / "data").mkdir()
    kept = {"yard": {"url": "rtsp://u:s3cret@h/", "frame_rate": 900}, "door": {"url": "rtsp://h/"}}
    (place / "data" / "cameras.json").write_text(json.dumps({"version": 1, "cameras": kept}))
    book = CameraStore(load())
    assert set(book.cameras()) == {"door"}
    assert "frame_rate" in book.faults["yard"]
    assert "s3cret" not in book.faults["yard"]
    assert json.loads((place / "data" / "cameras.json").read_text())["cameras"] == kept


async def test_cameras_that_somebody_waits_for_are_kept_captured(place: Path, open_gateway: Callable[[], Any]) -> None:
    """A player polls a camera that is down, and asks for its media when it is live."""
    table: dict[str, object] = {
        "start": "on-demand",
        "record": "never",
        "url": "rtsp://127.0.0.1:1/1",
        "engine": "rtsp",
    }
    write(place, door=table | {"sub_url": "rtsp://127.0.0.1:1/2"}, yard=table, gate=table)
    client = await open_gateway()
    service = client.app[GATEWAY].service

    async def states(query: str) -> dict[str, str]:
        reply = await client.get(f"/api/cameras?{query}")
        assert reply.status == 200
        return {each["camera_id"]: each["state"] for each in (await reply.json())["cameras"]}

    assert await states("camera_id=door,nobody,yard") == {"door": "stopped", "yard": "stopped"}
    assert (await states("camera_id=door,yard&hold=true")).keys() == {"door", "yard"}
    sessions = [each.session for each in service.camera("door").renditions.values()]
    assert len(sessions) == 2
    await eventually(lambda: all(each.error_message for each in sessions), "an attempt was made for both streams")
    before = service.camera("door").session.attempt_at
    assert (await states("camera_id=door&hold=true"))["door"] in ("retrying", "connecting", "failed")
    assert before is None or service.camera("door").session.attempt_at in (None, before), "not earlier than it is due"
    assert await states("camera_id=gate&hold=false") == {"gate": "stopped"}
    assert service.camera("door").viewers == {}
    service.camera("door").awaited.end()
    assert not service.camera("door").is_wanted
    for query in ("hold=true", "camera_id=door&hold=yes"):
        assert (await client.get(f"/api/cameras?{query}")).status == 400
