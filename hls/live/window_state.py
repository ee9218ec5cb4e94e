"""WindowState: a live window as bytes, so that the next process goes on with its playlist.

Theory of operation. A gateway that restarts is for its players a camera that was lost for a moment, if the playlist is
the same before and after: the segments that they know are still there, the numbers continue, and what comes is behind
an EXT-X-DISCONTINUITY. With a fresh playlist hls.js requests parts that are gone, and shaka keeps waiting.

Rules:

1. The bytes are a line of JSON and then the media of the segments, in the order of the playlist.
2. They are only for a process on the same boot of the host: times are of its monotonic clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ConfigDict, TypeAdapter

from gateway.clock import CLOCK_RATE
from gateway.media import StreamInfo
from hls.live.segment import LivePart, LiveSegment
from hls.mp4.fragments import FragmentMuxer
from hls.parts.part import Part
from hls.parts.target_duration import TargetDurations
from hls.parts.timeline_end import TimelineEnd

MSN_RATE = 4
"""Media sequence numbers a second. Segments last a second and more; a camera that reconnects often makes shorter ones,
and must not overtake the clock either."""

MSN_EPOCH_90K = 1_577_836_800 * CLOCK_RATE
"""2020-01-01T00:00:00Z: with it the numbers stay below 2^31, which some players need, until 2037."""


MSNS_OF_OWNER = 1000
"""So much higher begin the numbers of the next owner of a camera: the clocks of two nodes may be four minutes apart."""


def first_msn(wall_90k: int, epoch: int = 0) -> int:
    """The media sequence number with which a window begins at this wall clock, if none was before it.

    ``epoch`` is that of the camera's owner among several nodes.
    """
    return max(0, wall_90k - MSN_EPOCH_90K) * MSN_RATE // CLOCK_RATE + epoch * MSNS_OF_OWNER


@dataclass(frozen=True, slots=True)
class WindowNumbers:
    """The numbers of a window that the next one continues; the names are those of :class:`LiveWindow`."""

    name_prefix: str
    next_msn: int
    next_part: int
    first_discontinuity: int
    discontinuities: int
    discontinuities_removed: int
    longest_gop_90k: int


@dataclass(frozen=True, slots=True)
class WindowState:
    """See the module. ``segments`` are complete, oldest first, and at least one. ``left_at_s``: when it was made."""

    targets: TargetDurations
    numbers: WindowNumbers
    end: TimelineEnd
    segments: Sequence[LiveSegment]
    left_at_s: float


@dataclass(frozen=True)
class _Init:
    info: StreamInfo
    data: bytes


@dataclass(frozen=True)
class _Part:
    name: str
    line: str
    size: int
    duration_90k: int
    captured_at_90k: int


@dataclass(frozen=True)
class _Segment:
    init: int
    msn: int
    name: str
    program_date_90k: int
    is_discontinuity: bool
    lists_parts: bool
    head: str
    tail: str
    completed_at_s: float
    longest_playlist_90k: int
    parts: list[_Part]


@dataclass(frozen=True)
class _Head:
    __pydantic_config__ = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    targets: TargetDurations
    numbers: WindowNumbers
    end: TimelineEnd
    left_at_s: float
    inits: list[_Init]
    segments: list[_Segment]


_HEAD = TypeAdapter(_Head)


def dump(state: WindowState) -> list[bytes | memoryview]:
    """The state in pieces."""
    inits: dict[str, _Init] = {}
    segments: list[_Segment] = []
    media: list[bytes | memoryview] = []
    for segment in state.segments:
        inits.setdefault(segment.init_name, _Init(segment.muxer.info, segment.muxer.init))
        parts = [
            _Part(each.name, each.line, len(each.part.data), each.part.duration_90k, each.part.captured_at_90k)
            for each in segment.parts
        ]
        segments.append(
            _Segment(
                init=list(inits).index(segment.init_name),
                msn=segment.msn,
                name=segment.name,
                program_date_90k=segment.program_date_90k,
                is_discontinuity=segment.is_discontinuity,
                lists_parts=segment.lists_parts,
                head=segment.head,
                tail=segment.tail,
                completed_at_s=segment.completed_at_s,
                longest_playlist_90k=segment.longest_playlist_90k,
                parts=parts,
            )
        )
        media += [each.part.data for each in segment.parts]
    head = _Head(state.targets, state.numbers, state.end, state.left_at_s, list(inits.values()), segments)
    return [_HEAD.dump_json(head), b"\n", *media]


def load(data: bytes) -> WindowState:
    """The inverse of :func:`dump`. Raises ``ValueError`` for bytes that are none, or not all of it."""
    text, found, _ = data.partition(b"\n")
    head = _HEAD.validate_json(text)
    view = memoryview(data)[len(text) + len(found) :]
    if not head.segments or sum(part.size for each in head.segments for part in each.parts) != len(view):
        raise ValueError("the media do not have the length that the head says")
    muxers = [FragmentMuxer(each.info, each.data) for each in head.inits]
    segments: list[LiveSegment] = []
    for each in head.segments:
        segment = LiveSegment(
            msn=each.msn,
            name=each.name,
            muxer=muxers[each.init],
            program_date_90k=each.program_date_90k,
            is_discontinuity=each.is_discontinuity,
            lists_parts=each.lists_parts,
            head=each.head,
            tail=each.tail,
            completed_at_s=each.completed_at_s,
            longest_playlist_90k=each.longest_playlist_90k,
        )
        for part in each.parts:
            content, view = view[: part.size], view[part.size :]
            made = Part(segment.muxer, 0, part.duration_90k, content, part.captured_at_90k)
            segment.parts.append(LivePart(part.name, made, part.line))
            segment.duration_90k += part.duration_90k
            segment.size += part.size
        segments.append(segment)
    return WindowState(head.targets, head.numbers, head.end, segments, head.left_at_s)
