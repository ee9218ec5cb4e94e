"""How many days of recordings fit: by size, free space, age, and what the other cameras take."""

from pathlib import Path

import pytest

from gateway.clock import CLOCK_RATE
from hls.archive.capacity import DAY_S, MEASURED_MIN_S, CameraRate, Fit, days_that_fit, space_for_recordings
from hls.archive.capacity_measure import DiskLimits, measure_capacity
from hls.archive.index import SegmentIndex
from hls.archive.retention import CameraLimits
from tests.support.recording import record
from tests.support.sources.encoded import EncoderSettings, encode

GB = 10**9


def per_day(size: int) -> CameraRate:
    return CameraRate(2 * size, 2 * DAY_S)


def days(limits: dict[str, CameraLimits], space: int | None, **sizes: int) -> dict[str, float | None]:
    fits = days_that_fit({camera: per_day(size) for camera, size in sizes.items()}, limits, space)
    return {camera: fit.days for camera, fit in fits.items()}


def test_the_space_is_the_lower_limit_without_what_is_protected() -> None:
    assert space_for_recordings(60 * GB, 5 * GB, 40 * GB, 10 * GB, None) == 85 * GB
    assert space_for_recordings(60 * GB, 5 * GB, 40 * GB, 10 * GB, 50 * GB) == 45 * GB
    assert space_for_recordings(60 * GB, 5 * GB, None, 10 * GB, None) is None
    assert space_for_recordings(1, 5, 0, 10, None) == 0


def test_all_cameras_have_the_same_time_unless_their_own_limit_ends_it() -> None:
    assert days({}, 120 * GB, door=10 * GB, yard=5 * GB) == {"door": 8.0, "yard": 8.0}
    # The door's limits leave 100 GB to the yard.
    assert days({"door": CameraLimits(max_bytes=20 * GB)}, 120 * GB, door=10 * GB, yard=5 * GB) == {
        "door": 2.0,
        "yard": 20.0,
    }
    assert days({"door": CameraLimits(max_age_s=2 * DAY_S)}, 120 * GB, door=10 * GB, yard=5 * GB)["yard"] == 20.0
    # A limit that is not reached changes nothing.
    assert days({"door": CameraLimits(max_age_s=9 * DAY_S)}, 120 * GB, door=10 * GB, yard=5 * GB)["door"] == 8.0
    assert days({}, None, door=10 * GB) == {"door": None}
    aged = {"door": CameraLimits(max_age_s=3 * DAY_S)}
    assert days(aged, None, door=10 * GB) == days(aged, 900 * GB, door=10 * GB) == {"door": 3.0}


async def test_what_a_camera_writes_is_measured_in_the_index(tmp_path: Path) -> None:
    now_90k = 1_795_000_000 * CLOCK_RATE
    index = SegmentIndex(tmp_path)
    await index.open()
    sizes = {}
    # The yard began two hours ago, the door ten days ago: what is older than a week does not count.
    for camera_id, began_s in (("yard", 7200), ("door", 10 * 86_400), ("door", 7200)):
        start_90k = now_90k - began_s * CLOCK_RATE
        recordings = record(tmp_path, encode(EncoderSettings(seconds=4), start_90k), camera_id, segment_s=2)
        for whole in recordings:
            await index.save(*whole)
        sizes[camera_id] = sum(segment.size for segment, _ in recordings)
    fits = await measure_capacity(index, now_90k, DiskLimits(None, 0, None), {})
    assert {camera: fit.bytes_per_day for camera, fit in fits.items()} == pytest.approx(
        {camera: 12 * size for camera, size in sizes.items()}, rel=0.01
    )
    free = DiskLimits(30 * sum(sizes.values()), 0, None)
    assert (await measure_capacity(index, now_90k, free, {}))["door"].days == pytest.approx(2.7, abs=0.3)
    await index.close()


@pytest.mark.parametrize("seconds", [0.0, MEASURED_MIN_S - 1])
def test_what_was_measured_too_shortly_is_unknown(seconds: float) -> None:
    assert days_that_fit({"door": CameraRate(GB, seconds)}, {}, GB) == {"door": Fit(None, None)}
    assert days_that_fit({"door": CameraRate(0, DAY_S)}, {}, GB) == {"door": Fit(0, None)}
