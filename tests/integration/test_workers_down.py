"""The recordings of a worker that is down are at the others: real processes, one of them killed and kept from starting.

What keeps it from starting is another process that has its folder: this one.
"""

import fcntl
import json
import os
import re
import signal
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import av
import pytest

from hls.evidence.verify import verify_export
from tests.support.eventually import eventually_sync
from tests.support.gateway_process import GatewayProcess

pytestmark = pytest.mark.integration

CAMERAS = ("door", "gate")

TABLES = "".join(f'[cameras.{name}]\nurl = "fake://{name}"\nengine = "fake"\n' for name in CAMERAS)

DOWN = "worker-2"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    (tmp_path / "liveedge.toml").write_text(TABLES)
    with GatewayProcess(tmp_path, WORKERS=2, START="always", RECORD="always", ARCHIVE_SEGMENT_SECONDS=2) as process:
        yield process


def owned(gateway: GatewayProcess) -> list[str]:
    """The cameras of the worker that goes down."""
    owners = gateway.json("/api/status")["cluster"]["owners"]
    return [camera_id for camera_id, owner in owners.items() if owner == DOWN]


def segments(gateway: GatewayProcess, camera_id: str) -> list[dict[str, Any]]:
    """Those that this worker recorded, page by page."""
    found, cursor = list[dict[str, Any]](), ""
    while True:
        page = gateway.json(f"/api/cameras/{camera_id}/segments?limit=1{cursor}")
        found += [each for each in page["segments"] if f"node={DOWN}" in each["url"]]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def body_of(gateway: GatewayProcess, path: str) -> bytes:
    status, headers, body = gateway.fetch(path)
    assert (status, headers.get("Liveedge-Away")) == (200, None), (path, body[:500])
    return body


@contextmanager
def down(gateway: GatewayProcess) -> Iterator[Path]:
    """The worker is killed, and cannot start; yields its folder."""
    folder = gateway.folder / "data" / ".workers" / "2"
    process = int(re.findall(r"worker 2 is process (\d+)", gateway.log())[-1])
    with (folder / ".lock").open() as lock:
        os.kill(gateway.pid, signal.SIGSTOP)  # the parent starts none until the folder is taken
        try:
            os.kill(process, signal.SIGKILL)
            fcntl.flock(lock, fcntl.LOCK_EX)
        finally:
            os.kill(gateway.pid, signal.SIGCONT)
        yield folder


def is_known_to_be_down(gateway: GatewayProcess) -> bool:
    return "worker_away" in {each["code"] for each in gateway.json("/api/status")["problems"]}


def export(gateway: GatewayProcess, camera_id: str, start: str, end: str) -> dict[str, Any]:
    """Export a span; returns the job when it is done."""
    made = gateway.json("/api/exports", "POST", {"cameras": [camera_id], "start": start, "end": end})

    def finished() -> dict[str, Any] | None:
        job: dict[str, Any] = gateway.json(f"/api/exports/{made['id']}")
        return job if job["state"] in ("done", "failed") else None

    job: dict[str, Any] = eventually_sync(finished, "the export ends")
    assert (job["state"], job["message"]) == ("done", None)
    return job


def manifest_of(gateway: GatewayProcess, job: dict[str, Any], path: Path) -> dict[str, Any]:
    path.write_bytes(body_of(gateway, job["url"]))
    assert not verify_export(path, None).faults
    with zipfile.ZipFile(path) as file:
        manifest: dict[str, Any] = json.loads(file.read("manifest.json"))
    return manifest


def test_what_a_worker_recorded_that_is_down_is_at_the_others_and_once_when_it_is_back(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    (camera_id,) = eventually_sync(lambda: found if len(found := owned(gateway)) == 1 else [], "each has a camera")
    before = eventually_sync(
        lambda: found if len(found := segments(gateway, camera_id)) >= 2 else [],
        "a file is finished, and another grows",
    )
    first = before[0]
    content = body_of(gateway, first["url"])
    made_there = export(gateway, camera_id, first["start"], first["end"])
    with down(gateway) as folder:
        eventually_sync(lambda: is_known_to_be_down(gateway), "the other worker knows")
        there = segments(gateway, camera_id)
        written = {path: path.stat().st_mtime_ns for path in folder.rglob("*.mp4")}
        assert {each["id"] for each in there} <= {path.stem for path in written}
        assert [each["id"] for each in there[: len(before)]] == [each["id"] for each in before]
        assert {each["state"] for each in there} <= {"closed", "truncated"}, "nothing grows there"
        assert body_of(gateway, first["url"]) == content
        for each in there:
            assert len(body_of(gateway, each["url"])) == each["size"]
            assert body_of(gateway, each["url"].partition("?")[0])[4:8] == b"ftyp", "without the name of its node"
            assert body_of(gateway, each["thumbnail"])[:2] == b"\xff\xd8"
        start, end = first["start"], there[-1]["end"]
        day, span = start[:10], urlencode({"start": start, "end": end})
        assert json.loads(body_of(gateway, f"/api/cameras/{camera_id}/days?first={day}&last={day}"))["days"] == [day]
        body_of(gateway, f"/api/cameras/{camera_id}/activity?{span}")
        playlist = body_of(gateway, f"/hls/{camera_id}/dvr.m3u8?{span}&rendition=main").decode()
        assert {f"/{each['id']}.mp4?node={DOWN}" in playlist for each in there} == {True}, playlist
        (tmp_path / "clip.mp4").write_bytes(body_of(gateway, f"/api/cameras/{camera_id}/clip.mp4?{span}"))
        with av.open(str(tmp_path / "clip.mp4")) as clip:
            assert sum(1 for _ in clip.decode(video=0)) == sum(each["frames"] for each in there)
        at = datetime.fromisoformat(start).timestamp() + first["duration_s"] / 2
        assert body_of(gateway, f"/snapshot/{camera_id}.jpg?at={at}")[:2] == b"\xff\xd8"
        position = json.loads(body_of(gateway, f"/api/cameras/{camera_id}/segments/at?time={at}"))
        assert position["segment"]["id"] == first["id"]
        manifest = manifest_of(gateway, export(gateway, camera_id, start, end), tmp_path / "export.zip")
        assert manifest["away"] == []
        exported = [each["segment"] for camera in manifest["cameras"] for each in camera["sources"]]
        assert [name for name in exported if name in {each["id"] for each in there}] == [each["id"] for each in there]
        protect = f"/api/cameras/{camera_id}/segments/{first['id']}/protect?node={DOWN}"
        assert gateway.fetch(protect, "POST")[0] == 503, "only the worker itself can"
        status, _, body = gateway.fetch(f"/api/exports/{made_there['id']}")
        assert (status, json.loads(body)["error"]) == (503, "node_away"), "its own exports are not unknown"
        assert gateway.fetch("/api/exports")[1]["Liveedge-Away"] == DOWN
        assert gateway.fetch("/api/exports/of-nobody")[0] == 503
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.mp4")} == written
    eventually_sync(lambda: not is_known_to_be_down(gateway), "it is started again", limit_s=120)
    there_again = f"/api/exports/{made_there['id']}"
    eventually_sync(lambda: gateway.json(there_again).get("state") == "done", "its exports are there again")
    eventually_sync(lambda: gateway.fetch("/api/exports/of-nobody")[0] == 404, "both workers know")
    names = [each["id"] for each in segments(gateway, camera_id)]
    assert names[: len(there)] == [each["id"] for each in there], "each once"
    assert len(set(names)) == len(names)
    assert not next(each for each in segments(gateway, camera_id) if each["id"] == first["id"])["protected"]
