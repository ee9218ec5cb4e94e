"""An upload that another process began is completed without its disk and its index, by either S3 server."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.clock import CLOCK_RATE
from gateway.service import CaptureService
from hls.archive import orphan
from hls.archive.segment import SegmentState, SegmentWithFragments
from hls.archive.segment_record import read_record, record_key, write_record
from hls.archive.service import Archive
from hls.archive.upload import Upload, key_of
from hls.storage import client
from hls.storage.client import ObjectStore
from tests.hls.archive.test_object_storage import NOISE, NOISE_BYTES, PART_SIZE, die, is_uploaded_so_far, storage_of
from tests.hls.archive.test_service import publish, settings_for
from tests.support.eventually import eventually
from tests.support.ffprobe import decode, ffprobe
from tests.support.s3_server import S3Server
from tests.support.sources.encoded import encode

SavedUpload = tuple[SegmentWithFragments, Upload]


@pytest.fixture
def prefix(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("hls.archive.upload.PART_BYTES", PART_SIZE)
    monkeypatch.setattr("hls.archive.uploader.INTERVAL_S", 0.02)
    return f"site-{uuid4().hex[:8]}"


async def interrupted(
    s3: S3Server, folder: Path, prefix: str, is_enough: Callable[[Archive], bool | Awaitable[bool]]
) -> tuple[ObjectStore, SavedUpload, bytes]:
    """A process ends while it uploads: its folder in the storage, the newest state that it told, and its file."""
    settings = settings_for(folder, **s3.settings(prefix), archive_segment_seconds=600)
    archive = Archive(settings, CaptureService(settings.camera_settings()))
    assert archive.storage is not None
    told: list[SavedUpload] = []
    archive.storage.uploader.on_progress.append(lambda *state: told.append(state))
    await archive.start()
    publish(archive, encode(NOISE))
    await eventually(lambda: is_enough(archive), "enough of the segment is uploaded")
    await die(archive)
    (file,) = folder.glob("door/*/*.mp4")
    found, upload = told[-1]
    written = read_record(write_record(*found, None))
    assert written is not None
    return ObjectStore(settings), (written, upload), file.read_bytes()


async def test_an_interrupted_upload_is_completed_and_plays(s3: S3Server, prefix: str, tmp_path: Path) -> None:
    lost, state, had = await interrupted(
        s3, tmp_path, f"{prefix}/a", lambda archive: is_uploaded_so_far(archive, NOISE_BYTES)
    )
    found = await asyncio.to_thread(orphan.complete, lost, *state)
    assert found is not None
    assert found.segment.state is SegmentState.TRUNCATED
    # Again, as where the first who did it was interrupted.
    assert await asyncio.to_thread(orphan.complete, lost, *state) == found
    own = lost.beside("b")
    assert own.url == lost.url.removesuffix("/a") + "/b"
    name = f"{found.segment.name}_001"
    taken = await asyncio.to_thread(orphan.take, lost, own, found, name)
    content = s3.objects(f"{prefix}/b")[key_of(taken.segment)]
    assert content == had[: len(content)]
    assert len(had) - len(content) < PART_SIZE, "no more is lost than the part that was not full"
    assert len(content) - taken.segment.size < PART_SIZE
    recorded = read_record(s3.objects(f"{prefix}/b")[record_key("door", name)])
    assert recorded == taken
    assert not s3.unfinished(prefix)
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(content[: taken.segment.size])
    assert decode(copy) == ""
    played_s = float(ffprobe(copy)["format"]["duration"])
    assert played_s == pytest.approx(taken.segment.duration_90k / CLOCK_RATE, abs=0.2)
    # Its own process, whose disk was lost: nothing is copied, and its record is there.
    again = await asyncio.to_thread(orphan.take, lost, lost, found, found.segment.name)
    assert await asyncio.to_thread(orphan.complete, lost, *state) == again


async def test_what_the_storage_does_not_have_is_not_made(s3: S3Server, prefix: str, tmp_path: Path) -> None:
    lost, (found, upload), _ = await interrupted(
        s3, tmp_path, f"{prefix}/a", lambda archive: storage_of(archive).parts_uploaded > 0
    )
    assert upload.upload_id is not None
    lost.abort(key_of(found.segment), upload.upload_id)
    for state in (upload, replace(upload, upload_id=None, parts=())):
        assert await asyncio.to_thread(orphan.complete, lost, found, state) is None
    # Begun, and no part was sent.
    upload_id = lost.begin(key_of(found.segment))
    begun = replace(upload, upload_id=upload_id, parts=())
    assert await asyncio.to_thread(orphan.complete, lost, found, begun) is None
    assert not s3.unfinished(prefix)
    assert not s3.keys(prefix)


def test_an_object_that_is_too_large_for_one_copy_is_copied_in_parts(
    s3: S3Server, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "COPY_MAX_BYTES", 1000)
    monkeypatch.setattr(client, "COPY_PART_BYTES", PART_SIZE)
    store = ObjectStore(settings_for(tmp_path, **s3.settings(f"{prefix}/a")))
    content = bytes(range(256)) * 1000
    store.put("large", content, "video/mp4")
    store.beside("b").copy(store, "large", "copied")
    assert s3.get(f"{prefix}/b/copied") == content
    store.close()
