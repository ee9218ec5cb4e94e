"""Retention: the rules, and the job on real files."""

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK
from hls.archive.index import SegmentIndex
from hls.archive.retention import CameraLimits, DiskUsage, Reason, select_segments
from hls.archive.retention_job import RetentionJob
from hls.archive.segment import Segment, SegmentState
from tests.support.eventually import eventually
from tests.support.recording import record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode


def make(camera_id: str, number: int, size: int = 100) -> Segment:
    """The n-th ten-second segment of a camera."""
    return Segment(
        camera_id=camera_id,
        name=f"{camera_id}-{number}",
        state=SegmentState.CLOSED,
        start_90k=number * 10 * CLOCK_RATE,
        duration_90k=10 * CLOCK_RATE,
        size=size,
        codec="h264",
        codec_string="avc1.42e01f",
        width=640,
        height=360,
        head=b"",
        init_size=0,
    )


def names(chosen: list[tuple[Segment, Reason]]) -> list[tuple[str, str]]:
    return [(segment.name, reason.value) for segment, reason in chosen]


DOOR = [make("door", number) for number in range(5)]
YARD = [make("yard", number, 50) for number in range(5)]


def test_nothing_is_deleted_without_a_limit() -> None:
    assert select_segments([DOOR, YARD], {}, DiskUsage({"door": 500, "yard": 250}, free=0), 10**12) == []


def test_the_age_limit_deletes_segments_that_ended_before_it() -> None:
    limits = {"door": CameraLimits(max_age_s=30)}
    chosen = select_segments([DOOR, YARD], limits, DiskUsage({"door": 500, "yard": 250}, free=0), 55 * CLOCK_RATE)
    assert names(chosen) == [("door-0", "age"), ("door-1", "age")]


def test_protected_and_growing_segments_count_for_a_cameras_bytes() -> None:
    limits = {"door": CameraLimits(max_bytes=400)}
    chosen = select_segments([DOOR[1:3], YARD], limits, DiskUsage({"door": 550, "yard": 250}, free=0), 0)
    assert names(chosen) == [("door-1", "camera_bytes"), ("door-2", "camera_bytes")]


def test_all_bytes_and_free_bytes_delete_the_oldest_of_all_cameras() -> None:
    used = {"door": 500, "yard": 250}
    assert names(select_segments([DOOR, YARD], {}, DiskUsage(used, free=0, max_bytes=600), 0)) == [
        ("door-0", "all_bytes"),
        ("yard-0", "all_bytes"),
    ]
    assert names(select_segments([DOOR, YARD], {}, DiskUsage(used, free=10, min_free=200), 0)) == [
        ("door-0", "free_bytes"),
        ("yard-0", "free_bytes"),
        ("door-1", "free_bytes"),
    ]


@given(
    sizes=st.lists(st.integers(1, 1000), max_size=20),
    max_bytes=st.integers(1, 20_000),
    free=st.integers(0, 5000),
    min_free=st.integers(0, 5000),
)
def test_limits_delete_no_segment_too_many(sizes: list[int], max_bytes: int, free: int, min_free: int) -> None:
    segments = [make("door", number, size) for number, size in enumerate(sizes)]
    chosen = [
        segment
        for segment, _ in select_segments([segments], {}, DiskUsage({"door": sum(sizes)}, free, max_bytes, min_free), 0)
    ]
    assert chosen == segments[: len(chosen)], "the oldest go, in order"
    freed = list(itertools.accumulate((segment.size for segment in chosen), initial=0))

    def is_well(gone: int) -> bool:
        return sum(sizes) - gone <= max_bytes and free + gone >= min_free

    assert is_well(freed[-1]) or len(chosen) == len(segments)
    assert not any(is_well(gone) for gone in freed[:-1])


async def test_the_job_deletes_files_rows_and_thumbnails_but_no_pinned_segment(tmp_path: Path) -> None:
    recordings = record(tmp_path, encode(EncoderSettings(seconds=12)), segment_s=2)
    index = SegmentIndex(tmp_path)
    await index.open()
    for whole in recordings:
        await index.save(*whole)
    segments = [segment for segment, _ in recordings]
    await index.save(replace(segments[5], state=SegmentState.GROWING), recordings[5][1])
    await index.set_protected("door", segments[0].name, True)
    thumbnail = segments[1].path(tmp_path).with_suffix(".jpg")
    thumbnail.write_bytes(b"jpeg")
    executor = ThreadPoolExecutor(1)
    limits = {"door": CameraLimits(max_age_s=1)}
    retention_job = RetentionJob(tmp_path, index, executor, SYSTEM_CLOCK, lambda: limits, None, 0)
    assert SYSTEM_CLOCK.wall_90k() > START_90K + 60 * CLOCK_RATE
    with retention_job.pin(segments[2]):
        assert await retention_job.run_once() == 3
        assert await retention_job.run_once() == 0
    kept = [segments[0].name, segments[2].name, segments[5].name]
    assert [segment.name for segment in await index.page("door", None, None, 10)] == kept
    assert sorted(path.stem for path in tmp_path.rglob("*.mp4")) == kept
    assert not thumbnail.exists()
    assert await retention_job.run_once() == 1
    assert retention_job.deleted == {"age": 4}
    await index.close()
    executor.shutdown()


async def test_a_full_disk_with_nothing_to_delete_is_an_error(tmp_path: Path) -> None:
    index = SegmentIndex(tmp_path)
    await index.open()
    with ThreadPoolExecutor(1) as executor:
        retention_job = RetentionJob(tmp_path, index, executor, SYSTEM_CLOCK, dict, None, 1 << 62)
        task = asyncio.create_task(retention_job.run())
        await eventually(lambda: retention_job.error is not None, "the retention job reports its error")
        assert retention_job.error is not None
        assert "nothing may be deleted" in retention_job.error
        task.cancel()
        await asyncio.wait([task])
    await index.close()
