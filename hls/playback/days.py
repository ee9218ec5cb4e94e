"""The days on which something of a camera was recorded, in the time zone of the viewer.

Rules:

1. A day is that of a time zone, from its midnight to the next one: not all have 24 hours.
2. A day has a recording where any segment of the camera's streams overlaps it, also one that is not in the index yet.
3. The answer is of :data:`DAYS_MAX` days at most, and costs a look-up for each.
"""

from datetime import date, datetime, time, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from gateway.errors import BadRequestError
from hls.archive.recorded_days import recorded_spans
from hls.archive.segment import RecordedStream
from hls.archive.service import Archive

DAYS_MAX = 400
"""A year, and what a calendar shows of the months around it."""


def parse_zone(text: str) -> tzinfo:
    """The time zone of a name of the IANA database. Raises :class:`~gateway.errors.BadRequestError`."""
    try:
        return ZoneInfo(text)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError; a folder's name is an OSError
        raise BadRequestError(
            f"zone: {text[:40]!r} is not known: give a name of the IANA database, like Asia/Seoul; without any, the"
            " host lacks that database (Debian's package tzdata)"
        ) from None


def parse_day(text: str, name: str) -> date:
    """A day, ``2026-11-22``. Raises :class:`~gateway.errors.BadRequestError`, which names the parameter."""
    try:
        if len(text) == 10:
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise BadRequestError(f"{name}: {text[:20]!r} is not a day: write it like 2026-11-22")


def midnight_90k(day: date, zone: tzinfo) -> int:
    """When a day begins in a time zone, in 90 kHz ticks since the Unix epoch."""
    return round(datetime.combine(day, time(), zone).timestamp()) * CLOCK_RATE


def days_of(first: date, last: date, zone: tzinfo) -> tuple[list[date], list[tuple[int, int]]]:
    """The days from ``first`` to ``last``, both included, and the span [start, end) of each in 90 kHz.

    Raises :class:`~gateway.errors.BadRequestError` for too many days.
    """
    count = (last - first).days + 1
    if not 1 <= count <= DAYS_MAX:
        raise BadRequestError(f"last is 0 to {DAYS_MAX - 1} days after first: ask for fewer days")
    try:
        days = [first + timedelta(days=number) for number in range(count + 1)]
        return days[:count], list(pairwise(midnight_90k(day, zone) for day in days))
    except (OverflowError, ValueError, OSError):
        raise BadRequestError("first or last is a day that no clock has: give days since 1970") from None


class RecordedDays:
    """See the module. Lives on the event loop."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def between(self, camera_id: str, first: date, last: date, zone: tzinfo) -> list[date]:
        """The days with recordings of ``first`` to ``last``, both included, oldest first.

        Raises :class:`~gateway.errors.BadRequestError` for too many days.
        """
        days, spans = days_of(first, last, zone)
        count = len(days)
        recorded = [False] * count
        for name in RenditionName:
            stream = RecordedStream(camera_id, name)
            wanted = [number for number in range(count) if not recorded[number]]
            found = await self._archive.index.call(recorded_spans, stream, [spans[number] for number in wanted])
            for number, is_recorded in zip(wanted, found, strict=True):
                recorded[number] = is_recorded
            for segment, _ in self._archive.unindexed(camera_id, name):
                for number, span in enumerate(spans):
                    recorded[number] = recorded[number] or segment.overlaps(*span)
        return [day for day, is_recorded in zip(days, recorded, strict=True) if is_recorded]
