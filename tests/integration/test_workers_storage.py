"""Workers of ``WORKERS`` with an object storage: each has a folder there, as it has one on the disk."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hls.archive.segment import segment_path
from tests.integration.test_workers import owners, request, shares, status
from tests.integration.test_workers_down import down, is_known_to_be_down
from tests.support.eventually import eventually_sync
from tests.support.gateway_process import GatewayProcess
from tests.support.s3_server import S3Server

pytestmark = pytest.mark.integration

CAMERAS = ("door", "gate")


def recordings(gateway: GatewayProcess, camera: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.json(f"/api/cameras/{camera}/segments")["segments"]
    return found


def closed(gateway: GatewayProcess, camera: str) -> list[str]:
    """The names of its recordings that are complete."""
    return [each["id"] for each in recordings(gateway, camera) if each["state"] == "closed"]


def test_what_all_workers_recorded_is_uploaded_and_found_again_without_the_disk(
    tmp_path: Path, own_s3: S3Server
) -> None:
    tables = "".join(f'[cameras.{name}]\nurl = "fake://{name}"\nengine = "fake"\n' for name in CAMERAS)
    (tmp_path / "liveedge.toml").write_text(tables)
    storage = {name.upper(): value for name, value in own_s3.settings("site").items()}
    keep = {"WORKERS": 2, "START": "always", "RECORD": "capture", "ARCHIVE_LOCAL_KEEP": 0}
    with GatewayProcess(tmp_path, **keep, **storage) as gateway:
        eventually_sync(lambda: shares(gateway) == [1, 1], "each worker captures one")
        workers = owners(gateway)
        for camera in CAMERAS:
            eventually_sync(partial(recordings, gateway, camera), "it is recorded")
            gateway.json(f"/api/cameras/{camera}", "PATCH", {"record": "never"})
        eventually_sync(lambda: all(closed(gateway, camera) for camera in CAMERAS), "both recordings end")
        names = {camera: closed(gateway, camera)[-1] for camera in CAMERAS}
        for camera, name in names.items():
            folder = "site" if workers[camera] == "worker-1" else "site/.workers/2"
            key = f"{segment_path(Path(folder), camera, name)}"
            eventually_sync(lambda key=key: key in own_s3.keys("site"), "its worker uploads it")  # type: ignore[misc]
        eventually_sync(lambda: status(gateway)["archive"]["storage"]["segments_uploaded"] >= 2, "it says so")
        (camera,) = (each for each, worker in workers.items() if worker == "worker-2")
        with down(gateway) as there:
            eventually_sync(lambda: is_known_to_be_down(gateway), "the other worker knows")
            segment_path(there, camera, names[camera]).unlink(missing_ok=True)
            (found,) = [each for each in recordings(gateway, camera) if each["id"] == names[camera]]
            code, body = request(gateway, "GET", found["url"])
            assert (code, len(body)) == (200, found["size"])
        eventually_sync(lambda: not is_known_to_be_down(gateway), "it is started again", limit_s=120)
    shutil.rmtree(tmp_path / "data")
    with gateway:
        for camera, name in names.items():
            eventually_sync(partial(closed, gateway, camera), "it is found again")
            assert closed(gateway, camera).count(name) == 1, "by one worker alone"
            for _ in range(4):
                (found,) = [each for each in recordings(gateway, camera) if each["id"] == name]
                code, body = request(gateway, "GET", found["url"])
                assert (code, body[4:8]) == (200, b"ftyp")
        assert status(gateway)["archive"]["storage"]["error"] is None
