"""Measure in the index what each camera writes, for :mod:`hls.archive.capacity`."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.clock import CLOCK_RATE
from hls.archive.capacity import WINDOW_S, CameraRate, Fit, days_that_fit, space_for_recordings
from hls.archive.index import SegmentIndex
from hls.archive.retention import CameraLimits
from hls.archive.table import SegmentTable


@dataclass(frozen=True, slots=True)
class DiskLimits:
    """Bytes: ``free`` on the disk (``None``: it is no limit), how many have to stay so, and those of all recordings."""

    free: int | None
    min_free: int
    max_bytes: int | None


async def measure_capacity(
    index: SegmentIndex, now_90k: int, disk: DiskLimits, limits: Mapping[str, CameraLimits]
) -> dict[str, Fit]:
    """How many days of recordings fit, by camera. Raises ``StorageError``."""
    written = await index.call(SegmentTable.written_since, now_90k - round(WINDOW_S * CLOCK_RATE))
    usage = await index.usage()
    rates = {
        camera_id: CameraRate(size, (now_90k - first_90k) / CLOCK_RATE)
        for camera_id, (size, first_90k) in written.items()
    }
    used, protected = sum(each.size for each in usage), sum(each.protected_size for each in usage)
    space = space_for_recordings(used, protected, disk.free, disk.min_free, disk.max_bytes)
    return days_that_fit(rates, limits, space)
