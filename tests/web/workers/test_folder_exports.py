"""The part of an export that a worker recorded which is down, or goes down meanwhile, is made of its folder."""

import asyncio
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from gateway.clock import CLOCK_RATE
from gateway.cluster.model import Node, View
from gateway.errors import NodeAwayError
from hls.archive.segment import Segment
from hls.evidence.export_job import ExportRequest
from hls.evidence.export_parts import Holders, add_part
from hls.evidence.export_zip import CancelledExportError, ExportZip
from hls.evidence.manifest import MANIFEST, read_manifest
from hls.evidence.service import Evidence
from tests.support.evidence import new_key, signed_recordings
from tests.support.recording import index_of
from tests.support.sources.encoded import START_90K
from tests.web.workers.test_folder_recordings import Workers
from web.workers import folder_exports
from web.workers.folder_exports import FolderExports

REQUEST = ExportRequest(("door",), START_90K, START_90K + 60 * CLOCK_RATE)

KEY = new_key()


class Living:
    """The parts of the workers that are alive."""

    def __init__(self) -> None:
        self.found = Holders(["worker-3"], ["worker-1"])
        self.fetched: list[str] = []
        self.on_fetch: Callable[[str], bool] = lambda _: True

    async def holders(self, _: ExportRequest) -> Holders:
        return self.found

    async def fetch(self, node: str, _: ExportRequest, __: Path, ___: Callable[[], bool]) -> bool:
        self.fetched.append(node)
        return self.on_fetch(node)


@pytest.fixture
def workers(tmp_path: Path) -> Workers:
    made = Workers(tmp_path)
    made.alive(2, 3)
    return made


@pytest.fixture
def recorded(tmp_path: Path) -> list[Segment]:
    """Of the first worker."""
    index = index_of(tmp_path)
    segments = signed_recordings(tmp_path, index, KEY)
    index.close()
    return segments


def exports(workers: Workers, living: Living) -> FolderExports:
    evidence = cast("Evidence", SimpleNamespace(key=KEY))
    return FolderExports(living, workers.folders, workers.settings, evidence)


def never() -> bool:
    return False


async def test_who_can_be_read_is_not_away(workers: Workers, recorded: list[Segment], tmp_path: Path) -> None:
    parts, living = exports(workers, Living()), Living()
    assert await parts.holders(REQUEST) == Holders(["worker-1", "worker-3"], [])
    other = ExportRequest(("gate",), START_90K, START_90K + CLOCK_RATE)
    assert await parts.holders(other) == Holders(["worker-3"], []), "it has nothing of it"
    assert not await parts.fetch("worker-1", other, tmp_path / "part.zip", never)
    workers.alive(2)
    assert await exports(workers, living).holders(REQUEST) == Holders(["worker-1"], ["worker-3"]), "it has no index"
    with pytest.raises(NodeAwayError, match="cannot be read"):
        await parts.fetch("worker-3", REQUEST, tmp_path / "part.zip", never)
    assert living.fetched == []
    await workers.folders.close()


async def test_the_part_of_one_that_is_down_is_as_it_makes_it_itself(
    workers: Workers, recorded: list[Segment], tmp_path: Path
) -> None:
    path = tmp_path / "part.zip"
    assert await exports(workers, living := Living()).fetch("worker-1", REQUEST, path, never)
    assert living.fetched == []
    with zipfile.ZipFile(path) as part:
        manifest = read_manifest(part.read(MANIFEST))
    (camera,) = manifest["cameras"]
    assert camera["sources"] == [{"segment": each.name, "state": "intact"} for each in recorded]
    assert len(camera["records"]) == len(recorded)
    assert [each["id"] for each in manifest["public_keys"]] == [KEY.key_id]
    whole = ExportZip(tmp_path / "whole.zip", never)
    cameras, _ = add_part(whole, path, "worker-1", ())
    whole.close()
    assert sum(each["duration_s"] for each in cameras[0]["clips"]) == pytest.approx(8, abs=0.2)
    await workers.folders.close()


async def test_one_that_is_lost_while_it_makes_its_part_is_read_or_asked_again(
    workers: Workers, recorded: list[Segment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_exports, "POLL_S", 0.01)
    living, path = Living(), tmp_path / "part.zip"
    workers.alive(1, 2, 3)

    def lost(name: str) -> bool:
        # Its lease ends a moment after its connections.
        asyncio.get_running_loop().call_later(0.05, workers.alive, 2, 3)
        raise NodeAwayError(name, "lost")

    living.on_fetch = lost
    assert await exports(workers, living).fetch("worker-1", REQUEST, path, never)
    assert living.fetched == ["worker-1"]
    assert path.stat().st_size > 1000

    workers.alive(1, 2, 3)
    living.fetched.clear()

    def lost_once(name: str) -> bool:
        if len(living.fetched) > 1:
            return True
        workers.view = View({"1#2": Node("1#2", "worker-1")})
        raise NodeAwayError(name, "lost")

    living.on_fetch = lost_once
    assert await exports(workers, living).fetch("worker-1", REQUEST, path, never)
    assert living.fetched == ["worker-1", "worker-1"], "its next process is asked"
    await workers.folders.close()


async def test_one_that_stays_and_does_not_answer_ends_the_export(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_exports, "LOST_S", 0.0)
    workers.alive(1, 2, 3)
    living = Living()

    def lost(name: str) -> bool:
        raise NodeAwayError(name, "lost")

    living.on_fetch = lost
    with pytest.raises(NodeAwayError):
        await exports(workers, living).fetch("worker-1", REQUEST, tmp_path / "part.zip", never)
    assert len(living.fetched) == folder_exports.TRIES
    monkeypatch.setattr(folder_exports, "LOST_S", 60.0)
    with pytest.raises(CancelledExportError):
        await exports(workers, living).fetch("worker-1", REQUEST, tmp_path / "part.zip", lambda: True)


async def test_a_part_that_is_made_here_can_be_cancelled(
    workers: Workers, recorded: list[Segment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_exports, "POLL_S", 0.0)
    with pytest.raises(CancelledExportError):
        await exports(workers, Living()).fetch("worker-1", REQUEST, tmp_path / "part.zip", lambda: True)
    await workers.folders.close()
