"""What the gateway writes is not for other users of the machine; what an earlier version wrote is closed to them."""

import os
import stat
from pathlib import Path

from hls.archive.data_dir import close_to_others
from tests.support.auth_gateway import DEMO, auth_gateway, bearer
from tests.support.eventually import eventually
from tests.support.recording import index_of, record
from tests.support.sources.encoded import EncoderSettings, encode


def open_to_others(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if stat.S_IMODE(path.lstat().st_mode) & 0o007
    )


async def test_nothing_in_the_data_dir_is_open_to_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        cameras = {"demo": DEMO["demo"] | {"record": "always"}}
        async with auth_gateway(tmp_path, cameras=cameras) as client:
            data = tmp_path / "data"

            async def is_recorded() -> bool:
                url = "/api/cameras/demo/segments"
                async with client.get(url, headers=bearer("the-token-of-the-admin")) as answer:
                    found = (await answer.json())["segments"]
                if not found:
                    return False
                thumbnail = found[0]["url"].replace(".mp4", ".jpg")
                async with client.get(thumbnail, headers=bearer("the-token-of-the-admin")) as answer:
                    return answer.status == 200

            await eventually(is_recorded, "a segment and its thumbnail")
            new = {"camera_id": "new", "url": "fake://new", "engine": "fake", "start": "on-demand", "record": "never"}
            async with client.post("/api/cameras", json=new, headers=bearer("the-token-of-the-admin")) as answer:
                assert answer.status == 201, await answer.text()
            names = {path.name for path in data.rglob("*")}
            assert {"index.sqlite3", "signing.key", "cameras.json", ".lock", "demo"} <= names
            assert {path.suffix for path in data.rglob("*")} >= {".mp4", ".jpg"}
            assert open_to_others(tmp_path) == []
    finally:
        os.umask(before)


def test_what_an_earlier_version_left_open_is_closed(tmp_path: Path) -> None:
    index_of(tmp_path, record(tmp_path, encode(EncoderSettings(seconds=2)), segment_s=2)).close()
    other = tmp_path / "somebody-elses"
    other.mkdir()
    (other / "file").write_text("x")
    (tmp_path / "link").symlink_to("/etc/passwd")
    for path in (tmp_path, *tmp_path.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    close_to_others(tmp_path)
    assert open_to_others(tmp_path) == ["link", "somebody-elses", "somebody-elses/file"]
    assert list(tmp_path.rglob("*.mp4"))
    assert stat.S_IMODE(next(tmp_path.rglob("*.mp4")).stat().st_mode) == 0o640
