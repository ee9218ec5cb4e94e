"""LiveCounters: what one camera's live playlist has dropped since the process started, for ``/metrics``."""

from dataclasses import dataclass, field

from hls.mp4.audio import AudioCounters


@dataclass(slots=True)
class LiveCounters:
    """A camera keeps them when its window is replaced."""

    packets_dropped: int = 0
    """Video packets before the first keyframe of a run."""
    segments_evicted: int = 0
    """Segments removed before the end of their availability duration, because the memory limit was reached."""
    audio: AudioCounters = field(default_factory=AudioCounters)
