"""Recordings in an object storage: uploaded while they are recorded, completed by the next process, and deleted."""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.clock import CLOCK_RATE
from gateway.service import CaptureService
from hls.archive import storage_restore, upload_table
from hls.archive.check import check_archive
from hls.archive.index import SegmentIndex
from hls.archive.segment import Segment, SegmentState, SegmentWithFragments, segment_name
from hls.archive.service import Archive
from hls.archive.status import StorageStatus
from hls.playback.reader import ArchiveReader
from hls.storage.client import ObjectStore
from hls.storage.errors import ObjectStoreError, StoreFault
from tests.hls.archive.test_service import publish, reader_of, settings_for
from tests.support.eventually import eventually
from tests.support.ffprobe import decode, ffprobe
from tests.support.recording import index_of
from tests.support.s3_server import BUCKET, KEYS, S3Server
from tests.support.sources.encoded import START_90K, EncoderSettings, encode

PART_SIZE = 65_536
"""Small, so that tests need little video. gofakes3 has no lower limit, and moto is told to have none."""

BLOCK = 30_000
"""Of no size that anything else has."""

NOISE = EncoderSettings(seconds=5, noise=True)
NOISE_BYTES = 300_000
"""Less than it has."""

Make = Callable[..., Archive]


@pytest.fixture
def prefix() -> str:
    return f"site-{uuid4().hex[:8]}"


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make an archive whose recordings go to a storage."""
    monkeypatch.setattr("hls.archive.upload.PART_BYTES", PART_SIZE)
    monkeypatch.setattr("hls.archive.uploader.INTERVAL_S", 0.02)
    monkeypatch.setattr("hls.archive.uploader.REST_S", 0.1)
    monkeypatch.setattr("hls.archive.local_copies.INTERVAL_S", 0.02)
    monkeypatch.setattr("hls.storage.block_cache.BLOCK_BYTES", BLOCK)

    def archive(storage: dict[str, object], **more: object) -> Archive:
        # The video is from a date of its own.
        settings = settings_for(tmp_path, **{"archive_local_keep": 1e9, **storage, **more})
        return Archive(settings, CaptureService(settings.camera_settings()))

    return archive


def storage_of(archive: Archive) -> StorageStatus:
    status = archive.status().storage
    assert status is not None
    return status


def is_all_uploaded(archive: Archive, segments: int) -> Callable[[], bool]:
    return lambda: storage_of(archive).segments_uploaded >= segments


async def uploaded_parts(archive: Archive) -> int:
    """Of the open segment, by its row."""
    growing = archive.growing()
    segment = growing[0].segment if growing else None
    upload = await archive.index.call(upload_table.get, segment.camera_id, segment.name) if segment else None
    return len(upload.parts) if upload else 0


async def has_parts(archive: Archive, count: int) -> bool:
    return await uploaded_parts(archive) >= count


async def is_uploaded_so_far(archive: Archive, at_least: int) -> bool:
    """Whether the open segment has that many bytes, and less than a part of it is not uploaded, by its row."""
    growing = archive.growing()
    size = growing[0].segment.size if growing else 0
    return size >= at_least and await uploaded_parts(archive) == size // PART_SIZE


async def die(archive: Archive) -> None:
    """End an archive as ``kill -9`` does: nothing is finished, and nothing is written any more."""
    tasks = [*archive._tasks, *(recorder._task for recorder in archive._recorders.by_stream.values() if recorder._task)]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for recorder in archive._recorders.by_stream.values():
        recorder._detach()
    archive._recorders.by_stream.clear()
    await archive.close()


async def segments_of(archive: Archive) -> list[Segment]:
    """All segments in the index, whose archive is closed."""
    index = index_of(archive.data_dir)
    found = index.page("door", None, None, 100)
    index.close()
    return found


async def test_segments_are_uploaded_while_they_are_recorded_and_are_the_files(
    s3: S3Server, prefix: str, make: Make, tmp_path: Path
) -> None:
    archive = make(s3.settings(prefix), archive_segment_seconds=3)
    await archive.start()
    try:
        publish(archive, encode(NOISE))
        await eventually(is_all_uploaded(archive, 1), "the first segment is uploaded")
        await eventually(lambda: has_parts(archive, 2), "the second one is being uploaded while it grows")
        assert s3.unfinished(prefix)
    finally:
        await archive.close()
    archive = make(s3.settings(prefix))
    await archive.start()
    try:
        await eventually(is_all_uploaded(archive, 1), "a new process ends the second upload")
        await eventually(lambda: storage_of(archive).backlog_segments == 0, "nothing waits")
        parts, files = storage_of(archive).parts_uploaded, sorted(tmp_path.glob("door/*/*.mp4"))
        # The first part is sent again: the end of a recording rewrites its first bytes.
        assert 0 < parts < -(-files[1].stat().st_size // PART_SIZE), "it goes on where the first one ended"
    finally:
        await archive.close()
    objects = s3.objects(prefix)
    assert {name for name in objects if name.endswith(".mp4")} == {str(each.relative_to(tmp_path)) for each in files}
    for file in files:
        content = objects[str(file.relative_to(tmp_path))]
        assert content == file.read_bytes()
        assert len(content) > 3 * PART_SIZE
        copy = tmp_path / "copy.mp4"
        copy.write_bytes(content)
        assert float(ffprobe(copy)["format"]["duration"]) > 1.9
    assert not s3.unfinished(prefix)


async def test_the_next_process_completes_an_upload_from_the_disk(
    s3: S3Server, prefix: str, make: Make, tmp_path: Path
) -> None:
    archive = make(s3.settings(prefix), archive_segment_seconds=600)
    await archive.start()
    publish(archive, encode(NOISE))
    await eventually(lambda: storage_of(archive).parts_uploaded >= 3, "parts of the growing segment are uploaded")
    await die(archive)
    after = make(s3.settings(prefix))
    await after.start()
    try:
        await eventually(is_all_uploaded(after, 1), "the segment is uploaded")
    finally:
        await after.close()
    (file,) = tmp_path.glob("door/*/*.mp4")
    assert s3.objects(prefix)[str(file.relative_to(tmp_path))] == file.read_bytes()
    (segment,) = await segments_of(after)
    assert segment.state is SegmentState.TRUNCATED
    assert not s3.unfinished(prefix)


async def test_the_next_process_completes_an_upload_without_the_disk(
    s3: S3Server, prefix: str, make: Make, tmp_path: Path
) -> None:
    archive = make(s3.settings(prefix), archive_segment_seconds=600)
    await archive.start()
    publish(archive, encode(NOISE))
    await eventually(lambda: is_uploaded_so_far(archive, NOISE_BYTES), "all full parts of the segment are uploaded")
    await die(archive)
    (file,) = tmp_path.glob("door/*/*.mp4")
    had = file.read_bytes()
    file.unlink()
    after = make(s3.settings(prefix))
    await after.start()
    try:
        await eventually(is_all_uploaded(after, 1), "what the storage has is completed")
    finally:
        await after.close()
    (segment,) = await segments_of(after)
    content = s3.objects(prefix)[f"door/{file.parent.name}/{file.name}"]
    assert content == had[: len(content)]
    assert len(had) - len(content) < PART_SIZE
    assert len(content) - segment.size < PART_SIZE
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(content[: segment.size])
    assert decode(copy) == ""
    assert float(ffprobe(copy)["format"]["duration"]) == pytest.approx(segment.duration_90k / CLOCK_RATE, abs=0.2)


async def test_an_upload_that_the_storage_forgot_begins_again(
    s3: S3Server, prefix: str, make: Make, tmp_path: Path
) -> None:
    archive = make(s3.settings(prefix), archive_segment_seconds=600)
    await archive.start()
    try:
        publish(archive, encode(NOISE))
        await eventually(lambda: s3.unfinished(prefix), "the segment is being uploaded")
        for upload in s3.client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]:
            s3.client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    finally:
        await archive.close()
    after = make(s3.settings(prefix))
    await after.start()
    try:
        await eventually(is_all_uploaded(after, 1), "the segment is uploaded")
    finally:
        await after.close()
    (file,) = tmp_path.glob("door/*/*.mp4")
    assert s3.objects(prefix)[str(file.relative_to(tmp_path))] == file.read_bytes()


async def test_what_retention_deletes_is_deleted_in_the_storage_too(
    s3: S3Server, prefix: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hls.archive.retention_job.RETENTION_INTERVAL_S", 0.1)
    archive = make(s3.settings(prefix), archive_segment_seconds=2, archive_max_bytes=1)
    await archive.start()
    try:
        publish(archive, encode(NOISE))
        await eventually(lambda: storage_of(archive).objects_deleted >= 1, "a segment is deleted")
        await eventually(lambda: not s3.keys(prefix), "nothing is left in the storage")
        segments = await reader_of(archive).segments.page("door")
        assert len(segments) <= 1, "the one that is being recorded"
    finally:
        await archive.close()


async def test_while_the_storage_is_away_recording_goes_on_and_catches_up(
    own_s3: S3Server, prefix: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hls.storage.client.READ_S", 0.3)
    monkeypatch.setattr("hls.archive.uploader.PAUSE_MAX_S", 1.0)
    archive = make(own_s3.settings(prefix), archive_segment_seconds=2, archive_local_keep=0)
    await archive.start()
    try:
        await eventually(lambda: storage_of(archive).is_reachable, "the storage answers")
        own_s3.freeze()
        publish(archive, encode(NOISE))
        await eventually(lambda: storage_of(archive).error is not None, "the status says that the storage is away")
        await eventually(lambda: archive.recorders()["door"].segments_closed >= 2, "recording goes on")
        await eventually(lambda: storage_of(archive).backlog_segments >= 2, "the status says what waits")
        error = storage_of(archive).error
        assert error is not None
        assert "does not answer" in error
        for segment in await reader_of(archive).segments.page("door"):
            assert segment.path(tmp_path).exists(), "nothing leaves the disk that is not uploaded"
        own_s3.resume()
        await eventually(is_all_uploaded(archive, 2), "all is uploaded when the storage is back")
        assert storage_of(archive).error is None
    finally:
        own_s3.resume()
        await archive.close()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"archive_url": "s3://no-such-bucket/x"}, "make it, or correct ARCHIVE_URL"), (None, "refuses the credentials")],
)
async def test_wrong_settings_are_told_in_words_and_without_secrets(
    wrong: dict[str, object] | None, words: str, own_s3: S3Server, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    settings = own_s3.settings("x") | (wrong or {})
    if wrong is None:
        server = await refusing_server()
        settings["archive_endpoint"] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    archive = make(settings)
    await archive.start()
    try:
        await eventually(lambda: storage_of(archive).error is not None, "the status says what is wrong")
    finally:
        await archive.close()
        if wrong is None:
            server.close()
    told = f"{storage_of(archive).model_dump_json()} {caplog.text}"
    assert words in told
    assert all(key not in told for key in KEYS.values())


async def refusing_server() -> asyncio.Server:
    """An S3 server that knows none of the keys."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b"<Error><Code>InvalidAccessKeyId</Code><Message>AKIATEST is unknown</Message></Error>"
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


