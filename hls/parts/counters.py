"""PartCounters: what is dropped where a camera's packets become parts, since the process started, for ``/metrics``."""

from dataclasses import dataclass, field

from hls.mp4.audio import AudioCounters


@dataclass(slots=True)
class PartCounters:
    """They survive the segmenter that counts."""

    packets_dropped: int = 0
    """Video packets before the first keyframe of a run."""
    audio: AudioCounters = field(default_factory=AudioCounters)
