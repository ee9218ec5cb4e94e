"""Segment: one recorded file of a camera, as the index keeps it, and the name and place of that file.

Times inside a segment are media time from its first frame; ``start_90k`` puts that frame on the wall clock.

The name tells the rendition, so that the index can be rebuilt from the files. Earlier versions recorded main streams
only: a name that ends with ``_sub`` is none that they know, and they leave such a file alone.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from hls.archive.activity import Activity
from hls.archive.fragment import Fragment

SUB_SUFFIX = "_sub"
"""The end of the name of a segment of a sub stream."""

SEGMENT_NAME = re.compile(
    rf"segment_(\d{{4}})(\d{{2}})(\d{{2}})T(\d{{2}})(\d{{2}})(\d{{2}})Z(?:_\d{{3}})?(?:{SUB_SUFFIX})?"
)
"""UTC, to the second. A number follows if another segment began within the same second. Names sort by time."""

NAME_SUFFIX_MAX = 999
"""Segments of one camera that can begin within one second; a camera that restarts more often is not recorded."""


class SegmentState(StrEnum):
    """The state of a segment."""

    GROWING = "growing"
    CLOSED = "closed"
    """An ordinary MP4 with its index."""
    TRUNCATED = "truncated"
    """Cut by a crash or a broken disk: a fragmented MP4 up to its last complete fragment."""
    DELETING = "deleting"
    """Being deleted: not listed any more; its file may not exist any more."""


class RecordedStream(NamedTuple):
    """One stream of a camera. Each has segments, sequence numbers and an age limit of its own."""

    camera_id: str
    rendition: RenditionName = RenditionName.MAIN

    @property
    def label(self) -> str:
        """For messages."""
        return self.camera_id if self.rendition is RenditionName.MAIN else f"{self.camera_id} (sub stream)"


class EndReason(StrEnum):
    """Why a segment ended."""

    BOUNDARY = "boundary"
    CAMERA_LOST = "camera_lost"
    CAMERA_RESTARTED = "camera_restarted"
    STREAM_CHANGED = "stream_changed"
    PACKETS_LOST = "packets_lost"
    CLOCK_STEPPED = "clock_stepped"
    STOPPED = "stopped"
    EVENT_ENDED = "event_ended"
    DISK_FAILED = "disk_failed"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Segment:
    """One archive segment, as a row of the index.

    ``size`` is in bytes on disk. ``continues``: its first frame directly follows the last one of the stream's segment
    before. ``sequence`` and ``discontinuities`` number its first HLS segment within all recordings of the stream (RFC
    8216 §4.3.3.2, §4.3.3.3), so that a playlist's numbers do not depend on where it begins. ``head`` are the first
    bytes of the init segment as they stood while the file grew, ``init_size`` is the length of all of it, and
    ``init_id`` the same for files whose tracks are described by the same bytes. ``activity`` is that of a segment that
    was written or read from its file just now, and ``None`` of one that comes from the index.
    """

    camera_id: str
    name: str
    state: SegmentState
    start_90k: int
    duration_90k: int
    size: int
    codec: str
    codec_string: str
    width: int
    height: int
    head: bytes = field(repr=False)
    init_size: int
    init_id: str = ""
    audio_codec: str | None = None
    audio_codec_string: str | None = None
    run: int = 0
    continues: bool = False
    end_reason: EndReason | None = None
    frames: int = 0
    longest_gap_90k: int = 0
    sequence: int = 0
    hls_segments: int = 0
    discontinuities: int = 0
    is_protected: bool = False
    sha256: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    rendition: RenditionName = RenditionName.MAIN
    activity: Activity | None = field(default=None, compare=False, repr=False)

    @property
    def stream(self) -> RecordedStream:
        """The stream that it is a recording of."""
        return RecordedStream(self.camera_id, self.rendition)

    @property
    def init_length(self) -> int:
        """Bytes of the init segment that it shares with others, see :func:`hls.mp4.init_segment.init_id`."""
        return int(self.init_id.rpartition("-")[2] or "0", 16)

    @property
    def end_90k(self) -> int:
        """Wall clock at its end."""
        return self.start_90k + self.duration_90k

    def overlaps(self, start_90k: int | None, end_90k: int | None) -> bool:
        """Whether any of it is in [start, end); ``None`` is no limit."""
        return (end_90k is None or self.start_90k < end_90k) and (start_90k is None or self.end_90k > start_90k)

    @property
    def codecs(self) -> str:
        """Codec strings of all tracks (RFC 6381)."""
        return ",".join(filter(None, (self.codec_string, self.audio_codec_string)))

    @property
    def frame_rate(self) -> Fraction:
        """Mean frames a second."""
        return Fraction(self.frames * CLOCK_RATE, self.duration_90k) if self.duration_90k else Fraction(0)

    @property
    def bitrate_bps(self) -> int:
        """Mean bits a second, container included."""
        return self.size * 8 * CLOCK_RATE // self.duration_90k if self.duration_90k else 0

    def path(self, data_dir: Path) -> Path:
        """The path of its file."""
        return segment_path(data_dir, self.camera_id, self.name)


class SegmentWithFragments(NamedTuple):
    """An archive segment and its fragments."""

    segment: Segment
    fragments: tuple[Fragment, ...]


def segment_name(start_90k: int, suffix: int = 0, rendition: RenditionName = RenditionName.MAIN) -> str:
    """The name of a segment that begins at this wall clock. ``suffix``: its number within the same second."""
    start = datetime.fromtimestamp(start_90k // CLOCK_RATE, UTC)
    number = f"_{suffix:03}" if suffix else ""
    return f"segment_{start:%Y%m%dT%H%M%SZ}{number}{SUB_SUFFIX if rendition is RenditionName.SUB else ''}"


def rendition_of(name: str) -> RenditionName:
    """The rendition in a segment's name."""
    return RenditionName.SUB if name.endswith(SUB_SUFFIX) else RenditionName.MAIN


def parse_name(name: str) -> int | None:
    """The wall clock in a segment's name, in 90 kHz ticks; ``None`` for any other name."""
    match = SEGMENT_NAME.fullmatch(name)
    if match is None:
        return None
    try:
        start = datetime(*(int(part) for part in match.groups()), tzinfo=UTC)  # type: ignore[arg-type, misc]
    except ValueError:
        return None
    return int(start.timestamp()) * CLOCK_RATE


def segment_path(data_dir: Path, camera_id: str, name: str) -> Path:
    """``DATA_DIR/<camera>/<YYYY-MM-DD>/<name>.mp4``; the day is that of the name."""
    digits = name.removeprefix("segment_")
    return data_dir / camera_id / f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}" / f"{name}.mp4"
