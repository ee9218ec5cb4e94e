"""A segment of the live playlist: its parts, under their names, and the lines that they are in the text."""

from dataclasses import dataclass, field

from hls.live.segmenter import Part
from hls.mp4.fragments import FragmentMuxer


@dataclass(slots=True)
class LivePart:
    """A part under its name."""

    name: str
    part: Part
    line: str


@dataclass(slots=True, eq=False)
class LiveSegment:
    """A segment; complete once it has a ``tail``.

    ``appeared_s`` (monotonic) is when it did, and ``longest_playlist_90k`` the longest playlist that it has been in:
    the two make how long it stays to be fetched (rfc8216bis §6.2.2). ``size`` is in bytes.
    """

    msn: int
    name: str
    muxer: FragmentMuxer
    program_date_90k: int
    is_discontinuity: bool
    head: str
    parts: list[LivePart] = field(default_factory=list)
    duration_90k: int = 0
    size: int = 0
    tail: str = ""
    appeared_s: float = 0.0
    longest_playlist_90k: int = 0

    @property
    def is_gap(self) -> bool:
        return self.parts[0].part.is_gap

    @property
    def init_name(self) -> str:
        return f"init-{self.muxer.init_id}.mp4"
