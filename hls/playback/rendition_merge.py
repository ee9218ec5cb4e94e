"""The recordings of a camera's two streams as one: a stream where it was recorded, and the other one elsewhere.

Sans-IO: what was recorded of each goes in, in the order of its recording, and the pieces of a playlist come out.

Rules:

1. A gap of the preferred stream of at least :data:`GAP_MIN_90K` is filled with what the other one recorded of it, in
   whole HLS segments. Since those begin elsewhere, up to one of them is shown twice at each side of the gap: nothing
   that was recorded is left out. Shorter gaps stay, because a filling would repeat more than it adds.
2. A playlist that is loaded again keeps its entries and their numbers. So it has a moment, that of the first request:
   what was recorded before is merged, and from then on the preferred stream goes on alone (:class:`Moment`). Entries
   before the moment are numbered backwards from it, and those after it forwards. Retention takes away the first ones,
   and changes no number of others.
3. What retention has deleted is never replaced by the other stream. The playlist begins after it instead; after the
   last gap, if something is deleted that a gap was filled with: dates do not tell in which one it was.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway.clock import CLOCK_RATE
from gateway.errors import BadRequestError
from hls.archive.hls_segments import HLS_SEGMENT_MIN_S, HlsSegment
from hls.playback.recording_order import Piece

GAP_MIN_90K = HLS_SEGMENT_MIN_S * CLOCK_RATE
"""The shortest HLS segment."""

OVERLAP_MIN_90K = CLOCK_RATE // 2
"""An HLS segment that has less of a gap is not listed for it."""

BEFORE_MAX = 100_000
"""More than a playlist has before its moment, so that no number is negative."""

END_OF_TIME_90K = 1 << 62

_PAST = re.compile(r"(\d{1,12})-(\d{1,12})-(\d{1,12}),(\d{1,12})-(\d{1,12})")


class Range(NamedTuple):
    """Sequence numbers [first, next) of a stream."""

    first: int
    next: int


@dataclass(frozen=True, slots=True)
class Moment:
    """What a playlist that goes on has of the time before its first request: ``own`` of the preferred stream.

    ``discontinuities`` is the number of the preferred stream's file that has, or will have, ``own.next``.
    """

    own: Range
    discontinuities: int
    other: Range


def parse_past(text: str) -> Moment:
    """The inverse of :func:`format_past`. Raises :class:`~gateway.errors.BadRequestError`."""
    match = _PAST.fullmatch(text)
    if match is None:
        raise BadRequestError("past: take the URL from the multivariant playlist, as it is")
    first, until, discontinuities, other_first, other_until = map(int, match.groups())
    return Moment(Range(first, until), discontinuities, Range(other_first, other_until))


def format_past(moment: Moment) -> str:
    """A moment as a query parameter."""
    own, other = moment.own, moment.other
    return f"{own.first}-{own.next}-{moment.discontinuities},{other.first}-{other.next}"


class Numbers(NamedTuple):
    """Of the first entry of a playlist."""

    media_sequence: int
    discontinuities: int


@dataclass(frozen=True, slots=True)
class _Gap:
    start_90k: int
    end_90k: int
    before: int | None
    """The index of the preferred stream's next piece."""


def merge(
    preferred: Sequence[Piece], other: Sequence[Piece], start_90k: int, end_90k: int, *, is_other_cut: bool = False
) -> list[Piece]:
    """The pieces of [start, end). ``is_other_cut``: some of the other stream's are deleted (rule 3)."""
    merged: list[Piece] = []
    done = 0
    for gap in _gaps(preferred, start_90k, end_90k):
        upto = len(preferred) if gap.before is None else gap.before
        merged += preferred[done:upto]
        done = upto
        if is_other_cut:
            merged.clear()
        else:
            merged += _fill(other, gap)
    return [*merged, *preferred[done:]]


def merge_from(
    own: Sequence[Piece], other: Sequence[Piece], moment: Moment, start_90k: int
) -> tuple[list[Piece], Numbers]:
    """The pieces of a playlist that goes on, and the numbers of its first entry; see rule 2.

    ``own`` is what is there of the preferred stream from ``moment.own.first`` on, without a hole, and ``other`` the
    same of the other stream.
    """
    before = _cut(own, moment.own.first, moment.own.next)
    after = _cut(own, moment.own.next)
    fills = _cut(other, *moment.other)
    is_cut = own[0].first > moment.own.first if own else moment.own.first < moment.own.next
    is_other_cut = moment.other.first < moment.other.next and (
        not fills or (fills[0].first, fills[-1].next) != moment.other
    )
    goes_on = bool(before) and before[-1].segment.discontinuities == moment.discontinuities
    if before:
        start_90k = before[0].segment.start_90k if is_cut else start_90k
        end_90k = max((piece.segment.start_90k + piece.parts[-1].end_90k for piece in fills), default=0)
        # The gap after a file that goes on is not of the time before the moment.
        end_90k = 0 if goes_on else END_OF_TIME_90K if is_other_cut else end_90k
        merged = merge(before, fills, start_90k, end_90k, is_other_cut=is_other_cut)
    else:
        merged = [] if is_cut or (fills and fills[-1].next < moment.other.next) else fills
    count = sum(len(piece.parts) for piece in merged)
    if not merged and after:
        numbers = after[0].first, after[0].segment.discontinuities
    else:
        numbers = moment.own.next - count, moment.discontinuities - len(merged) + goes_on
    if merged and after and goes_on:
        last = merged.pop()
        after[0] = Piece(after[0].segment, [*last.parts, *after[0].parts], last.number)
    return [*merged, *after], Numbers(*(number + BEFORE_MAX for number in numbers))


def _cut(pieces: Sequence[Piece], first: int, upto: int | None = None) -> list[Piece]:
    return [cut for piece in pieces if (cut := piece.cut(first, upto)).parts]


def _gaps(preferred: Sequence[Piece], start_90k: int, end_90k: int) -> Iterator[_Gap]:
    position_90k = start_90k
    for index, piece in enumerate(preferred):
        if piece.segment.start_90k - position_90k >= GAP_MIN_90K:
            yield _Gap(position_90k, piece.segment.start_90k, index)
        # Not the latest end so far: a clock that was set back made some dates twice.
        position_90k = piece.segment.end_90k
    if preferred and preferred[-1].segment.end_reason is None:
        return  # it grows
    if end_90k - position_90k >= GAP_MIN_90K:
        yield _Gap(position_90k, end_90k, None)


def _fill(other: Sequence[Piece], gap: _Gap) -> Iterator[Piece]:
    for piece in other:
        numbers = [number for number, part in enumerate(piece.parts) if _is_in(piece, part, gap)]
        if numbers:
            yield piece.drop(numbers[0], numbers[-1] + 1)


def _is_in(piece: Piece, part: HlsSegment, gap: _Gap) -> bool:
    begin_90k = piece.segment.start_90k + part.start_90k
    inside_90k = min(begin_90k + part.duration_90k, gap.end_90k) - max(begin_90k, gap.start_90k)
    return inside_90k >= min(OVERLAP_MIN_90K, part.duration_90k)
