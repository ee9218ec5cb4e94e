"""Which node's files count for a span: also those that are read and that the index of all recordings has not yet."""

from dataclasses import replace

from gateway.clock import CLOCK_RATE
from hls.archive.segment import Segment
from hls.cluster.recordings import FoundFile, RecordedFile
from tests.hls.archive.test_index import make
from web.cluster.counting import counting, most

S = CLOCK_RATE


def row(node: str, from_s: int, to_s: int, *, counts: bool = True, name: str = "segment_1") -> FoundFile:
    file = RecordedFile("door", "main", node, name, from_s * S, to_s * S, 1)
    return FoundFile(file, 1, from_s * S if counts else None, to_s * S if counts else None)


def segment(from_s: int, to_s: int) -> Segment:
    return replace(make(0), start_90k=from_s * S, duration_90k=(to_s - from_s) * S)


def test_most_is_who_has_a_second_more_or_who_has_any() -> None:
    assert most([], {}, "own", 0, 10 * S) == "own"
    assert most([row("own", 0, 5), row("other", 5, 10)], {}, "own", 0, 10 * S) == "own"
    assert most([row("own", 0, 4), row("other", 4, 10)], {}, "own", 0, 10 * S) == "other"
    assert most([row("own", 0, 4, counts=False), row("other", 4, 10)], {}, "own", 0, 10 * S) == "other"
    assert most([row("other", 4, 10, counts=False)], {}, "own", 0, 10 * S) == "other"


def test_what_is_read_of_a_node_is_more_than_the_index_knows() -> None:
    read = {"other": [segment(0, 10)]}
    assert most([], read, "own", 5 * S, 6 * S) == "other"
    assert most([row("own", 20, 30)], read, "own", 5 * S, 6 * S) == "other"
    assert most([row("own", 0, 10)], read, "own", 5 * S, 6 * S) == "own", "its file counts"
    assert most([row("own", 0, 10), row("other", 0, 2)], read, "own", 0, S) == "own"


def test_a_moment_that_no_file_counts_for_is_shown_of_any() -> None:
    main = "segment_20261122T185000Z"
    counts = counting([row("a", 0, 10, name=main), row("b", 8, 20, counts=False, name=main)])
    assert counts("a", main, 4 * S)
    assert not counts("b", main, 8 * S)
    assert counts("b", main, 12 * S)
    assert counts("b", f"{main}_sub", 4 * S), "of the other stream there is nothing else"
