"""Fragments grouped into HLS segments."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import CLOCK_RATE
from hls.archive.fragment import Fragment
from hls.archive.hls_segments import HLS_TARGET_S, hls_segments, pack_hls, unpack_hls


def make_fragments(spans: list[tuple[int, bool]]) -> list[Fragment]:
    fragments: list[Fragment] = []
    offset, start = 1000, 0
    for index, (duration_90k, is_keyframe) in enumerate(spans):
        fragments.append(Fragment(offset, 10 + index, start, duration_90k, 5, is_keyframe or index == 0))
        offset, start = offset + 10 + index, start + duration_90k
    return fragments


spans = st.lists(st.tuples(st.integers(1, 90_000), st.booleans()), max_size=80)


@given(spans)
def test_hls_segments_cover_the_file_once_and_never_exceed_the_target(given_spans: list[tuple[int, bool]]) -> None:
    fragments = make_fragments(given_spans)
    segments = hls_segments(fragments, is_complete=True)
    assert sum(segment.size for segment in segments) == sum(fragment.size for fragment in fragments)
    for before, after in pairwise(segments):
        assert before.offset + before.size == after.offset
        assert before.end_90k == after.start_90k
    assert all(round(segment.duration_90k / CLOCK_RATE) <= HLS_TARGET_S for segment in segments)


@given(spans, st.integers(0, 80))
def test_hls_segments_of_a_growing_file_do_not_change_later(given_spans: list[tuple[int, bool]], so_far: int) -> None:
    fragments = make_fragments(given_spans)
    early = hls_segments(fragments[:so_far], is_complete=False)
    assert hls_segments(fragments, is_complete=True)[: len(early)] == early


def test_long_gops_are_cut_at_the_target() -> None:
    segments = hls_segments(make_fragments([(45_000, False)] * 60), is_complete=True)
    assert [segment.duration_90k / CLOCK_RATE for segment in segments] == [10.0, 10.0, 10.0]


@given(spans)
def test_hls_segments_pack_and_unpack(given_spans: list[tuple[int, bool]]) -> None:
    segments = hls_segments(make_fragments(given_spans), is_complete=True)
    assert unpack_hls(pack_hls(segments), 1000) == segments
