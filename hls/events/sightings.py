"""Sightings: what a detector finds in single pictures, as the begins and ends of events. Sans-IO.

Rules:

1. An event of a label begins with a score of at least :data:`BEGIN_SCORE`, or where the label is found in two pictures
   one after the other. It begins with the first of them.
2. It goes on while the label is found, whatever the score, and ends :data:`HOLD_90K` after the last time, or after
   two and a half times as long as from picture to picture. Its end is when the label was found last.
3. Of several detections of a label in a picture, the one with the highest score counts. An event has the highest score
   that there was, and the data with it.
4. There are :data:`LABELS_MAX` events at once; labels beyond that are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.clock import CLOCK_RATE
from gateway.detect.detector import Detection

BEGIN_SCORE = 0.5
HOLD_90K = 10 * CLOCK_RATE
LABELS_MAX = 16


@dataclass(slots=True)
class Sighting:
    """A label that is being found. ``best`` is the detection with the highest score."""

    label: str
    first_90k: int
    last_90k: int
    best: Detection
    has_begun: bool = False


@dataclass(frozen=True, slots=True)
class Changes:
    """What has begun, and what is over."""

    begun: Sequence[Sighting] = ()
    ended: Sequence[Sighting] = ()


class Sightings:
    """See the module."""

    def __init__(self) -> None:
        self._found: dict[str, Sighting] = {}
        self._last_90k: int | None = None
        self._interval_90k = 0

    def add(self, captured_90k: int, detections: Sequence[Detection]) -> Changes:
        """What was found in the next picture."""
        if self._last_90k is not None:
            self._interval_90k = max(0, captured_90k - self._last_90k)
        self._last_90k = captured_90k
        begun = []
        best: dict[str, Detection] = {}
        for each in detections:
            if each.label not in best or each.score > best[each.label].score:
                best[each.label] = each
        for label, detection in best.items():
            known = self._found.get(label)
            if known is None:
                if len(self._found) >= LABELS_MAX:
                    continue
                known = self._found[label] = Sighting(label, captured_90k, captured_90k, detection)
                is_certain = detection.score >= BEGIN_SCORE
            else:
                known.last_90k = max(known.last_90k, captured_90k)
                is_certain = True
                if detection.score > known.best.score:
                    known.best = detection
            if is_certain and not known.has_begun:
                known.has_begun = True
                begun.append(known)
        for label in [each.label for each in self._found.values() if not each.has_begun and each.label not in best]:
            del self._found[label]
        return Changes(begun, self.expire(captured_90k))

    def expire(self, now_90k: int) -> list[Sighting]:
        """What is over by now."""
        hold_90k = max(HOLD_90K, 5 * self._interval_90k // 2)
        return self._remove([each for each in self._found.values() if abs(now_90k - each.last_90k) > hold_90k])

    def end(self) -> list[Sighting]:
        """End everything."""
        return self._remove(list(self._found.values()))

    def _remove(self, over: list[Sighting]) -> list[Sighting]:
        for each in over:
            del self._found[each.label]
        return [each for each in over if each.has_begun]
