"""How many days of recordings fit, per camera. Sans-IO: numbers in, days out.

Rules:

1. What a camera writes in a day is measured since its first recording within the last :data:`WINDOW_S`, at least over
   :data:`MEASURED_MIN_S`: before, it is unknown. Time since then in which nothing was recorded counts, too.
2. Recordings may have what retention leaves them (:mod:`hls.archive.retention`): the gateway's limit of size, and what
   is on the disk now with what is free beyond the limit of free space, whichever is less. What is protected is not
   deleted, and leaves that much less.
3. Retention deletes the oldest first, whichever camera it is of. So all cameras have the same time, unless a limit of
   a camera, of age or size, ends its time before. What that leaves is for the others.
4. Both streams of a camera count together. The limit of age is that of the main stream.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from hls.archive.retention import CameraLimits

DAY_S = 86_400.0

WINDOW_S = 7 * DAY_S
"""A week has working days and others."""

MEASURED_MIN_S = 3600.0


@dataclass(frozen=True, slots=True)
class CameraRate:
    """What a camera wrote, in ``bytes`` within ``seconds`` of the wall clock."""

    bytes: int
    seconds: float

    @property
    def bytes_per_day(self) -> float | None:
        """``None``: unknown; see rule 1."""
        return self.bytes / self.seconds * DAY_S if self.seconds >= MEASURED_MIN_S else None


@dataclass(frozen=True, slots=True)
class Fit:
    """``days`` of recordings fit at ``bytes_per_day``; ``None``: unknown, or without a limit."""

    bytes_per_day: int | None
    days: float | None


def space_for_recordings(
    used: int, protected: int, free: int | None, min_free: int, max_bytes: int | None
) -> int | None:
    """Bytes that recordings may have which are not protected; ``None``: no limit is known. ``free``: of the disk."""
    limits = [] if max_bytes is None else [max_bytes]
    if free is not None:
        limits.append(used + free - min_free)
    return max(0, min(limits) - protected) if limits else None


def days_that_fit(
    rates: Mapping[str, CameraRate], limits: Mapping[str, CameraLimits], space: int | None
) -> dict[str, Fit]:
    """What fits, by camera. ``space``: see :func:`space_for_recordings`."""
    per_day = {camera_id: rate.bytes_per_day or 0.0 for camera_id, rate in rates.items()}
    caps = {camera_id: _own_days(per_day[camera_id], limits.get(camera_id, CameraLimits())) for camera_id in rates}
    common = _common_days(per_day, caps, space)
    fits = {}
    for camera_id, rate in rates.items():
        days = min(caps[camera_id], common)
        is_known = bool(per_day[camera_id]) and days != float("inf")
        measured = rate.bytes_per_day
        fits[camera_id] = Fit(None if measured is None else round(measured), round(days, 1) if is_known else None)
    return fits


def _own_days(bytes_per_day: float, limits: CameraLimits) -> float:
    """After how many days a camera's own limits delete."""
    days = float("inf") if limits.max_age_s is None else limits.max_age_s / DAY_S
    if limits.max_bytes is not None and bytes_per_day:
        days = min(days, limits.max_bytes / bytes_per_day)
    return days


def _common_days(per_day: Mapping[str, float], caps: Mapping[str, float], space: int | None) -> float:
    """The days that all cameras have which no own limit ends; rule 3."""
    if space is None:
        return float("inf")
    left, rate = float(space), sum(per_day.values())
    for camera_id in sorted(per_day, key=lambda each: caps[each]):
        if not rate or caps[camera_id] * rate > left:
            break
        # All cameras reach this cap together. What follows is for those without it.
        left -= caps[camera_id] * per_day[camera_id]
        rate -= per_day[camera_id]
    return left / rate if rate > 0 else float("inf")
