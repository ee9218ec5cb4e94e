"""Two hours of archive with a gap between them, made in a moment."""

import time
from dataclasses import replace
from pathlib import Path

from gateway.clock import CLOCK_RATE
from gateway.media import Packet
from tests.support.player import cameras
from tests.support.recording import index_of, record
from tests.support.sources.encoded import EncoderSettings, encode

HOUR_S = 3600

SLOW = EncoderSettings(fps=2, gop=8)
"""Two frames a second. The n-th frame has its own grey (:func:`tests.support.sources.encoded.encode`)."""

GREYS = 200
"""The number of greys: an hour repeats these frames, which are encoded once."""


def two_hours_of(folder: Path, what: EncoderSettings = SLOW) -> int:
    """A camera ``door``: recorded for an hour, away for an hour, recorded for an hour. Return its start, Unix s."""
    assert GREYS % what.gop == 0, "the next round begins with a keyframe"
    cameras(folder, "door", extra='record = "never"\n')
    start_s = int(time.time()) // 600 * 600 - 4 * HOUR_S
    data = folder / "data"
    wholes = []
    for hour in (0, 2):
        wholes += record(data, repeated(what, (start_s + hour * HOUR_S) * CLOCK_RATE, HOUR_S, run=1 + hour))
    index_of(data, wholes).close()
    return start_s


def repeated(what: EncoderSettings, start_90k: int, seconds: int, run: int = 1) -> list[Packet]:
    """So many seconds of a camera. The greys begin anew after :data:`GREYS` frames."""
    round_90k = GREYS * CLOCK_RATE // what.fps
    packets = encode(replace(what, seconds=GREYS / what.fps), start_90k, run)
    return [
        replace(
            packet,
            pts_90k=packet.pts_90k + later_90k,
            dts_90k=packet.dts_90k + later_90k,
            captured_at_90k=packet.captured_at_90k + later_90k,
        )
        for later_90k in range(0, seconds * CLOCK_RATE, round_90k)
        for packet in packets
    ]
