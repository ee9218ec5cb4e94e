"""TimelineEnd: where a camera's media timeline ended. It is written to a file, by :mod:`hls.live.window_state`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimelineEnd:
    """Where a media timeline ended, so that another segmenter continues it. ``at_s``: when its newest frame came."""

    end_90k: int
    at_s: float