async def read(reader: ArchiveReader, segment: Segment, start: int = 0, end: int | None = None) -> bytes:
    async with reader.file(segment) as file:
        assert file.length == segment.size
        return await asyncio.to_thread(lambda: b"".join(file.read(start, end or file.length)))


async def test_what_left_the_disk_is_read_from_the_storage(
    s3: S3Server, prefix: str, make: Make, tmp_path: Path
) -> None:
    archive = make(s3.settings(prefix), archive_segment_seconds=2, archive_local_keep=0)
    await archive.start()
    reader = reader_of(archive)
    try:
        publish(archive, encode(NOISE))
        await eventually(lambda: storage_of(archive).local_copies_removed >= 2, "two files have left the disk")
        first, second, *_ = await reader.segments.page("door")
        assert not first.path(tmp_path).exists()
        content = s3.objects(prefix)[str(first.path(tmp_path).relative_to(tmp_path))]
        assert await read(reader, first) == content
        for start, end in ((PART_SIZE - 5, PART_SIZE + 5), (BLOCK - 1, 3 * BLOCK + 1), (first.size - 3, first.size)):
            assert await read(reader, first, start, end) == content[start:end]
        status = storage_of(archive)
        assert status.cache_hits > 0
        assert status.cache_bytes <= 64 << 20
        assert b"moov" in await reader.init_segment("door", first.init_id)
        start_90k = first.start_90k + CLOCK_RATE // 2
        clip = tmp_path / "clip.mp4"
        async with reader.clip("door", start_90k, second.start_90k + CLOCK_RATE) as made:
            clip.write_bytes(b"".join(made.read(0, made.length)))
        assert decode(clip) == ""
        assert float(ffprobe(clip)["format"]["duration"]) == pytest.approx(2.5, abs=0.1)
        picture = await reader.snapshot("door", start_90k, None)
        assert picture.captured_at_90k >= start_90k
        assert (await reader.thumbnail("door", second.name)).length > 0
    finally:
        reader.close()
        await archive.close()
    assert not check_archive(settings_for(tmp_path))


