"""Retention: the rules, and the job on real files."""

import asyncio
import itertools
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, seconds_90k
from gateway.errors import StorageError
from hls.archive.clock_file import STATE_FILE, write_confirmation
from hls.archive.index import SegmentIndex
from hls.archive.retention import (
    AGE_BURST_90K,
    AGE_RATE,
    AgeBudget,
    CameraLimits,
    Candidate,
    DiskUsage,
    Reason,
    dated,
    is_anything_due,
    select_segments,
)
from hls.archive.retention_job import RetentionJob
from hls.archive.segment import RecordedStream, Segment, SegmentState
from tests.support.eventually import eventually
from tests.support.recording import record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode


def make(camera_id: str, number: int, size: int = 100) -> Segment:
    """The n-th ten-second segment of a camera."""
    return Segment(
        camera_id=camera_id,
        name=f"{camera_id}-{number}",
        state=SegmentState.CLOSED,
        start_90k=START_90K + number * 10 * CLOCK_RATE,
        sequence=number,
        duration_90k=10 * CLOCK_RATE,
        size=size,
        codec="h264",
        codec_string="avc1.42e01f",
        width=640,
        height=360,
        head=b"",
        init_size=0,
    )


def candidates(*cameras: list[Segment]) -> list[list[Candidate]]:
    return [dated(segments, None, START_90K + 1000 * CLOCK_RATE) for segments in cameras]


def names(chosen: list[tuple[Segment, Reason]]) -> list[tuple[str, str]]:
    return [(segment.name, reason.value) for segment, reason in chosen]


DOOR = [make("door", number) for number in range(5)]
YARD = [make("yard", number, 50) for number in range(5)]


def test_nothing_is_deleted_without_a_limit() -> None:
    assert select_segments(candidates(DOOR, YARD), {}, DiskUsage({"door": 500, "yard": 250}, free=0), 10**12) == []


def test_the_age_limit_deletes_segments_that_ended_before_it() -> None:
    limits = {"door": CameraLimits(max_age_s=30)}
    chosen = select_segments(
        candidates(DOOR, YARD), limits, DiskUsage({"door": 500, "yard": 250}, free=0), START_90K + 55 * CLOCK_RATE
    )
    assert names(chosen) == [("door-0", "age"), ("door-1", "age")]


def test_protected_and_growing_segments_count_for_a_cameras_bytes() -> None:
    limits = {"door": CameraLimits(max_bytes=400)}
    chosen = select_segments(candidates(DOOR[1:3], YARD), limits, DiskUsage({"door": 550, "yard": 250}, free=0), 0)
    assert names(chosen) == [("door-1", "camera_bytes"), ("door-2", "camera_bytes")]


def test_all_bytes_and_free_bytes_delete_the_oldest_of_all_cameras() -> None:
    used = {"door": 500, "yard": 250}
    assert names(select_segments(candidates(DOOR, YARD), {}, DiskUsage(used, free=0, max_bytes=600), 0)) == [
        ("door-0", "all_bytes"),
        ("yard-0", "all_bytes"),
    ]
    assert names(select_segments(candidates(DOOR, YARD), {}, DiskUsage(used, free=10, min_free=200), 0)) == [
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
        for segment, _ in select_segments(
            candidates(segments), {}, DiskUsage({"door": sum(sizes)}, free, max_bytes, min_free), 0
        )
    ]
    assert chosen == segments[: len(chosen)], "the oldest go, in order"
    freed = list(itertools.accumulate((segment.size for segment in chosen), initial=0))

    def is_well(gone: int) -> bool:
        return sum(sizes) - gone <= max_bytes and free + gone >= min_free

    assert is_well(freed[-1]) or len(chosen) == len(segments)
    assert not any(is_well(gone) for gone in freed[:-1])


def at(sequence: int, start_s: float) -> Segment:
    return replace(make("door", sequence), start_90k=START_90K + seconds_90k(start_s))


DAY_S = 86_400.0


def test_what_was_recorded_first_is_deleted_first_whatever_its_date() -> None:
    # Ahead by 30 days for two segments, then set back.
    order = [at(0, 0), at(1, 30 * DAY_S), at(2, 30 * DAY_S + 10), at(3, 30), at(4, 40)]
    dates = dated(order, None, START_90K + 60 * CLOCK_RATE)
    chosen = select_segments([dates], {"door": CameraLimits(max_bytes=200)}, DiskUsage({"door": 500}, 0), None)
    assert [segment.sequence for segment, _ in chosen] == [0, 1, 2]


