"""A node of a cluster is away: another one plays from the object storage what that node had uploaded."""

import re
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from tests.support.eventually import eventually_sync
from tests.support.ffprobe import decode
from tests.support.gateway_process import GatewayProcess
from tests.support.postgres import postgres_server
from tests.support.rtsp import free_port
from tests.support.s3_server import S3Server

pytestmark = pytest.mark.integration


def test_what_a_node_has_uploaded_is_played_at_another_one_while_it_is_away(own_s3: S3Server, tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        storage = {name.upper(): value for name, value in own_s3.settings("site").items()}
        nodes = []
        for name in "ab":
            (folder := tmp_path / name).mkdir()
            settings = storage | {"CLUSTER_URL": server.url, "ARCHIVE_SEGMENT_SECONDS": 2}
            settings |= {"PORT": (port := free_port()), "NODE_URL": f"http://127.0.0.1:{port}"}
            nodes.append(stack.enter_context(GatewayProcess(folder, NODE_NAME=name, **settings)))
        a, b = nodes
        path = "/api/cameras/door"
        table = {"camera_id": "door", "url": "fake://door", "engine": "fake", "record": "always"}
        a.json("/api/cameras", "POST", table)
        owner = eventually_sync(
            lambda: a.json("/api/status")["cluster"]["owners"].get("door"), "a node owns the camera"
        )
        there, here = (a, b) if owner == "a" else (b, a)

        def uploaded() -> list[str]:
            records = [key for key in own_s3.keys(f"site/{owner}") if key.endswith(".json")]
            return [key.rpartition("/")[2].removesuffix(".json") for key in records]

        eventually_sync(lambda: len(uploaded()) >= 1, "segments are uploaded")
        there.stop()
        names = sorted(uploaded())
        before = own_s3.objects(f"site/{owner}")

        def listed() -> dict[str, Any]:
            segments = here.json(f"{path}/segments")["segments"]
            return {each["id"]: each for each in segments if each["url"].endswith(f"node={owner}")}

        eventually_sync(lambda: listed().keys() >= set(names), "the segments of the node are listed", limit_s=60)
        segment = listed()[names[0]]
        day = segment["start"][:10]
        assert here.json(f"{path}/days?first=2020-01-01&last=2020-12-31")["days"] == []
        assert day in here.json(f"{path}/days?first={day}&last={day}")["days"]
        status, _, content = here.fetch(segment["url"])
        assert (status, len(content)) == (200, segment["size"])
        (tmp_path / "file.mp4").write_bytes(content)
        assert decode(tmp_path / "file.mp4") == ""
        status, _, part = here.fetch(segment["url"], headers={"Range": "bytes=4-7"})
        assert (status, part) == (206, b"ftyp")
        assert here.fetch(segment["url"].partition("?")[0])[2] == content, "found without the name of its node"
        assert here.fetch(segment["thumbnail"])[2][:2] == b"\xff\xd8"
        at = (datetime.fromisoformat(segment["start"]) + timedelta(seconds=segment["duration_s"] / 2)).timestamp()
        assert here.json(f"{path}/segments/at?time={at}")["segment"]["id"] == names[0]
        assert here.fetch(f"/snapshot/door.jpg?at={at}")[0] == 200
        status, _, clip = here.fetch(f"{path}/clip.mp4?start={segment['start']}&end={segment['end']}")
        assert (status, clip[4:8]) == (200, b"ftyp")

        status, _, text = here.fetch(f"/hls/door/dvr.m3u8?start={segment['start']}")
        playlist = text.decode()
        uris = [line for line in playlist.splitlines() if line and not line.startswith("#")]
        assert {uri.partition("?")[0].rpartition("/")[2].removesuffix(".mp4") for uri in uris} >= set(names), playlist
        (init, *_) = re.findall('#EXT-X-MAP:URI="([^"]*)"', playlist)
        assert init.endswith(f"node={owner}")
        assert b"moov" in here.fetch(urljoin("/hls/door/", init))[2]
        assert here.fetch(urljoin("/hls/door/", uris[0]))[2] == content
        status, _, body = here.fetch(f"/archive/door/{names[0]}_9.mp4?node={owner}")
        assert status in (404, 503), body
        assert own_s3.objects(f"site/{owner}") == before, "nothing of its folder is changed"

        protect = f"{path}/segments/{names[0]}/protect?node={owner}"
        assert here.fetch(protect, "POST")[0] == 503, "only the node itself can"
        there.start()
        eventually_sync(lambda: here.fetch(protect, "POST")[0] == 200, "the node is back, and answers itself")
        assert here.fetch(segment["url"])[2] == content
