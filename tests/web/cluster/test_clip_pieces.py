"""The pieces of a clip of several nodes: in order, none twice, nothing left out that a file has."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import CLOCK_RATE
from hls.archive.fragment import Fragment
from hls.archive.segment import Segment, SegmentState, SegmentWithFragments, segment_name
from tests.support.sources.encoded import START_90K
from web.cluster.clip_pieces import LEAST_90K, NodePiece, Span, cut_pieces

GOP_S = 2


def file(start_s: float, seconds: int) -> SegmentWithFragments:
    """A file with a fragment of half a second each, and a keyframe every two seconds."""
    start_90k = START_90K + round(start_s * CLOCK_RATE)
    half_90k = CLOCK_RATE // 2
    fragments = tuple(
        Fragment(100 * number, 100, number * half_90k, half_90k, 5, number % (2 * GOP_S) == 0)
        for number in range(2 * seconds)
    )
    segment = Segment(
        *("door", segment_name(start_90k), SegmentState.CLOSED, start_90k, seconds * CLOCK_RATE, 1000),
        *("h264", "avc1.42e01f", 640, 360, b"\0\1\2", 100),
    )
    return SegmentWithFragments(segment, fragments)


def seconds(pieces: list[NodePiece]) -> list[tuple[str, float, float]]:
    return [
        (each.node, (each.start_90k - START_90K) / CLOCK_RATE, (each.end_90k - START_90K) / CLOCK_RATE)
        for each in pieces
    ]


def cut(
    found: dict[str, list[SegmentWithFragments]],
    counted: dict[tuple[str, str], Span],
    start_s: float,
    end_s: float,
) -> list[tuple[str, float, float]]:
    span = START_90K + round(start_s * CLOCK_RATE), START_90K + round(end_s * CLOCK_RATE)
    return seconds(cut_pieces(found, counted, *span))


def test_where_the_owner_changes_the_clip_goes_over_to_its_file() -> None:
    before, after = file(0, 20), file(12, 20)
    counted = {
        ("a", before.segment.name): (START_90K, after.segment.start_90k),
        ("b", after.segment.name): (after.segment.start_90k, after.segment.end_90k),
    }
    found = {"b": [after], "a": [before]}
    assert cut(found, counted, 5, 25) == [("a", 5, 12), ("b", 12, 25)]
    assert cut(found, counted, 14, 16) == [("b", 14, 16)]


def test_what_is_in_no_index_yet_is_shown_too() -> None:
    before, after = file(0, 20), file(23, 10)
    # The row of a file that grows is behind it, and that of a new one is missing.
    counted = {("a", before.segment.name): (START_90K, START_90K + 15 * CLOCK_RATE)}
    assert cut({"a": [before], "b": [after]}, counted, 0, 100) == [("a", 0, 20), ("b", 23, 33)]


def test_less_than_a_second_that_counts_for_nobody_is_shown_where_nothing_else_is() -> None:
    """A node that is killed may have no more on its disk, and its row of the index may not count."""
    lost = file(0, 20)
    assert cut({"a": [lost]}, {}, 3, 3.5) == [("a", 3, 3.5)]
    after = file(19.5, 20)
    counted = {("b", after.segment.name): (after.segment.start_90k, after.segment.end_90k)}
    assert cut({"a": [lost], "b": [after]}, counted, 19, 25)[0][0] == "b"


def test_what_a_node_recorded_just_before_it_was_killed_is_shown_behind_its_file_before() -> None:
    """Its last file is short, and no index but its own has it."""
    before, last, after = file(0, 20), file(20, 1), file(21.5, 20)
    end_s = 20 + LEAST_90K / CLOCK_RATE / 2
    counted = {("a", before.segment.name): (START_90K, before.segment.end_90k)}
    assert cut({"a": [before, last]}, counted, 10, end_s) == [("a", 10, 20), ("a", 20, end_s)]
    found = {"a": [before, last], "b": [after]}
    assert cut(found, counted, 10, 25) == [("a", 10, 20), ("a", 20, 21), ("b", 21.5, 25)]


def test_a_piece_within_a_file_begins_with_a_keyframe_and_the_one_before_is_shown_until_then() -> None:
    lost, spare = file(0, 20), file(1, 30)
    counted = {("a", lost.segment.name): (START_90K, START_90K + 10 * CLOCK_RATE)}
    found = {"a": [lost], "b": [spare]}
    assert cut(
        found, {**counted, ("b", spare.segment.name): (START_90K + 10 * CLOCK_RATE, START_90K + 31 * CLOCK_RATE)}, 0, 40
    ) == [
        ("a", 0, 11),
        ("b", 11, 31),
    ]


def test_files_of_one_node_that_do_not_fit_to_the_tick_are_whole() -> None:
    first, second = file(0, 10), file(9.99, 10)
    assert cut({"a": [first, second], "b": [file(8, 2)]}, {}, 0, 30) == [("a", 0, 10), ("a", 9.99, 19.99)]


FILES = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=5)


@given(st.dictionaries(st.sampled_from("abcd"), FILES, max_size=4), st.integers(0, 40), st.integers(1, 60), st.data())
def test_pieces_are_in_order_and_have_all_but_what_is_before_a_keyframe(
    spans: dict[str, list[tuple[int, int]]], start_s: int, length_s: int, data: st.DataObject
) -> None:
    found = {node: [file(*each) for each in of_node] for node, of_node in spans.items()}
    end_s = start_s + length_s
    counted: dict[tuple[str, str], Span] = {}
    at_90k = START_90K
    for node, whole in sorted(
        ((node, whole) for node, wholes in found.items() for whole in wholes),
        key=lambda each: each[1].segment.start_90k,
    ):
        from_90k = max(at_90k, whole.segment.start_90k)
        if from_90k < whole.segment.end_90k and data.draw(st.booleans()):
            counted[node, whole.segment.name] = from_90k, whole.segment.end_90k
            at_90k = whole.segment.end_90k
    pieces = cut(found, counted, start_s, end_s)
    for before, after in pairwise(pieces):
        assert before[1] <= after[1]
        assert before[2] <= after[1] + 1e-6, "no moment is shown twice"
    assert all(start_s <= piece[1] < piece[2] <= end_s for piece in pieces)
    shown = {tick for _, from_s, to_s in pieces for tick in range(round(from_s * 2), round(to_s * 2))}
    there = {
        tick
        for of_node in spans.values()
        for begin_s, file_s in of_node
        for tick in range(2 * max(start_s, begin_s), 2 * min(end_s, begin_s + file_s))
    }
    assert shown <= there
    # At each border of a file, what is before a keyframe, or too short to go over to another file for.
    files = sum(map(len, spans.values()))
    assert len(there - shown) <= 2 * files * 2 * (GOP_S + LEAST_90K / CLOCK_RATE)