def test_a_date_in_the_future_ages_with_the_recording_after_it() -> None:
    order = [at(0, 0), at(1, 30 * DAY_S), at(2, 20)]
    now_90k = START_90K + seconds_90k(3600)
    limits = {"door": CameraLimits(max_age_s=3600 - 25)}
    chosen = select_segments([dated(order, None, now_90k)], limits, DiskUsage({}, 0), now_90k)
    assert [segment.sequence for segment, _ in chosen] == [0]
    later_90k = now_90k + seconds_90k(10)
    chosen = select_segments([dated(order, None, later_90k)], limits, DiskUsage({}, 0), later_90k)
    assert [segment.sequence for segment, _ in chosen] == [0, 1, 2]
    # While nothing was recorded after it, its age is unknown; so is that of a date from before liveedge was made.
    for wrong in (at(0, 30 * DAY_S), replace(make("door", 0), start_90k=0)):
        assert dated([wrong], None, now_90k)[0].ended_90k is None
        assert dated([wrong], START_90K, now_90k)[0].ended_90k is not None


def test_a_date_that_is_too_early_does_not_make_a_recording_old() -> None:
    order = [at(0, 40 * DAY_S), at(1, 10 * DAY_S), at(2, 40 * DAY_S + 20)]
    now_90k = START_90K + seconds_90k(40 * DAY_S + 100)
    limits = {"door": CameraLimits(max_age_s=DAY_S)}
    assert select_segments([dated(order, None, now_90k)], limits, DiskUsage({}, 0), now_90k) == []


