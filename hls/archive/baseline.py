"""Baseline: what is usual in the sizes of a stream's frames, learned second by second. Sans-IO.

The measures and the score are described in :mod:`hls.archive.activity`. Of each measure there is a level ``b`` and a
noise ``n``, the mean of ``|x - b|`` in quiet seconds. What exceeds the level by more than ``q`` is above the noise;
``q`` is a multiple of ``n`` (:class:`Scale`).

Rules:

1. A quiet second (``|x - b| <= q``) is learned with a weight of 1/60, as level and as noise. A busy one moves the level
   by 1/600 of its distance, so that what goes on for an hour is no event. One below the noise moves it by 1/8.
2. What holds still for a minute becomes the baseline within another: night mode, rain, a lens that was turned. What
   moves does not hold still. The measure of it is the mean deviation from a mean of 8 s.
3. The first :data:`LEARN_S` seconds are learned and have no score.
"""

import json
from dataclasses import astuple, dataclass, fields, replace
from typing import Any, NamedTuple, Self

LEARN_S = 10

NOISE_MAX = 1.0

QUIET_WEIGHT, BUSY_WEIGHT, BELOW_WEIGHT = 1 / 60, 1 / 600, 1 / 8
STILL_WEIGHT = 1 / 15
FAST_WEIGHT = 1 / 8
STILL_S = 60

NO_FRAME_S = 60
"""After so long without a keyframe, the stream has none; without any other frame, it has nothing but keyframes."""

_DIGITS = 5


class Scale(NamedTuple):
    """Of a measure: how many times its mean is the loudest noise, how much is noise in any case, and how much above
    the noise is a score of 1."""

    noise_factor: float
    quiet_min: float
    full: float


@dataclass(frozen=True, slots=True)
class Level:
    """What is usual of one measure.

    ``learned``: seconds, up to :data:`LEARN_S`. ``mean`` and ``deviation`` are those of the last seconds, and ``still``
    is how long it has held still.
    """

    learned: int = 0
    level: float = 0.0
    noise: float = 0.0
    mean: float = 0.0
    deviation: float = 0.0
    still: int = 0

    def learn(self, x: float, scale: Scale) -> Self:
        """The level after a second of measure ``x``."""
        if self.learned < LEARN_S:
            weight = 1 / (self.learned + 1)
            level = self.level + (x - self.level) * weight
            noise = self.noise + (abs(x - level) - self.noise) * weight
            return replace(self, learned=self.learned + 1, level=level, noise=noise, mean=level, deviation=noise)
        above, noise = x - self.level, self.noise
        mean = self.mean + (x - self.mean) * FAST_WEIGHT
        deviation = self.deviation + (abs(x - mean) - self.deviation) * FAST_WEIGHT
        still = min(self.still + 1, STILL_S) if deviation < scale.quiet_min else 0
        if abs(above) <= self.quiet(scale):
            weight = QUIET_WEIGHT
            noise += (min(abs(above), NOISE_MAX) - noise) * weight
        else:
            weight = BUSY_WEIGHT if above > 0 else BELOW_WEIGHT
        if still >= STILL_S:
            weight = max(weight, STILL_WEIGHT)
        level = self.level + above * weight
        return replace(self, level=level, noise=noise, mean=mean, deviation=deviation, still=still)

    def quiet(self, scale: Scale) -> float:
        """How much above the level is noise."""
        return max(scale.noise_factor * self.noise, scale.quiet_min)

    def score(self, x: float, scale: Scale) -> float | None:
        """How far ``x`` is above the noise, from 0 to 1; ``None`` while too little is learned."""
        if self.learned < LEARN_S:
            return None
        return min(1.0, max(0.0, (x - self.level - self.quiet(scale)) / scale.full))


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is usual in a stream: the sizes of its frames, and their unevenness.

    ``key`` is ``log2`` of the latest keyframe's size, or ``None``. ``key_age`` and ``inter_age``: seconds since a
    keyframe, and since another frame.
    """

    size: Level = Level()
    unevenness: Level = Level()
    key: float | None = None
    key_age: int = NO_FRAME_S
    inter_age: int = NO_FRAME_S

    @property
    def is_intra(self) -> bool:
        """Whether the stream has nothing but keyframes."""
        return self.inter_age >= NO_FRAME_S

    def pack(self) -> list[Any]:
        """As a value of JSON."""
        return [
            [_rounded(each) for each in value] if isinstance(value, tuple) else _rounded(value)
            for value in astuple(self)
        ]

    @classmethod
    def unpack(cls, packed: Any) -> "Baseline":
        """The inverse of :meth:`pack`. What is none becomes a baseline of which nothing is learned."""
        try:
            size, unevenness, *ages = packed
            numbers = [*size, *unevenness, *(0 if each is None else each for each in ages)]
            if len(numbers) == 2 * len(fields(Level)) + 3 and all(map(_is_number, numbers)):
                return Baseline(Level(*size), Level(*unevenness), *ages)
        except (TypeError, ValueError):
            pass
        return NOTHING_LEARNED

    def rounded(self) -> "Baseline":
        """The same, as a file has it."""
        return self.unpack(self.pack())


NOTHING_LEARNED = Baseline()


def baseline_text(baseline: Baseline) -> str:
    """As text, for the index."""
    return json.dumps(baseline.pack(), separators=(",", ":"))


def baseline_of(text: str | None) -> Baseline:
    """The inverse of :func:`baseline_text`."""
    try:
        return Baseline.unpack(json.loads(text or "null"))
    except (ValueError, RecursionError):
        return NOTHING_LEARNED


def _rounded(value: Any) -> Any:
    return round(value, _DIGITS) if isinstance(value, float) else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6
