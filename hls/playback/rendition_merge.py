"""The recordings of a camera's two streams as one: a stream where it was recorded, and the other one elsewhere.

Sans-IO: what was recorded of each goes in, in the order of its recording, and the pieces of a playlist come out.

Rules:

1. A gap of the preferred stream of at least :data:`GAP_MIN_90K` is filled with what the other one recorded of it, in
   whole HLS segments. Since those begin elsewhere, up to one of them is shown twice at each side of the gap: nothing
   that was recorded is left out. Shorter gaps stay, because a filling would repeat more than it adds.
2. An open playlist only grows. So a gap that may not be over yet is filled up to :data:`SETTLED_90K` before now, and
   nothing after a gap is listed before the other stream's HLS segment at its end is complete.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.clock import CLOCK_RATE
from hls.archive.hls_segments import HLS_SEGMENT_MIN_S, HLS_TARGET_S, HlsSegment
from hls.archive.segment import Segment

GAP_MIN_90K = HLS_SEGMENT_MIN_S * CLOCK_RATE
"""The shortest HLS segment."""

SETTLED_90K = HLS_TARGET_S * CLOCK_RATE
"""A recording is on the disk, and so known, sooner than this."""

OVERLAP_MIN_90K = CLOCK_RATE // 2
"""An HLS segment that has less of a gap is not listed for it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Successive HLS segments of one file. ``number`` is that of the first one within its file."""

    segment: Segment
    parts: Sequence[HlsSegment]
    number: int = 0


@dataclass(frozen=True, slots=True)
class _Gap:
    start_90k: int
    end_90k: int
    before: Piece | None
    """The preferred stream's next piece."""


def merge(
    preferred: Sequence[Piece], other: Sequence[Piece], start_90k: int, end_90k: int, *, is_open: bool
) -> list[Piece]:
    """The pieces of a playlist of [start, end). ``is_open``: the playlist goes on, and ``end_90k`` is now."""
    merged: list[Piece] = []
    done = 0
    for gap in _gaps(preferred, start_90k, end_90k, is_open=is_open):
        upto = len(preferred) if gap.before is None else preferred.index(gap.before)
        merged += preferred[done:upto]
        done = upto
        merged += _fill(other, gap)
        if is_open and gap.before is not None and _may_still_fill(other, gap):
            return merged
    return [*merged, *preferred[done:]]


def _gaps(preferred: Sequence[Piece], start_90k: int, end_90k: int, *, is_open: bool) -> Iterator[_Gap]:
    position_90k = start_90k
    for piece in preferred:
        if piece.segment.start_90k - position_90k >= GAP_MIN_90K:
            yield _Gap(position_90k, piece.segment.start_90k, piece)
        # Not the latest end so far: a clock that was set back made some dates twice.
        position_90k = piece.segment.end_90k
    if preferred and preferred[-1].segment.end_reason is None:
        return  # it grows
    if end_90k - position_90k >= GAP_MIN_90K + (SETTLED_90K if is_open else 0):
        yield _Gap(position_90k, end_90k - (SETTLED_90K if is_open else 0), None)


def _fill(other: Sequence[Piece], gap: _Gap) -> Iterator[Piece]:
    for piece in other:
        numbers = [number for number, part in enumerate(piece.parts) if _is_in(piece, part, gap)]
        if numbers:
            yield Piece(piece.segment, piece.parts[numbers[0] : numbers[-1] + 1], piece.number + numbers[0])


def _is_in(piece: Piece, part: HlsSegment, gap: _Gap) -> bool:
    begin_90k = piece.segment.start_90k + part.start_90k
    if gap.before is None and begin_90k >= gap.end_90k:
        return False
    # The end of a gap that goes on is not the end of what belongs to it.
    until_90k = begin_90k + part.duration_90k if gap.before is None else gap.end_90k
    inside_90k = min(begin_90k + part.duration_90k, until_90k) - max(begin_90k, gap.start_90k)
    return inside_90k >= min(OVERLAP_MIN_90K, part.duration_90k)


def _may_still_fill(other: Sequence[Piece], gap: _Gap) -> bool:
    """Whether the other stream has an HLS segment of the gap that is not complete yet."""
    if not other or other[-1].segment.end_reason is not None:
        return False
    growing = other[-1]
    complete_90k = growing.segment.start_90k + (growing.parts[-1].end_90k if growing.parts else 0)
    return complete_90k < gap.end_90k - OVERLAP_MIN_90K
