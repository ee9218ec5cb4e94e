"""An export in a cluster whose other node is lost while it makes its part, or was away before."""

import json
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK
from gateway.errors import NodeAwayError, NotFoundError
from gateway.service import CaptureService
from hls.archive.folder_archive import FolderArchive
from hls.events.service import EventService
from hls.evidence.export_build import ExportBuild
from hls.evidence.export_job import ExportJob, ExportRequest
from hls.evidence.export_parts import Holders
from hls.evidence.manifest import MANIFEST
from hls.evidence.reader import EvidenceReader
from hls.evidence.verify import verify_export
from hls.playback.segment_finder import SegmentFinder
from tests.support.evidence import NOW_90K, new_key, signed_recordings
from tests.support.recording import index_of
from tests.support.sources.encoded import START_90K
from web.settings import load_settings


class LostNode:
    """It has recordings of the time, and is lost when it is asked for its part."""

    def __init__(self, holders: Holders) -> None:
        self.found = holders

    async def holders(self, _: ExportRequest) -> Holders:
        return self.found

    async def fetch(self, node: str, _: ExportRequest, path: Path, __: Callable[[], bool]) -> bool:
        path.write_bytes(b"what came of it")
        raise NodeAwayError(node, f"the node {node} of the cluster was lost while it sent its part")


Build = Callable[[str, Holders], ExportBuild]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Of what this node recorded of the camera ``door``."""
    index, key = index_of(tmp_path / "data"), new_key()
    signed_recordings(tmp_path / "data", index, key)
    index.close()
    settings = load_settings(data_dir=tmp_path / "data", cameras={})
    archive = FolderArchive(settings, CaptureService({}), tmp_path / "pictures")
    events = EventService(archive.index, settings, SYSTEM_CLOCK, lambda: None)
    with ThreadPoolExecutor(1) as executor:

        def build_of(camera_id: str, holders: Holders) -> ExportBuild:
            request = ExportRequest((camera_id,), START_90K, START_90K + 60 * CLOCK_RATE)
            job = ExportJob("1", NOW_90K, "olga", request)
            evidence = EvidenceReader(archive.index, key)
            return ExportBuild(job, SegmentFinder(archive), events, evidence, executor, LostNode(holders))

        yield build_of


async def test_an_export_goes_on_and_names_a_node_that_was_lost_meanwhile(build: Build, tmp_path: Path) -> None:
    export = build("door", Holders(["recorder-2"], ["recorder-3"]))
    await export.plan()
    path = tmp_path / "export.zip"
    result = await export.build(path)
    export.close()
    assert (result["reason"], result["values"]) == ("export_incomplete", {"nodes": "recorder-2, recorder-3"})
    assert "recorder-2, recorder-3" in result["message"]
    with zipfile.ZipFile(path) as file:
        manifest = json.loads(file.read(MANIFEST))
    assert manifest["away"] == ["recorder-2", "recorder-3"]
    assert [each["camera"] for each in manifest["cameras"]] == ["door"]
    assert not verify_export(path, None).faults
    assert list(tmp_path.glob("*.of-node")) == []


async def test_an_export_of_what_the_lost_node_alone_has_says_that_it_is_away(build: Build, tmp_path: Path) -> None:
    export = build("gate", Holders(["recorder-2"]))
    await export.plan()
    with pytest.raises(NodeAwayError, match="recorder-2"):
        await export.build(tmp_path / "export.zip")
    with pytest.raises(NodeAwayError, match="recorder-2"):
        await build("gate", Holders([], ["recorder-2"])).plan()
    with pytest.raises(NotFoundError, match="nothing is recorded"):
        await build("gate", Holders()).plan()
