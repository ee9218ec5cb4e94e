"""AllActivity: the activity of what all nodes of a cluster have recorded, as of :mod:`hls.playback.activity`.

Rules:

1. The value of a step is the largest that any node has. Every node makes its steps at the same times.
2. A period begins where it does for the recordings of all nodes together: not where a camera that is active was handed
   over.
3. A node that does not answer is left out, and named. Of one that is away, what can be read of its recordings counts
   (:mod:`~.node_answers`). Where that is read from the object storage, file by file, it does for spans of
   :data:`STORED_MAX_S` at most, and no period is looked for.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, seconds_90k, to_rfc3339
from gateway.codec.loudness import LEVEL_FULL
from gateway.errors import LiveedgeError
from gateway.times import parse_time
from hls.archive.activity import PERCENT, UNKNOWN
from hls.playback.activity import (
    PAUSE_S,
    PERIOD_MAX_S,
    ActivityPeriod,
    ActivityReader,
    ActivitySteps,
    least_level,
    period_from,
)
from web.cluster.away_recordings import AwayNode
from web.cluster.node_answers import NodeAnswers, Span

STORED_MAX_S = 86_400

TRIES_MAX = 8
"""Periods that are read until one begins by rule 2."""


class AllActivity:
    """See the module. Lives on the event loop. ``own`` is that of this node."""

    def __init__(self, own: ActivityReader, answers: NodeAnswers) -> None:
        self.own = own
        self._answers = answers

    async def steps(
        self, camera_id: str, start_90k: int, end_90k: int, step_s: int | None, rendition: RenditionName | None
    ) -> ActivitySteps:
        """As :meth:`hls.playback.activity.ActivityReader.steps`."""
        own = await self.own.steps(camera_id, start_90k, end_90k, step_s, rendition)
        end_90k = own.start_90k + len(own.levels) * own.step_s * CLOCK_RATE
        query = {"start": to_rfc3339(own.start_90k), "end": to_rfc3339(end_90k), "step": str(own.step_s)}

        async def read(node: AwayNode) -> ActivitySteps:
            return await ActivityReader(node.archive).steps(camera_id, own.start_90k, end_90k, own.step_s, rendition)

        target = _target(f"/api/cameras/{quote(camera_id)}/activity", query, rendition)
        is_read = self._answers.is_complete or end_90k - own.start_90k <= seconds_90k(STORED_MAX_S)
        span = Span(camera_id, own.start_90k, end_90k)
        answers = await self._answers.of_all(target, span, read if is_read else None)
        told = filter(None, (read_steps(answer, own) for answer in answers.told))
        return replace(merge_steps([own, *told, *answers.read]), away=answers.missing)

    async def period(
        self, camera_id: str, time_90k: int, threshold: float, rendition: RenditionName | None, *, forward: bool
    ) -> ActivityPeriod | None:
        """As :meth:`hls.playback.activity.ActivityReader.period`."""
        least = least_level(threshold)
        for _ in range(TRIES_MAX):
            begin_90k = await self._begin(camera_id, time_90k, threshold, rendition, forward=forward)
            if begin_90k is None:
                return None
            before_90k = max(0, begin_90k - seconds_90k(PAUSE_S))
            end_90k = begin_90k + seconds_90k(PERIOD_MAX_S)
            steps = await self.steps(camera_id, before_90k, end_90k, 1, rendition)
            pause = (begin_90k - before_90k) // CLOCK_RATE
            if not any(level >= least for level in steps.levels[:pause]):
                return replace(period_from(begin_90k // CLOCK_RATE, steps.levels[pause:], least), away=steps.away)
            time_90k = begin_90k
        return None

    async def _begin(
        self, camera_id: str, time_90k: int, threshold: float, rendition: RenditionName | None, *, forward: bool
    ) -> int | None:
        """Where a period begins at any node."""
        query = {"time": to_rfc3339(time_90k), "threshold": f"{threshold:g}"}
        query["direction"] = "next" if forward else "previous"

        async def read(node: AwayNode) -> ActivityPeriod | None:
            return await ActivityReader(node.archive).period(camera_id, time_90k, threshold, rendition, forward=forward)

        target = _target(f"/api/cameras/{quote(camera_id)}/activity/next", query, rendition)
        own, answers = await asyncio.gather(
            self.own.period(camera_id, time_90k, threshold, rendition, forward=forward),
            self._answers.of_all(target, Span(camera_id), read if self._answers.is_complete else None),
        )
        begins = [period.start_90k for period in (own, *answers.read) if period is not None]
        for answer in answers.told:
            with contextlib.suppress(LiveedgeError, KeyError, TypeError):
                begins.append(parse_time(answer["start"], "start"))
        return (min if forward else max)(begins, default=None)


def _target(path: str, query: dict[str, str], rendition: RenditionName | None) -> str:
    return f"{path}?{urlencode(query | ({'rendition': rendition.value} if rendition is not None else {}))}"


def merge_steps(found: Sequence[ActivitySteps]) -> ActivitySteps:
    """Rule 1, for steps of the same times."""
    levels = bytes(map(max, *(each.levels for each in found))) if len(found) > 1 else found[0].levels
    sound = bytes(map(max, *(each.sound for each in found))) if len(found) > 1 else found[0].sound
    return ActivitySteps(found[0].start_90k, found[0].step_s, levels, sound)


def read_steps(answer: Any, like: ActivitySteps) -> ActivitySteps | None:
    """The steps in the answer of another node, which are those of ``like``; ``None`` for any other answer."""
    try:
        levels = bytes(UNKNOWN if value is None else 1 + round(value * PERCENT) for value in answer["activity"])
        sound = bytes(UNKNOWN if value is None else value + LEVEL_FULL for value in answer["sound_db"])
        start_90k = parse_time(answer["start"], "start")
        is_like = (start_90k, answer["step_s"], len(levels), len(sound)) == (
            *(like.start_90k, like.step_s),
            *(len(like.levels), len(like.sound)),
        )
    except (LiveedgeError, KeyError, TypeError, ValueError):
        return None
    return ActivitySteps(start_90k, like.step_s, levels, sound) if is_like else None
