"""How a segment gets into the object storage: the steps, the limit of the rate, and what leaves the disk."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls.archive import upload_table
from hls.archive.index import SegmentIndex
from hls.archive.local_copies import LocalCopies
from hls.archive.segment import Segment, SegmentState
from hls.archive.segment_record import read_record, write_record
from hls.archive.upload import Begin, PutPart, Upload, UploadState, next_step, without_file
from hls.archive.upload_rate import UploadRate
from hls.storage.client import PartDone
from tests.support.recording import record
from tests.support.sources.encoded import EncoderSettings, encode

PART = 100


def segment(size: int, *, is_finished: bool, init_id: str = "a") -> Segment:
    return Segment(
        camera_id="door",
        name="segment_20261122T185000Z",
        state=SegmentState.CLOSED if is_finished else SegmentState.GROWING,
        start_90k=0,
        duration_90k=90_000,
        size=size,
        codec="h264",
        codec_string="avc1",
        width=1,
        height=1,
        head=b"",
        init_size=10,
        init_id=init_id,
    )


def advance(upload: Upload, of: Segment, put: dict[int, tuple[int, int, bool]]) -> Upload:
    """Do all steps that are due. ``put`` gets place and size of each part, and whether the file was finished."""
    while (step := next_step(upload, of)) is not None:
        if isinstance(step, Begin):
            upload = replace(upload, upload_id="id")
        elif isinstance(step, PutPart):
            put[step.number] = step.offset, step.size, of.state is not SegmentState.GROWING
            upload = upload.with_part(PartDone(step.number, "etag", step.size), step.head)
        else:
            assert [part.number for part in step.parts] == list(range(1, len(step.parts) + 1))
            assert sum(part.size for part in step.parts) == step.size == of.size
            upload = replace(upload, state=UploadState.UPLOADED)
    return upload


@given(sizes=st.lists(st.integers(1, 1000), min_size=1, max_size=12))
def test_every_byte_is_uploaded_once_full_parts_at_once_and_the_first_part_last(sizes: list[int]) -> None:
    upload, put = Upload(PART), dict[int, tuple[int, int, bool]]()
    *growing, final = sorted(sizes)
    for size in growing:
        upload = advance(upload, segment(size, is_finished=False), put)
        assert upload.size == size // PART * PART, "all full parts, and no other"
    upload = advance(upload, segment(final, is_finished=True), put)
    assert upload.state is UploadState.UPLOADED
    at = 0
    for number in sorted(put):
        offset, size, _ = put[number]
        assert offset == at
        at += size
    assert at == final
    assert put[1][2], "the first part is that of the finished file"
    assert list(put)[-1] == 1 or len(growing) > 0


def test_the_first_part_is_uploaded_again_when_sound_begins() -> None:
    put = dict[int, tuple[int, int, bool]]()
    upload = advance(Upload(PART), segment(250, is_finished=False, init_id="silent"), put)
    assert next_step(upload, segment(260, is_finished=False, init_id="silent")) is None
    step = next_step(upload, segment(260, is_finished=False, init_id="sound"))
    assert step == PutPart(1, 0, PART, "sound")


def test_parts_of_a_longer_file_are_not_in_the_object_of_a_file_that_a_crash_cut() -> None:
    upload = replace(Upload(PART, upload_id="id"), parts=tuple(PartDone(n, "e", PART) for n in (1, 2, 3)), head="a")
    put = dict[int, tuple[int, int, bool]]()
    cut = replace(segment(240, is_finished=True), state=SegmentState.TRUNCATED)
    assert advance(upload, cut, put).state is UploadState.UPLOADED
    assert put == {3: (200, 40, True), 1: (0, 100, True)}


def test_without_the_file_a_recording_ends_with_its_last_fragment_in_the_storage(tmp_path: Path) -> None:
    [(growing, fragments)] = record(tmp_path, encode(EncoderSettings(seconds=4)), finish=False)
    parts = tuple(PartDone(n + 1, "e", 1000) for n in range(growing.size // 2 // 1000))
    found = without_file(growing, fragments, Upload(1000, upload_id="id", parts=parts, head=growing.init_id))
    assert found is not None
    cut, kept = found
    assert cut.state is SegmentState.TRUNCATED
    ends = [each.offset + each.size for each in fragments]
    assert cut.size == max(end for end in ends if end <= len(parts) * 1000)
    assert cut.duration_90k == kept[-1].end_90k
    with_gap = tuple(part for part in parts if part.number != 1)
    assert without_file(growing, fragments, Upload(1000, upload_id="id", parts=with_gap)) is None


def test_a_record_has_all_that_the_index_needs(tmp_path: Path) -> None:
    [(closed, fragments)] = record(tmp_path, encode(EncoderSettings(seconds=4, audio=True)))
    found = read_record(write_record(closed, fragments, closed.activity))
    assert found is not None
    assert found == (replace(closed, sequence=0, discontinuities=0), fragments)
    assert found.segment.activity is not None
    assert closed.activity is not None
    assert found.segment.activity.levels == closed.activity.levels
    for wrong in (b"", b"[]", b"{}", b'{"version": 2}', b'{"version": 1, "segment": {}}', b"\xff"):
        assert read_record(wrong) is None


def test_the_rate_is_that_of_all_uploads_together() -> None:
    rate = UploadRate(1000)
    waits = [rate.take(500, now_s=100.0) for _ in range(6)]
    assert waits == [0.0, 0.0, 0.0, 0.5, 1.0, 1.5]
    assert UploadRate(None).take(10**9, 0.0) == 0.0


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[SegmentIndex]:
    made = SegmentIndex(tmp_path)
    await made.open()
    yield made
    await made.close()


async def test_only_what_is_uploaded_and_old_leaves_the_disk_and_the_oldest_first(
    opened: SegmentIndex, tmp_path: Path
) -> None:
    recordings = record(tmp_path, encode(EncoderSettings(seconds=8)), segment_s=2)
    for number, (each, fragments) in enumerate(recordings):
        each = replace(each, sha256="0" * 64)
        await opened.save(each, fragments)
        state = UploadState.UPLOADED if number in (0, 2) else UploadState.UPLOADING
        await opened.call(upload_table.save, each, Upload(PART, state, upload_id="id"))
    segments = [each.segment for each in recordings]
    now_90k: int | None = None
    with ThreadPoolExecutor(1) as executor:
        copies = LocalCopies(tmp_path, opened, executor, 1.0, lambda: now_90k)

        def on_disk() -> list[int]:
            return [number for number, each in enumerate(segments) if each.path(tmp_path).exists()]

        assert await copies.remove_old() == 0, "nothing for its age by a clock that cannot be trusted"
        now_90k = segments[2].end_90k + 90_000
        assert await copies.remove_old() == 1
        assert on_disk() == [1, 2, 3]
        assert await copies.make_room(1) == segments[2].size
        assert on_disk() == [1, 3]
        assert await copies.make_room(1) == 0
        assert [each.name for each in await copies.last_resort(1)] == [segments[1].name]
        assert on_disk() == [1, 3]
