"""LiveSegment: a segment of the live playlist, its named parts, and their lines in the playlist."""

from dataclasses import dataclass, field

from hls.mp4.fragments import FragmentMuxer
from hls.parts.part import Part


@dataclass(slots=True)
class LivePart:
    """A part, its URI, and its line in the playlist."""

    name: str
    part: Part
    line: str


@dataclass(slots=True, eq=False)
class LiveSegment:
    """A segment; complete once it has a ``tail``.

    ``head`` and ``tail`` are the playlist's lines before the first and after the last part. ``completed_at_s``
    (monotonic) and ``longest_playlist_90k``, the longest playlist that was sent with it, determine how long the segment
    stays available (rfc8216bis §6.2.2). ``size`` is in bytes. Without ``lists_parts`` it is listed when it is complete.
    """

    msn: int
    name: str
    muxer: FragmentMuxer
    program_date_90k: int
    is_discontinuity: bool
    lists_parts: bool
    head: str
    parts: list[LivePart] = field(default_factory=list)
    duration_90k: int = 0
    size: int = 0
    tail: str = ""
    completed_at_s: float = 0.0
    longest_playlist_90k: int = 0

    @property
    def was_sent(self) -> bool:
        """Whether a playlist was sent with it."""
        return self.longest_playlist_90k > 0

    @property
    def listed_parts(self) -> int:
        """How many parts the playlist names, or did."""
        return len(self.parts) if self.lists_parts else 0

    @property
    def init_name(self) -> str:
        return f"init-{self.muxer.init_id}.mp4"
