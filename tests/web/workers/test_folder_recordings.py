"""The recordings of a worker that is down are read in its folder, and those of one that is alive are not."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from gateway.cluster.model import Node, View
from gateway.errors import StorageError
from gateway.service import CaptureService
from tests.support.recording import index_of, record
from tests.support.sources.encoded import START_90K, encode
from web.cluster.service import Cluster
from web.recordings import ArchiveRecordings
from web.settings import Settings, load_settings
from web.workers.folder_recordings import FolderRecordings
from web.workers.worker import Worker


class Workers:
    """Three workers; this one is the second. ``view`` has those that are alive."""

    def __init__(self, data_dir: Path) -> None:
        self.view = View({})
        self.worker = Worker(2, 3, 1, str(data_dir), 0.0, (), (), -1, 1, -1)
        self.settings: Settings = self.worker.settings(load_settings(data_dir=data_dir, cameras={}))
        service = CaptureService({})
        self.folders = FolderRecordings(
            cast("Cluster", SimpleNamespace(coordinator=self)),
            self.worker,
            self.settings,
            service,
            lambda reader, name: ArchiveRecordings(reader, service, name),
        )

    def alive(self, *numbers: int) -> None:
        self.view = View({f"{number}#1": Node(f"{number}#1", f"worker-{number}") for number in numbers})


@pytest.fixture
def workers(tmp_path: Path) -> Workers:
    return Workers(tmp_path)


def test_who_is_down(workers: Workers) -> None:
    assert workers.folders.away() == [], "nobody is known yet"
    workers.alive(2)
    assert workers.folders.away() == ["worker-1", "worker-3"]
    workers.alive(2, 3)
    assert workers.folders.away() == ["worker-1"]
    assert [workers.folders.process(f"worker-{number}") for number in (1, 2, 3)] == [None, "2#1", "3#1"]
    for name in ("worker-2", "worker-3", "worker-4", "worker-x", ""):
        assert not workers.folders.is_away(name)


async def test_the_recordings_of_each_are_in_its_own_folder(workers: Workers, tmp_path: Path) -> None:
    first, third = tmp_path, tmp_path / ".workers" / "3"
    index_of(first, record(first, encode(), finish=True)).close()
    index_of(third, record(third, encode(), "gate", finish=False)).close()
    workers.alive(2)
    for name, camera_id, other, folder in (("worker-1", "door", "gate", first), ("worker-3", "gate", "door", third)):
        node = await workers.folders.of_span(name, camera_id, None, None)
        assert node is not None
        assert node.folder == folder
        (segment,) = (await node.recordings.page(camera_id, None, None, limit=9, cursor=None, rendition=None)).segments
        assert segment.url.endswith(f"?node={name}")
        assert segment.state == ("closed" if name == "worker-1" else "truncated")
        assert await workers.folders.of_file(name, camera_id, segment.id) is node
        spans = [(START_90K - 10, START_90K), (START_90K, START_90K + 1)]
        assert await workers.folders.recorded_spans(name, camera_id, spans) == [False, True]
        assert await workers.folders.recorded_spans(name, other, spans) == [False, False]
    await workers.folders.close()


async def test_one_that_is_alive_again_is_not_read_any_more(workers: Workers, tmp_path: Path) -> None:
    index_of(tmp_path, record(tmp_path, encode())).close()
    workers.alive(2, 3)
    node = await workers.folders.of_span("worker-1", "door", None, None)
    assert node is not None
    pictures = node.archive.files.pictures
    assert pictures.is_dir()
    assert await workers.folders.of_span("worker-1", "door", None, None) is node
    workers.alive(1, 2, 3)
    for found in (
        await workers.folders.of_span("worker-1", "door", None, None),
        await workers.folders.of_init("worker-1", "door", "any"),
        await workers.folders.of_file("worker-1", "door", "any"),
        await workers.folders.recorded_spans("worker-1", "door", [(0, 1)]),
    ):
        assert found is None
    assert not pictures.exists()
    workers.alive(2, 3)
    assert await workers.folders.of_span("worker-1", "door", None, None) is not node
    await workers.folders.close()


async def test_a_folder_that_cannot_be_read_is_an_error(workers: Workers, tmp_path: Path) -> None:
    workers.alive(2, 3)
    with pytest.raises(StorageError):
        await workers.folders.of_span("worker-1", "door", None, None)
    assert list(tmp_path.iterdir()) == [], "nothing is made there"
    await workers.folders.close()
