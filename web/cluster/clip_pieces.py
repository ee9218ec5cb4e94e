"""Which node's files a clip shows at each moment, where several nodes have recorded a camera. Sans-IO.

Rules:

1. A moment is shown of the file that counts for it in the index of all recordings. Where none is known to, it is shown
   of any file that has it: the newest ones are not in the index yet.
2. Less than :data:`LEAST_90K` that no file counts for is not shown of another node beside what is shown: the files of
   two nodes that follow each other do not fit to the tick.
3. A piece within a file begins with a keyframe, and the file before it is shown up to there, as far as it goes. What
   begins less than :data:`LEAST_90K` after its file begins with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.clock import CLOCK_RATE
from hls.archive.segment import SegmentWithFragments

LEAST_90K = CLOCK_RATE

Span = tuple[int, int]
"""Wall clock, 90 kHz: from, to."""


@dataclass(frozen=True, slots=True)
class NodePiece:
    """The wall clock [``start_90k``, ``end_90k``) of a file of the node ``node``."""

    node: str
    whole: SegmentWithFragments
    start_90k: int
    end_90k: int


def cut_pieces(
    found: Mapping[str, Sequence[SegmentWithFragments]],
    counted: Mapping[tuple[str, str], Span],
    start_90k: int,
    end_90k: int,
) -> list[NodePiece]:
    """The pieces of a clip, in the order of time.

    ``found``: the files of one stream, by the name of their node. ``counted``: the span for which a file counts, by
    node and name.
    """
    files: list[tuple[str, SegmentWithFragments, Span]] = []
    for node, wholes in found.items():
        for whole in wholes:
            span = max(start_90k, whole.segment.start_90k), min(end_90k, whole.segment.end_90k)
            if span[0] < span[1]:
                files.append((node, whole, span))
    files.sort(key=lambda file: (file[2], file[0]))
    placed: list[NodePiece] = []
    for node, whole, span in files:  # what counts
        from_90k, to_90k = counted.get((node, whole.segment.name), (0, 0))
        if (start := max(span[0], from_90k)) < (end := min(span[1], to_90k)):
            placed += [NodePiece(node, whole, *free) for free in _free(placed, (start, end))]
    for node, whole, span in files:  # rules 1 and 2
        for free in _free(placed, span):
            beside = [each for each in placed if free[0] <= each.end_90k and each.start_90k <= free[1]]
            is_own = any(each.whole is whole for each in beside)
            if is_own or all(each.node == node for each in beside) or free[1] - free[0] >= LEAST_90K:
                placed.append(NodePiece(node, whole, *free))
    placed.sort(key=lambda each: each.start_90k)
    return _from_keyframes(_joined(placed))


def _free(placed: Sequence[NodePiece], span: Span) -> list[Span]:
    """What of a span no piece has."""
    free, at_90k = list[Span](), span[0]
    for each in sorted(placed, key=lambda each: each.start_90k):
        if each.end_90k <= at_90k or each.start_90k >= span[1]:
            continue
        if each.start_90k > at_90k:
            free.append((at_90k, each.start_90k))
        at_90k = each.end_90k
    if at_90k < span[1]:
        free.append((at_90k, span[1]))
    return free


def _joined(pieces: Sequence[NodePiece]) -> list[NodePiece]:
    """Pieces of one file that follow each other are one."""
    joined: list[NodePiece] = []
    for piece in pieces:
        if joined and joined[-1].whole is piece.whole and joined[-1].end_90k >= piece.start_90k:
            joined[-1] = replace(joined[-1], end_90k=piece.end_90k)
        else:
            joined.append(piece)
    return joined


def _from_keyframes(pieces: Sequence[NodePiece]) -> list[NodePiece]:
    """Rule 3."""
    cut: list[NodePiece] = []
    for piece in pieces:
        segment, fragments = piece.whole
        begin_90k = piece.start_90k - segment.start_90k
        if cut and begin_90k < LEAST_90K:
            before = cut[-1]
            if before.node != piece.node:
                cut[-1] = replace(before, end_90k=min(before.end_90k, segment.start_90k))
            piece = replace(piece, start_90k=segment.start_90k)
        elif cut:
            keyframes = (each.start_90k for each in fragments if each.is_keyframe and each.start_90k >= begin_90k)
            if (key_90k := next(keyframes, None)) is None or segment.start_90k + key_90k >= piece.end_90k:
                continue
            before = cut[-1]
            piece = replace(piece, start_90k=segment.start_90k + key_90k)
            until_90k = min(before.whole.segment.end_90k, piece.start_90k)
            cut[-1] = replace(before, end_90k=max(before.end_90k, until_90k))
        cut.append(piece)
    return cut
