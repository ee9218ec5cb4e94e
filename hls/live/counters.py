"""LiveCounters: what one camera's live playlist has dropped since the process started, for ``/metrics``."""

from dataclasses import dataclass

from hls.parts.counters import PartCounters


@dataclass(slots=True)
class LiveCounters(PartCounters):
    """A camera keeps them when its window is replaced."""

    segments_evicted: int = 0
    """Segments removed before the end of their availability duration, because the memory limit was reached."""