def test_the_age_limit_has_a_budget_and_the_others_do_not() -> None:
    hours = [replace(make("door", number), duration_90k=AGE_BURST_90K // 2) for number in range(10)]
    now_90k = START_90K + seconds_90k(30 * DAY_S)
    limits = {"door": CameraLimits(max_age_s=DAY_S)}
    budget = AgeBudget()

    def delete(now_s: float, disk: DiskUsage) -> list[str]:
        left = {RecordedStream("door"): budget.left_90k(RecordedStream("door"), now_s)}
        chosen = select_segments([dated(hours, None, now_90k)], limits, disk, now_90k, left)
        for segment, reason in chosen:
            if reason is Reason.AGE:
                budget.take(segment, now_s)
            hours.remove(segment)
        return [reason.value for _, reason in chosen]

    ample = DiskUsage({}, 0)
    assert delete(0.0, ample) == ["age", "age"]
    assert delete(0.0, ample) == []
    assert delete(1800 / AGE_RATE, ample) == ["age"]
    assert delete(1800 / AGE_RATE, DiskUsage({"door": 700}, 0, max_bytes=500)) == ["all_bytes", "all_bytes"]


def as_sub(segment: Segment, **more: object) -> Segment:
    return replace(segment, name=f"{segment.name}_sub", rendition=RenditionName.SUB, **more)  # type: ignore[arg-type]


def test_each_stream_has_an_age_limit_and_a_budget_of_its_own() -> None:
    main = [make("door", number) for number in range(4)]
    sub = [as_sub(segment) for segment in main]
    now_90k = main[3].end_90k
    limits = {"door": CameraLimits(max_age_s=15, sub_max_age_s=25)}

    def delete(left: dict[RecordedStream, float]) -> list[str]:
        chosen = select_segments(candidates(main, sub), limits, DiskUsage({"door": 800}, 0), now_90k, left)
        assert {reason for _, reason in chosen} <= {Reason.AGE}
        return [segment.name for segment, _ in chosen]

    assert delete({}) == ["door-0", "door-0_sub", "door-1"]
    assert delete({main[0].stream: 0.0, sub[0].stream: 1.0}) == ["door-0_sub"]
    limits["door"] = CameraLimits(max_age_s=15)
    assert delete({}) == ["door-0", "door-1"]


def test_both_streams_share_the_limits_of_size_and_the_oldest_goes_first() -> None:
    """Seven days of main and ninety of sub in small: what only the sub stream still has goes first."""
    sub = [as_sub(make("door", number, size=10)) for number in range(9)]
    main = [make("door", number) for number in range(6, 9)]
    used = {"door": 390}

    def delete(max_bytes: int) -> list[str]:
        limits = {"door": CameraLimits(max_bytes=max_bytes)}
        return [each.name for each, _ in select_segments(candidates(main, sub), limits, DiskUsage(used, 0), None)]

    assert delete(360) == ["door-0_sub", "door-1_sub", "door-2_sub"]
    assert delete(320)[-2:] == ["door-5_sub", "door-6"]
    assert delete(210)[-3:] == ["door-6", "door-6_sub", "door-7"]


@given(
    starts_s=st.lists(st.sampled_from([0, 10, 20, 50, 100, 5000, -1e9]), min_size=1, max_size=6),
    max_age_s=st.none() | st.integers(1, 120),
    camera_bytes=st.none() | st.integers(1, 800),
    disk=st.builds(
        DiskUsage,
        st.just({"door": 600}),
        st.integers(0, 10),
        max_bytes=st.none() | st.integers(1, 800),
        min_free=st.integers(0, 10),
    ),
)
def test_candidates_are_read_whenever_one_of_them_is_to_be_deleted(
    starts_s: list[float], max_age_s: int | None, camera_bytes: int | None, disk: DiskUsage
) -> None:
    segments = [at(number, start_s) for number, start_s in enumerate(starts_s)]
    now_90k = START_90K + seconds_90k(120)
    limits = {"door": CameraLimits(max_age_s=max_age_s, max_bytes=camera_bytes)}
    oldest_90k = {RecordedStream("door"): min(segment.start_90k for segment in segments)}
    selected = select_segments([dated(segments, None, now_90k)], limits, disk, now_90k)
    assert is_anything_due(oldest_90k, limits, disk, now_90k) or not selected


def test_candidates_are_not_read_while_all_limits_are_kept() -> None:
    oldest_90k = {RecordedStream("door"): START_90K, RecordedStream("door", RenditionName.SUB): START_90K}
    disk = DiskUsage({"door": 600}, free=10, max_bytes=600, min_free=10)
    limits = {"door": CameraLimits(max_age_s=60, max_bytes=600, sub_max_age_s=50)}
    now_90k = START_90K + seconds_90k(50)
    assert not is_anything_due(oldest_90k, limits, disk, now_90k)
    assert is_anything_due(oldest_90k, limits, disk, now_90k + 1)
    # Nothing is old while the clock cannot be trusted.
    assert not is_anything_due(oldest_90k, limits, disk, None)


class HostClock:
    """A host whose wall clock is set by a test."""

    def __init__(self, wall_90k: int) -> None:
        self.now_s = 0.0
        self.start_90k = wall_90k

    def monotonic(self) -> float:
        return self.now_s

    def boot_s(self) -> float:
        return self.now_s

    def wall_90k(self) -> int:
        return self.start_90k + seconds_90k(self.now_s)


async def test_a_clock_that_is_set_ahead_deletes_nothing_until_it_is_confirmed(tmp_path: Path) -> None:
    recordings = record(tmp_path, encode(EncoderSettings(seconds=6)), segment_s=2)
    index = SegmentIndex(tmp_path)
    await index.open()
    for whole in recordings:
        await index.save(*whole)
    clock = HostClock(recordings[-1][0].end_90k)
    limits = {"door": CameraLimits(max_age_s=DAY_S)}
    with ThreadPoolExecutor(1) as executor:

        def new_job() -> RetentionJob:
            return RetentionJob(tmp_path, index, executor, clock, lambda: limits, None, 0)

        job = new_job()
        assert await job.run_once() == 0
        for step_s in (30 * DAY_S, 0.0, -60 * DAY_S, 90 * DAY_S):
            clock.start_90k += seconds_90k(step_s)
            clock.now_s += 5
            assert await job.run_once() == 0
            assert job.clock_guard is not None
            assert job.clock_guard.suspension is not None
        # Over a restart, also if the state is lost.
        job = new_job()
        assert await job.run_once() == 0
        (tmp_path / STATE_FILE).unlink()
        job = new_job()
        assert await job.run_once() == 0
        assert "no recording is deleted for its age" in (job.clock_guard.describe() or "" if job.clock_guard else "")
        write_confirmation(tmp_path, clock)
        assert await job.run_once() == 3
        assert not list(tmp_path.rglob("*.mp4"))
    await index.close()


async def test_a_disk_of_unknown_size_has_no_limit_of_free_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = record(tmp_path, encode(EncoderSettings(seconds=4)), segment_s=2)
    index = SegmentIndex(tmp_path)
    await index.open()
    for whole in recordings:
        await index.save(*whole)
    with ThreadPoolExecutor(1) as executor:
        job = RetentionJob(tmp_path, index, executor, SYSTEM_CLOCK, dict, None, 1 << 30)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0, total=0))
        assert await job.run_once() == 0
        assert job.error is None
    await index.close()


