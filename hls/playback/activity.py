"""Activity of a time range: a value for each step of it, and where the next period of activity begins.

The scores are those of :mod:`hls.archive.activity`, of the segments in the index and of what is on the disk and not in
the index yet.

Rules:

1. The value of a step is the largest of its seconds: what was short is seen at any scale.
2. Without a ``rendition``, a second is that of the main stream, and of the sub stream where the main stream has none.
3. A *period* is a second of at least the threshold, with all that follow without a pause of :data:`PAUSE_S`.
4. The event loop never waits for the index, and the length of an answer is limited.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, seconds_90k
from gateway.errors import BadRequestError
from hls.archive import activity_table
from hls.archive.activity import PERCENT
from hls.archive.activity_table import RecordedActivity
from hls.archive.segment import RecordedStream
from hls.archive.service import Archive

STEPS_MAX = 10_000
SPAN_MAX_S = 92 * 86_400
SEGMENTS_MAX = 20_000
"""Limits of one answer: 92 days of 10-minute files are 13,000 segments and 16 MB in the index."""

STEPS_DEFAULT = 600

SEARCH_MAX_S = 31 * 86_400
WINDOW_S = 6 * 3600
"""How far a search goes, and how much of it is read at once."""

PAUSE_S = 5
AHEAD_S = 1
BEHIND_S = 4
"""A period that begins within so much of the moment is the one that the player shows, and not the next or the previous
one."""

PERIOD_MAX_S = 3600
"""The end of a longer period is not looked for."""


@dataclass(frozen=True, slots=True)
class ActivitySteps:
    """The activity from ``start_90k`` on, a value for each ``step_s`` seconds: bytes as of
    :class:`~hls.archive.activity.Activity`. ``away`` are the names of the nodes of a cluster that may have more."""

    start_90k: int
    step_s: int
    levels: bytes
    sound: bytes
    away: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ActivityPeriod:
    """Rule 3. ``score`` is the highest of its seconds, from 0 to 1. ``away`` as of :class:`ActivitySteps`."""

    start_90k: int
    end_90k: int
    score: float
    away: Sequence[str] = ()


class ActivityReader:
    """See the module. Lives on the event loop."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def steps(
        self, camera_id: str, start_90k: int, end_90k: int, step_s: int | None, rendition: RenditionName | None
    ) -> ActivitySteps:
        """The activity of [start, end). ``step_s`` in whole seconds; ``None`` for about :data:`STEPS_DEFAULT` steps.

        Steps begin at multiples of their length since the epoch. Raises ``BadRequestError`` for too long an answer.
        """
        span_s = (end_90k - start_90k) / CLOCK_RATE
        if span_s > SPAN_MAX_S:
            raise BadRequestError(f"the span is longer than {SPAN_MAX_S // 86_400} days: ask for a shorter one")
        step_s = max(1, round(span_s / STEPS_DEFAULT)) if step_s is None else step_s
        step_90k = step_s * CLOCK_RATE
        first = start_90k // step_90k
        count = -(-end_90k // step_90k) - first
        if count > STEPS_MAX:
            raise BadRequestError(f"that would be {count} steps, and {STEPS_MAX} is the limit: give a larger step")
        recorded = await self._recorded(camera_id, first * step_90k, (first + count) * step_90k, rendition)
        levels, sound = await asyncio.to_thread(_steps, recorded, first * step_90k, step_90k, count)
        return ActivitySteps(first * step_90k, step_s, levels, sound)

    async def period(
        self, camera_id: str, time_90k: int, threshold: float, rendition: RenditionName | None, *, forward: bool
    ) -> ActivityPeriod | None:
        """The next period that begins after a moment, or the last one before it; ``None`` without one nearby."""
        least = least_level(threshold)
        now_90k = self._archive.clock.wall_90k()
        for number in range(SEARCH_MAX_S // WINDOW_S):
            if forward:
                start_90k = time_90k + seconds_90k(AHEAD_S + number * WINDOW_S)
                if start_90k > now_90k:
                    break
            else:
                start_90k = time_90k - seconds_90k(BEHIND_S + (number + 1) * WINDOW_S)
                if start_90k < 0:
                    break
            begin_s = -(-start_90k // CLOCK_RATE)
            seconds = await self._seconds(camera_id, begin_s - PAUSE_S, begin_s + WINDOW_S, rendition)
            found = _begins(seconds, least, forward=forward)
            if found is not None:
                return await self._period(camera_id, begin_s - PAUSE_S + found, least, rendition)
        return None

    async def _period(
        self, camera_id: str, begin_s: int, least: int, rendition: RenditionName | None
    ) -> ActivityPeriod:
        seconds = await self._seconds(camera_id, begin_s, begin_s + PERIOD_MAX_S, rendition)
        return period_from(begin_s, seconds, least)

    async def _seconds(self, camera_id: str, start_s: int, end_s: int, rendition: RenditionName | None) -> bytes:
        start_s = max(0, start_s)
        recorded = await self._recorded(camera_id, start_s * CLOCK_RATE, end_s * CLOCK_RATE, rendition)
        levels, _ = await asyncio.to_thread(_steps, recorded, start_s * CLOCK_RATE, CLOCK_RATE, end_s - start_s)
        return levels

    async def _recorded(
        self, camera_id: str, start_90k: int, end_90k: int, rendition: RenditionName | None
    ) -> list[list[RecordedActivity]]:
        """What there is of each stream, the main stream first."""
        found = []
        for name in RenditionName if rendition is None else (rendition,):
            stream = RecordedStream(camera_id, name)
            rows = await self._archive.index.call(activity_table.span, stream, start_90k, end_90k, SEGMENTS_MAX + 1)
            if len(rows) > SEGMENTS_MAX:
                raise BadRequestError(f"the span has more than {SEGMENTS_MAX} segments: ask for a shorter one")
            by_name = {row.name: row for row in rows}
            for segment, _ in self._archive.unindexed(camera_id, name):
                if segment.activity is not None and segment.overlaps(start_90k, end_90k):
                    by_name[segment.name] = RecordedActivity(
                        segment.name, segment.start_90k, segment.activity.levels, segment.activity.sound
                    )
            found.append(list(by_name.values()))
        return found


def least_level(threshold: float) -> int:
    """The least value of a second whose score counts."""
    return 1 + max(1, round(PERCENT * threshold))


def period_from(begin_s: int, seconds: bytes, least: int) -> ActivityPeriod:
    """The period that begins with the first of ``seconds`` (rule 3)."""
    length = 0
    for at, level in enumerate(seconds):
        if level >= least:
            length = at + 1
        elif at - length >= PAUSE_S:
            break
    score = (max(seconds[:length], default=least) - 1) / PERCENT
    return ActivityPeriod(begin_s * CLOCK_RATE, (begin_s + max(1, length)) * CLOCK_RATE, score)


def _steps(
    streams: Sequence[Iterable[RecordedActivity]], start_90k: int, step_90k: int, count: int
) -> tuple[bytes, bytes]:
    """Rules 1 and 2: levels and sound."""
    levels, sound = bytearray(count), bytearray(count)
    for recordings in streams:
        of_stream = bytearray(count), bytearray(count)
        for each in recordings:
            _add(of_stream[0], each.levels, each.start_90k - start_90k, step_90k)
            _add(of_stream[1], each.sound, each.start_90k - start_90k, step_90k)
        for total, part in zip((levels, sound), of_stream, strict=True):
            total[:] = bytes(a or b for a, b in zip(total, part, strict=True)) if any(total) else part
    return bytes(levels), bytes(sound)


def _add(steps: bytearray, seconds: bytes, offset_90k: int, step_90k: int) -> None:
    """Add the seconds of a segment that begins ``offset_90k`` after the first step. Each is in one step."""
    end_90k = offset_90k + len(seconds) * CLOCK_RATE
    for step in range(max(0, offset_90k // step_90k), min(len(steps), -(-end_90k // step_90k))):
        first = max(0, -((offset_90k - step * step_90k) // CLOCK_RATE))
        last = max(0, -((offset_90k - (step + 1) * step_90k) // CLOCK_RATE))
        if part := seconds[first:last]:
            steps[step] = max(steps[step], *part)


def _begins(seconds: bytes, least: int, *, forward: bool) -> int | None:
    """The first second, or the last one, with which a period begins; not one of the first :data:`PAUSE_S`."""
    active = [at for at, level in enumerate(seconds) if level >= least]
    begins = [
        at
        for at, before in zip(active, [-PAUSE_S - 1, *active], strict=False)
        if at - before > PAUSE_S and at >= PAUSE_S
    ]
    if not begins:
        return None
    return begins[0] if forward else begins[-1]
