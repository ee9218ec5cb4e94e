"""MotionDetector: something has moved in a picture, by its difference from a background that is learned.

Rules:

1. Pictures are compared at :data:`WIDTH` x :data:`HEIGHT` in grey, without their mean: a cloud is no motion.
2. The background follows what has not moved quickly, and what has moved slowly: a car that was parked is a part of it
   after a minute.
3. A change of most of the picture is none that moves: a lamp, night mode, another view. The background begins anew.
4. A score of 0.5 is the least area that ``sensitivity`` asks for.
"""

from collections.abc import Sequence

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from gateway.detect.detector import Detection, DetectorOptions

WIDTH, HEIGHT = 96, 54

STILL_WEIGHT, MOVED_WEIGHT = 0.3, 0.05
EVERYTHING = 0.6
"""Rule 3: this share of the picture."""

LABEL = "motion"


class MotionDetector:
    """See the module."""

    def __init__(self, options: DetectorOptions) -> None:
        insensitive = 1.0 - options.sensitivity
        self._difference = 4.0 + 40.0 * insensitive
        """Of the grey of a point that has moved, of 255."""
        self._area = 0.0005 + 0.02 * insensitive
        """Of all points that count, how many have to have moved."""
        self._mask = _mask(options)
        self._background: NDArray[np.float32] | None = None
        self._reformatter = VideoReformatter()

    def detect(self, frame: av.VideoFrame) -> Sequence[Detection]:
        grey = self._reformatter.reformat(frame, WIDTH, HEIGHT, "gray", interpolation=Interpolation.AREA, threads=1)
        picture = grey.to_ndarray().astype(np.float32)
        picture -= picture.mean()
        if self._background is None:
            self._background = picture
            return ()
        has_moved = np.abs(picture - self._background) > self._difference
        if has_moved.mean() > EVERYTHING:
            self._background = picture
            return ()
        self._background += (picture - self._background) * np.where(has_moved, MOVED_WEIGHT, STILL_WEIGHT)
        inside = has_moved & self._mask
        share = float(inside.sum() / max(1, self._mask.sum()))
        if share < self._area:
            return ()
        return [Detection(LABEL, min(1.0, share / (2 * self._area)), {"box": _box(inside)})]


def _mask(options: DetectorOptions) -> NDArray[np.bool_]:
    """The points that count."""
    if not options.zones:
        return np.ones((HEIGHT, WIDTH), np.bool_)
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    for left, top, width, height in options.zones:
        rows = slice(round(top * HEIGHT), max(round(top * HEIGHT) + 1, round((top + height) * HEIGHT)))
        columns = slice(round(left * WIDTH), max(round(left * WIDTH) + 1, round((left + width) * WIDTH)))
        mask[rows, columns] = True
    return mask


def _box(points: NDArray[np.bool_]) -> list[float]:
    """Left, top, width and height around points, as shares of the picture."""
    rows, columns = np.flatnonzero(points.any(axis=1)), np.flatnonzero(points.any(axis=0))
    left, top = columns[0] / WIDTH, rows[0] / HEIGHT
    return [
        round(float(each), 3) for each in (left, top, (columns[-1] + 1) / WIDTH - left, (rows[-1] + 1) / HEIGHT - top)
    ]
