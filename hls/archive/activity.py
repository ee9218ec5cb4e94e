"""Activity: how much happens in a camera's picture, second by second, from the sizes of its coded frames. Sans-IO.

Theory of operation. An encoder spends bits on what differs from the picture before. So the frames between keyframes
grow when something happens, and nothing has to be decoded to see it. What is large is different for each camera and
each hour: a quiet night may need more bits than a busy day, for its noise. So each second is compared with a baseline
that is learned from the stream itself (:mod:`hls.archive.baseline`). The score says how far the second is above that,
from 0 to 1. It is no detection: an encoder also spends bits on rain, on a lamp that is switched, and on its own
mistakes.

A second has two measures, and the larger score counts:

*Size*: ``log2(P / K)``. ``P`` is the mean size of its frames that are no keyframes, ``K`` the size of the latest
keyframe. Where the bit rate changes, both change, and the measure does not. An encoder of constant bit rate takes from
the keyframes what it spends on the others, so that the measure grows all the more. Of a stream without regular
keyframes (intra refresh), it is ``log2(P)``; of one of keyframes alone, ``log2`` of their mean size. 0.15 octaves are
noise in any case, and three octaves above the noise are a score of 1: frames eight times as large.

*Unevenness*: the square root of the median of ``|log2(s[i] / s[i-1])|``, of frames that follow each other. Rate control
holds the sizes of frames, and cannot foresee each: something that moves makes them uneven, also where their mean stays.
The :data:`SETTLE_FRAMES` after a keyframe do not count, whose sizes grow in any case. 0.06 are noise, and 0.4 above
that are a score of 1.

Rules:

1. The scores of a file follow from its frames and the baseline at its beginning, which is in the file. So a file gives
   the same scores when it is written and when it is read again. The baseline at its end is that of the next file.
2. A second has no score while too little is learned, and where it has no frame that says something.
3. The first frame of a file is marked as a keyframe in any case. It is believed if there were others before.
4. An encoder that fills up its constant bit rate with padding hides what happens: the scores are 0 then.
"""

import math
from dataclasses import dataclass, replace
from statistics import median

from gateway.clock import CLOCK_RATE
from hls.archive.baseline import NO_FRAME_S, NOTHING_LEARNED, Baseline, Level, Scale

UNKNOWN = 0
"""A second that has no score. A score of ``s`` is the byte ``1 + round(100 * s)``."""
PERCENT = 100

SIZE = Scale(noise_factor=4.0, quiet_min=0.15, full=3.0)
UNEVENNESS = Scale(noise_factor=3.0, quiet_min=0.06, full=0.4)

SETTLE_FRAMES = 6
STEPS_MIN = 5
"""Fewer steps from frame to frame than this have no median worth the name."""

SOUND_AHEAD_S = 60
"""Sound may be this much later than the pictures of its file."""


@dataclass(frozen=True, slots=True)
class Activity:
    """The activity of a file: a byte for each second since its first frame, see :data:`UNKNOWN`.

    ``sound`` is the level of the sound, where it was decoded: 128 more than decibels relative to full scale, or
    :data:`UNKNOWN`. ``baseline`` is what was learned at its end.
    """

    levels: bytes = b""
    sound: bytes = b""
    baseline: Baseline = NOTHING_LEARNED


class ActivityMeter:
    """Gives the seconds of a file their scores. ``baseline`` is what was known before (rule 1)."""

    def __init__(self, baseline: Baseline) -> None:
        self._baseline = baseline
        self._levels = bytearray()
        self._sound = bytearray()
        self._second = 0
        self._has_begun = False
        self._keys: list[int] = []
        self._inters: list[int] = []
        """Sizes of the frames in the open second."""
        self._settled: list[tuple[int, int]] = []
        """The same, of a frame that counts for unevenness and of the one before it."""
        self._since_key = 0
        self._before = 0

    def add(self, dts_90k: int, size: int, is_keyframe: bool) -> None:
        """Take the next frame: its time in the file, which never goes back, and its size in bytes."""
        second = dts_90k // CLOCK_RATE
        if second > self._second:
            self._end_second(second)
        is_first, self._has_begun = not self._has_begun, True
        if is_keyframe and not (is_first and self._baseline.key is None):  # rule 3
            self._keys.append(size)
            self._since_key = 0
        elif not is_keyframe:
            self._inters.append(size)
            self._since_key += 1
        if self._before and (self._since_key > SETTLE_FRAMES or self._baseline.is_intra):
            self._settled.append((self._before, size))
        self._before = size

    def add_sound(self, second: int, level: int) -> None:
        """The level of sound in a second of the file, see :class:`Activity`; the loudest remains."""
        if level == UNKNOWN or second > self._second + SOUND_AHEAD_S:
            return
        if len(self._sound) <= second:
            self._sound.extend(bytes(second + 1 - len(self._sound)))
        self._sound[second] = max(self._sound[second], level)

    def activity(self) -> Activity:
        """The seconds that are over."""
        return Activity(bytes(self._levels), bytes(self._sound), self._baseline)

    def finished(self) -> Activity:
        """All seconds, also the last one, at the end of the file. May be called once."""
        self._end_second(self._second + 1)
        return self.activity()

    def _end_second(self, next_second: int) -> None:
        self._levels.append(self._score())
        self._levels.extend(bytes(next_second - self._second - 1))
        self._second = next_second
        self._keys, self._inters, self._settled = [], [], []

    def _score(self) -> int:
        known = self._with_kinds()
        scores: list[float | None] = []
        sizes = self._inters or (self._keys if known.is_intra else [])
        if sizes:
            x = _log2(sum(sizes) / len(sizes)) - (known.key if known.key is not None and self._inters else 0.0)
            scores.append(known.size.score(x, SIZE))
            known = replace(known, size=known.size.learn(x, SIZE))
        if len(self._settled) >= STEPS_MIN:
            x = math.sqrt(median(abs(_log2(size) - _log2(before)) for before, size in self._settled))
            scores.append(known.unevenness.score(x, UNEVENNESS))
            known = replace(known, unevenness=known.unevenness.learn(x, UNEVENNESS))
        self._baseline = known
        return max((1 + round(PERCENT * score) for score in scores if score is not None), default=UNKNOWN)

    def _with_kinds(self) -> Baseline:
        """The baseline with the kinds of frames that the stream has now. It is forgotten where the measure changes."""
        before = self._baseline
        key, key_age = before.key, min(before.key_age + 1, NO_FRAME_S)
        if self._keys:
            key, key_age = _log2(self._keys[-1]), 0
        elif key_age >= NO_FRAME_S:
            key = None
        inter_age = 0 if self._inters else min(before.inter_age + 1, NO_FRAME_S)
        known = replace(before, key=key, key_age=key_age, inter_age=inter_age)
        if known.is_intra is not before.is_intra:
            return replace(known, size=Level(), unevenness=Level())
        if not known.is_intra and (before.key is None) is not (key is None):
            return replace(known, size=Level())
        return known


def _log2(size: float) -> float:
    return math.log2(max(size, 1.0))