async def test_free_space_that_does_not_grow_pauses_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = record(tmp_path, encode(EncoderSettings(seconds=20)), segment_s=2)
    index = SegmentIndex(tmp_path)
    await index.open()
    for whole in recordings:
        await index.save(*whole)
    with ThreadPoolExecutor(1) as executor:
        job = RetentionJob(tmp_path, index, executor, SYSTEM_CLOCK, dict, None, 10_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=9_000, total=10**9))
        assert [await job.run_once() for _ in range(6)] == [1, 1, 1, 0, 0, 0]
        assert job.error is not None
        assert "does not make it more" in job.error
    await index.close()


async def test_nothing_is_written_while_the_disk_is_missing(tmp_path: Path) -> None:
    def missing() -> None:
        raise StorageError("taken away")

    index = SegmentIndex(tmp_path)
    await index.open()
    with ThreadPoolExecutor(1) as executor:
        job = RetentionJob(tmp_path, index, executor, SYSTEM_CLOCK, dict, None, 0, missing)
        await job.run_once()
        assert not (tmp_path / STATE_FILE).exists()
        job = RetentionJob(tmp_path, index, executor, SYSTEM_CLOCK, dict, None, 0)
        await job.run_once()
        assert (tmp_path / STATE_FILE).exists()
    await index.close()


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
    # The newest recording is days old, and nothing says that the clock is right.
    assert await retention_job.run_once() == 0
    retention_job.confirm_clock()
    with retention_job.pin(segments[2]):
        assert await retention_job.run_once() == 3
        assert await retention_job.run_once() == 0
    kept = [segments[0].name, segments[2].name, segments[5].name]
    assert [segment.name for segment in await index.page("door", None, None, 10)] == kept
    assert sorted(path.stem for path in tmp_path.rglob("*.mp4")) == kept
    assert not thumbnail.exists()
    assert await retention_job.run_once() == 1
    assert retention_job.deleted == {(RenditionName.MAIN, "age"): 4}
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


def events(segments: list[Segment]) -> list[Candidate]:
    """Candidates that an event covers."""
    return dated(segments, None, START_90K + 1000 * CLOCK_RATE, is_event=True)


def test_what_events_cover_is_kept_longer() -> None:
    now_90k = START_90K + 65 * CLOCK_RATE
    usage = DiskUsage({"door": 500}, free=0)

    def chosen(limits: CameraLimits) -> list[str]:
        found = select_segments([*candidates(DOOR[:2]), events(DOOR[2:])], {"door": limits}, usage, now_90k)
        return [segment.name for segment, _ in found]

    assert chosen(CameraLimits(max_age_s=10)) == ["door-0", "door-1", "door-2", "door-3", "door-4"]
    assert chosen(CameraLimits(max_age_s=10, event_max_age_s=30)) == ["door-0", "door-1", "door-2"]
    assert chosen(CameraLimits(max_age_s=30, event_max_age_s=10)) == ["door-0", "door-1", "door-2"]
    assert chosen(CameraLimits(event_max_age_s=10)) == []


def test_space_is_taken_from_what_events_cover_last() -> None:
    limits = {"door": CameraLimits(event_max_age_s=10**6)}
    mixed = [*candidates(DOOR[3:], YARD[:1]), events(DOOR[:3])]

    def chosen(usage: DiskUsage, incomplete: frozenset[str] = frozenset()) -> list[str]:
        found = select_segments(mixed, limits, usage, None, incomplete=incomplete)
        return [segment.name for segment, _ in found]

    used = {"door": 500, "yard": 50}
    assert chosen(DiskUsage(used, 0, max_bytes=350)) == ["yard-0", "door-3", "door-4"]
    assert chosen(DiskUsage(used, 0, max_bytes=250)) == ["yard-0", "door-3", "door-4", "door-0"]
    assert chosen(DiskUsage(used, 0, min_free=300)) == ["yard-0", "door-3", "door-4", "door-0"]
    # There is more to take before: in the next round.
    assert chosen(DiskUsage(used, 0, max_bytes=250), frozenset({"yard"})) == ["yard-0", "door-3", "door-4"]
    limits = {"door": CameraLimits(max_bytes=150, event_max_age_s=10**6)}
    assert chosen(DiskUsage(used, 0)) == ["door-3", "door-4", "door-0", "door-1"]
    assert chosen(DiskUsage(used, 0), frozenset({"yard"})) == ["door-3", "door-4", "door-0", "door-1"]
    assert chosen(DiskUsage(used, 0), frozenset({"door"})) == ["door-3", "door-4"]
    limits = {}
    assert chosen(DiskUsage(used, 0, max_bytes=350)) == ["yard-0", "door-0", "door-1"]
