"""A recording node is killed while it uploads, and its disk is lost: another node completes what the storage has."""

import sys
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from tests.support.eventually import eventually_sync
from tests.support.ffprobe import decode, ffprobe
from tests.support.gateway_process import GatewayProcess
from tests.support.postgres import postgres_server
from tests.support.s3_server import S3Server

pytestmark = pytest.mark.integration

PART_SIZE = 65_536

SMALL_AND_SOON = f"""
import runpy, sys
import hls.archive.upload, hls.cluster.uploads, web.cluster.absent_nodes
hls.archive.upload.PART_BYTES = {PART_SIZE}
hls.cluster.uploads.ADOPT_AFTER_S = 1
web.cluster.absent_nodes.INTERVAL_S = 0.2
sys.argv = ["liveedge", *sys.argv[4:]]
runpy.run_module("web", run_name="__main__")
"""
"""Runs ``python -m web`` with other constants, so that little has to be recorded, and nothing waits for minutes."""


def test_another_node_completes_the_upload_of_a_node_whose_machine_is_lost(own_s3: S3Server, tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        storage = {name.upper(): value for name, value in own_s3.settings("site").items()}
        nodes = []
        for name in "ab":
            (folder := tmp_path / name).mkdir()
            node = GatewayProcess(folder, CLUSTER_URL=server.url, NODE_NAME=name, **storage)
            node.prefix = (sys.executable, "-c", SMALL_AND_SOON)
            nodes.append(node)
        a, b = nodes
        stack.enter_context(a)
        camera = {"camera_id": "door", "url": "fake://door", "engine": "fake"}
        a.json("/api/cameras", "POST", camera)

        def uploaded() -> int:
            found: int = a.json("/api/status")["archive"]["storage"]["parts_uploaded"]
            return found

        eventually_sync(lambda: uploaded() >= 4, "parts of the growing segment are uploaded")
        (grown,) = a.json("/api/cameras/door/segments")["segments"]
        a.kill()
        rmtree(tmp_path / "a" / "data")
        stack.enter_context(b)

        def adopted() -> list[dict[str, Any]]:
            found = b.json("/api/cameras/door/segments")["segments"]
            return [each for each in found if each["id"] == grown["id"]]

        (segment,) = eventually_sync(adopted, "the other node lists the segment of the one that was lost")
        lost_bytes = grown["size"] - segment["size"]
        assert lost_bytes < 2 * PART_SIZE, "a part that was not full, and a fragment that was not complete"
        status, _, content = b.fetch(f"/archive/door/{segment['id']}.mp4")
        assert (status, len(content)) == (200, segment["size"])
        file = tmp_path / "file.mp4"
        file.write_bytes(content)
        assert decode(file) == ""
        assert float(ffprobe(file)["format"]["duration"]) > 1

        def counting() -> list[dict[str, Any]]:
            found = b.json("/api/cameras/door/recordings")["recordings"]
            return [each for each in found if each["segment"] == segment["id"] and each["counts_from"]]

        (row,) = eventually_sync(counting, "the index of all recordings has it")
        assert (row["node"], row["epoch"], row["size"]) == ("b", 1, segment["size"])
        assert not [key for key in own_s3.unfinished("site") if "/a/" in key]

        def problems() -> list[dict[str, Any]]:
            return [each for each in b.json("/api/status")["problems"] if each["code"] == "cluster_node_away"]

        (problem,) = eventually_sync(problems, "it says that the node is away")
        assert "the node a is away" in problem["message"]
