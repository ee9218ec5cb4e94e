"""Two hours of archive with a gap between them, made in a moment."""

import time
from pathlib import Path

from gateway.clock import CLOCK_RATE
from tests.support.film import Film, film
from tests.support.player import cameras
from tests.support.recording import index_of, record

HOUR_S = 3600


def two_hours_of(folder: Path) -> int:
    """A camera ``door``, recorded for an hour, away for an hour, recorded for an hour. Returns when that began, Unix s.

    Two pictures a second, the n-th of an hour with a grey of its own (:func:`tests.support.film.film`).
    """
    cameras(folder, "door", extra='record = "never"\n')
    start_s = int(time.time()) // 600 * 600 - 4 * HOUR_S
    what = Film(seconds=HOUR_S, fps=2, gop=8)
    data = folder / "data"
    wholes = []
    for hour in (0, 2):
        wholes += record(data, film(what, (start_s + hour * HOUR_S) * CLOCK_RATE, run=1 + hour))
    index_of(data, wholes).close()
    return start_s
