"""The archive in the folder of a process that does not run: its recordings are read, and nothing is written there."""

import io
from pathlib import Path

import av
import pytest

from gateway.clock import CLOCK_RATE
from gateway.errors import StorageError
from gateway.service import CaptureService
from hls.archive.folder_archive import FolderArchive
from hls.archive.segment import SegmentState
from hls.playback.activity import ActivityReader
from hls.playback.reader import ArchiveReader
from tests.support.recording import index_of, record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode
from web.settings import load_settings


async def test_what_is_in_the_index_and_what_is_on_the_disk_alone_is_read(tmp_path: Path) -> None:
    there = tmp_path / "there"
    recorded = record(there, encode(EncoderSettings(seconds=10.0)), segment_s=4, finish=False)
    index = index_of(there, recorded[:2])
    index.close()
    before = {path: path.stat() for path in there.rglob("*.*") if path.is_file()}
    settings = load_settings(data_dir=there, cameras={})
    service = CaptureService({})
    archive = FolderArchive(settings, service, tmp_path / "pictures")
    reader = ArchiveReader(archive, service)
    names = [each.segment.name for each in recorded]
    assert [each.name for each in await reader.segments.page("door")] == names[:2]
    await archive.refresh("door")
    page = await reader.segments.page("door")
    assert [each.name for each in page] == names
    assert [each.state for each in page] == [SegmentState.CLOSED, SegmentState.CLOSED, SegmentState.TRUNCATED]
    content = recorded[0].segment.path(there).read_bytes()
    async with reader.file(page[0]) as file:
        assert b"".join(file.read(0, file.length)) == content
    end_90k = START_90K + 10 * CLOCK_RATE
    async with reader.clip("door", START_90K, end_90k) as clip:
        joined = io.BytesIO(b"".join(clip.read(0, clip.length)))
    with av.open(joined, "r") as opened:
        assert sum(1 for _ in opened.decode(video=0)) == sum(each.frames for each in page)
    assert (await ActivityReader(archive).steps("door", START_90K, end_90k, 1, None)).levels
    thumbnail = await reader.thumbnail("door", names[0])
    assert b"".join(thumbnail.read(0, 2)) == b"\xff\xd8"
    assert [path.suffix for path in (tmp_path / "pictures").rglob("*.*")] == [".jpg"]
    with pytest.raises(StorageError, match="readonly"):
        await archive.protect("door", names[0], True)
    after = {path: path.stat() for path in there.rglob("*.*") if path.is_file() and path in before}
    assert {path: (each.st_mtime_ns, each.st_size) for path, each in after.items()} == {
        path: (each.st_mtime_ns, each.st_size) for path, each in before.items()
    }
    reader.close()


async def test_a_folder_without_an_index_is_an_error(tmp_path: Path) -> None:
    archive = FolderArchive(load_settings(data_dir=tmp_path, cameras={}), CaptureService({}), tmp_path / "pictures")
    with pytest.raises(StorageError):
        await archive.refresh("door")
    assert list(tmp_path.iterdir()) == []
