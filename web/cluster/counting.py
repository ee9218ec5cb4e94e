"""Which node's files count for a moment or a span, where several nodes have recorded it. Sans-IO.

``rows`` are those of the index of all recordings.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from hls.archive.segment import Segment, rendition_of

if TYPE_CHECKING:
    from hls.cluster.recordings import FoundFile


def most(
    rows: "Sequence[FoundFile]", read: Mapping[str, Sequence[Segment]], own_name: str, start_90k: int, end_90k: int
) -> str:
    """The node whose files count for most of a span. The own one, unless another one has a second more.

    What a node recorded just before it was lost may count for nobody: then the files themselves decide. ``read`` are
    the segments of nodes of which there may be more than in the index.
    """
    counted: Counter[str] = Counter()
    listed: Counter[str] = Counter()
    for row in rows:
        file = row.file
        listed[file.node_name] += _inside(file.start_90k, file.end_90k, start_90k, end_90k)
        if row.from_90k is not None and row.to_90k is not None:
            counted[file.node_name] += _inside(row.from_90k, row.to_90k, start_90k, end_90k)
    for name, segments in read.items():
        listed[name] = sum(_inside(each.start_90k, each.end_90k, start_90k, end_90k) for each in segments)
    best = max(listed, key=lambda name: (counted[name], listed[name]), default=own_name)
    enough_90k = min(CLOCK_RATE, end_90k - start_90k)
    is_better = counted[best] - counted[own_name] >= enough_90k or not listed[own_name]
    return best if is_better else own_name


def _inside(from_90k: int, to_90k: int, start_90k: int, end_90k: int) -> int:
    return max(0, min(to_90k, end_90k) - max(from_90k, start_90k))


def counting(rows: "Sequence[FoundFile]") -> Callable[[str, str, int], bool]:
    """Whether what a node has of a segment counts at a moment: it does unless another file of the stream does.

    The newest files are not in the index yet, and of those that grow, and of a node that was lost, more is there than
    the index says.
    """
    spans: dict[str, list[tuple[int, int, str, str]]] = {name.value: [] for name in RenditionName}
    for row in rows:
        if row.from_90k is not None and row.to_90k is not None:
            spans[row.file.rendition].append((row.from_90k, row.to_90k, row.file.node_name, row.file.name))
    for each in spans.values():
        each.sort()

    def counts(node: str, segment: str, at_90k: int) -> bool:
        of_stream = spans[rendition_of(segment).value]
        middle_90k = at_90k + CLOCK_RATE // 2
        at = bisect_right(of_stream, middle_90k, key=lambda span: span[0]) - 1
        if at < 0 or of_stream[at][1] <= middle_90k:
            return True
        return of_stream[at][2:] == (node, segment)

    return counts