async def test_after_the_disk_is_lost_recordings_are_found_and_played_from_the_storage(
    s3: S3Server, prefix: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make(s3.settings(prefix), archive_segment_seconds=2)
    await archive.start()
    try:
        publish(archive, encode(NOISE))
        await eventually(is_all_uploaded(archive, 2), "two segments are uploaded")
        before = (await reader_of(archive).segments.page("door"))[:2]
    finally:
        await archive.close()
    for entry in tmp_path.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    reads = chain([False, True], repeat(False))

    def read_or_fail(store: ObjectStore, key: str) -> SegmentWithFragments | None:
        if next(reads):
            raise ObjectStoreError(StoreFault.AWAY)
        return storage_restore_read(store, key)

    # The storage is away for a moment after the first record was read.
    storage_restore_read = storage_restore.read
    monkeypatch.setattr(storage_restore, "read", read_or_fail)
    after = make(s3.settings(prefix), archive_segment_seconds=2)
    await after.start()
    reader = reader_of(after)
    try:

        async def found() -> list[Segment]:
            return await reader.segments.page("door")

        async def is_restored() -> bool:
            numbers = [each.sequence for each in await found()]
            return len(numbers) >= 2 and numbers[0] < numbers[1]

        await eventually(is_restored, "the recordings are in the index again, and numbered")
        later_90k = before[1].end_90k + 100 * CLOCK_RATE
        publish(after, encode(EncoderSettings(seconds=1), later_90k))
        await eventually(lambda: after.live_position("door"), "recording goes on")
        first, second, *_, growing = await found()
        assert [each.name for each in (first, second)] == [each.name for each in before]
        assert first.sequence < second.sequence < growing.sequence
        assert replace(first, sequence=before[0].sequence, discontinuities=0) == replace(before[0], discontinuities=0)
        content = s3.objects(prefix)[str(first.path(tmp_path).relative_to(tmp_path))]
        assert await read(reader, first) == content
    finally:
        reader.close()
        await after.close()


async def test_an_error_that_nobody_expected_is_told_and_the_uploads_go_on(
    s3: S3Server, prefix: str, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hls.archive.uploader.PAUSE_MAX_S", 0.1)
    working, failures = ObjectStore.begin, list[str]()

    def begin(store: ObjectStore, key: str) -> str:
        failures.append(key)
        raise TypeError("s3cret")

    monkeypatch.setattr(ObjectStore, "begin", begin)
    archive = make(s3.settings(prefix), archive_segment_seconds=2)
    await archive.start()
    try:
        publish(archive, encode(NOISE))
        await eventually(lambda: len(failures) > 1, "it was tried again")
        error = storage_of(archive).error
        assert error is not None
        assert "TypeError" in error
        assert "s3cret" not in error
        assert "Traceback" in caplog.text
        monkeypatch.setattr(ObjectStore, "begin", working)
        await eventually(is_all_uploaded(archive, 2), "it goes on")
        assert storage_of(archive).error is None
    finally:
        await archive.close()


async def test_a_large_archive_is_enlisted_in_small_transactions(tmp_path: Path) -> None:
    index = SegmentIndex(tmp_path)
    await index.open()
    for number in range(5):
        start_90k = START_90K + number * CLOCK_RATE
        known = "door", segment_name(start_90k), SegmentState.CLOSED, start_90k, CLOCK_RATE, 1000
        await index.save(Segment(*known, "h264", "avc1.42e01f", 640, 360, b"\0\1\2", 100), ())
    newest = [0]
    while len(newest) < 2 or newest[-1] != newest[-2]:
        newest.append(await index.call(upload_table.enlist, newest[-1], PART_SIZE, 2))
    assert len(newest) == 5, "two, two, one, and nothing"
    assert (await index.call(upload_table.backlog)).segments == 5
    await index.close()
