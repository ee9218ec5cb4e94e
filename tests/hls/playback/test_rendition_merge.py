"""The recordings of two streams as one playlist. Times are seconds; nothing is on disk."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from hls.archive.hls_segments import HlsSegment
from hls.archive.segment import EndReason, Segment, SegmentState
from hls.playback.dvr import playlist
from hls.playback.rendition_merge import GAP_MIN_90K, OVERLAP_MIN_90K, Piece, merge

MAIN, SUB = RenditionName.MAIN, RenditionName.SUB

T0_90K = 1_764_000_000 * CLOCK_RATE


def piece(rendition: RenditionName, start_s: float, lengths_s: Sequence[float], *, grows: bool = False) -> Piece:
    """A file of HLS segments of these lengths. Of one that grows, the last is on the disk and not complete."""
    parts: list[HlsSegment] = []
    at_90k = offset = 0
    for length_s in lengths_s:
        duration_90k = round(length_s * CLOCK_RATE)
        parts.append(HlsSegment(1000 + offset, 100, at_90k, duration_90k))
        at_90k, offset = at_90k + duration_90k, offset + 100
    segment = Segment(
        camera_id="door",
        name=f"{rendition.value}-{start_s}",
        state=SegmentState.GROWING if grows else SegmentState.CLOSED,
        end_reason=None if grows else EndReason.CAMERA_LOST,
        start_90k=T0_90K + round(start_s * CLOCK_RATE),
        duration_90k=at_90k,
        size=1000 + offset,
        codec="h264",
        codec_string="avc1.42e01f",
        width=640,
        height=360,
        head=b"",
        init_size=1000,
        init_id=f"{rendition.value}-3e8",
        rendition=rendition,
        sequence=round(start_s),
    )
    return Piece(segment, parts[:-1] if grows else parts)


def shown(pieces: Sequence[Piece]) -> list[tuple[str, float]]:
    """The stream and the start of each HLS segment."""
    return [
        (each.segment.rendition.value, (each.segment.start_90k + part.start_90k - T0_90K) / CLOCK_RATE)
        for each in pieces
        for part in each.parts
    ]


def merged(
    preferred: Sequence[Piece], other: Sequence[Piece], to_s: float, *, is_open: bool = False
) -> list[tuple[str, float]]:
    return shown(merge(preferred, other, T0_90K, T0_90K + round(to_s * CLOCK_RATE), is_open=is_open))


def test_gaps_before_between_and_after_are_filled_with_whole_segments() -> None:
    main = [piece(MAIN, 10, [5, 5]), piece(MAIN, 33, [5])]
    sub = [piece(SUB, 1, [4] * 6), piece(SUB, 25, [4] * 7)]
    assert merged(main, sub, 50) == [
        *[("sub", 1), ("sub", 5), ("sub", 9)],
        *[("main", 10), ("main", 15)],
        *[("sub", 17), ("sub", 21), ("sub", 25), ("sub", 29)],
        ("main", 33),
        *[("sub", 37), ("sub", 41), ("sub", 45), ("sub", 49)],
    ]
    assert merged(sub, main, 50) == shown(sub)


def test_a_number_is_that_within_the_file() -> None:
    filled = merge([piece(MAIN, 0, [5, 5])], [piece(SUB, 0, [4] * 5)], T0_90K, T0_90K + 20 * CLOCK_RATE, is_open=False)
    assert [(each.segment.rendition, each.number) for each in filled] == [(MAIN, 0), (SUB, 2)]
    text = playlist(filled[1:], T0_90K, None, is_ended=True)
    assert text is not None
    assert "#EXT-X-MEDIA-SEQUENCE:2\n" in text


def test_a_short_gap_stays() -> None:
    main = [piece(MAIN, 0, [5]), piece(MAIN, 8, [5])]
    assert merged(main, [piece(SUB, 0, [4] * 4)], 13) == shown(main)


def test_one_stream_alone_is_as_it_is() -> None:
    main = [piece(MAIN, 3, [5, 5]), piece(MAIN, 60, [5])]
    assert merged(main, [], 100) == merged([], main, 100) == shown(main)
    assert merged([], [], 100) == []


def test_a_clock_that_was_set_back_makes_no_gap() -> None:
    main = [piece(MAIN, 50, [5, 5]), piece(MAIN, 20, [5])]
    sub = [piece(SUB, 40, [4] * 6)]
    assert shown(main) == [each for each in merged(main, sub, 60) if each[0] == "main"]


def test_while_the_preferred_stream_grows_nothing_follows_it() -> None:
    main, sub = [piece(MAIN, 0, [5, 5, 5], grows=True)], [piece(SUB, 0, [4] * 10, grows=True)]
    assert merged(main, sub, 40, is_open=True) == [("main", 0), ("main", 5)]


def test_after_a_gap_the_preferred_stream_waits_for_the_other_ones_last_segment() -> None:
    main = [piece(MAIN, 0, [5, 5]), piece(MAIN, 30, [5, 5], grows=True)]
    filled = [("main", 0), ("main", 5), ("sub", 8), ("sub", 16)]
    assert merged(main, [piece(SUB, 0, [8] * 4, grows=True)], 39, is_open=True) == filled
    assert merged(main, [piece(SUB, 0, [8] * 5, grows=True)], 41, is_open=True) == [*filled, ("sub", 24), ("main", 30)]
    assert merged(main, [piece(SUB, 0, [8] * 3)], 41, is_open=True) == [*filled, ("main", 30)]


lengths = st.lists(st.floats(4, 10), min_size=1, max_size=8)
files = st.lists(st.tuples(st.floats(0, 30), lengths), max_size=4)


def recording(rendition: RenditionName, spans: Sequence[tuple[float, Sequence[float]]]) -> list[Piece]:
    """Files one after the other, each after a gap."""
    pieces, at_s = [], 0.0
    for gap_s, lengths_s in spans:
        pieces.append(piece(rendition, at_s + gap_s, lengths_s))
        at_s += gap_s + sum(lengths_s)
    return pieces


def at(pieces: Sequence[Piece], now_s: float) -> list[Piece]:
    """What of a finished recording is known at a moment: whole HLS segments of a file that grows."""
    known = []
    for each in pieces:
        begun_90k = T0_90K + round(now_s * CLOCK_RATE) - each.segment.start_90k
        if begun_90k <= 0:
            continue
        if begun_90k >= each.segment.duration_90k:
            known.append(each)
            continue
        segment = replace(each.segment, state=SegmentState.GROWING, end_reason=None, duration_90k=begun_90k)
        known.append(Piece(segment, [part for part in each.parts if part.end_90k <= begun_90k]))
    return known


@settings(max_examples=50, deadline=None)
@given(files, files, st.sampled_from([MAIN, SUB]))
def test_an_open_playlist_only_grows_until_it_is_that_of_the_whole(
    main_spans: list[tuple[float, list[float]]], sub_spans: list[tuple[float, list[float]]], prefer: RenditionName
) -> None:
    streams = {MAIN: recording(MAIN, main_spans), SUB: recording(SUB, sub_spans)}
    other = SUB if prefer is MAIN else MAIN
    before: list[tuple[str, float]] = []
    for now_s in range(0, 420, 2):
        listed = merged(at(streams[prefer], now_s), at(streams[other], now_s), now_s, is_open=True)
        assert listed[: len(before)] == before
        before = listed
    assert merged(streams[prefer], streams[other], 420) == before


@settings(max_examples=50, deadline=None)
@given(files, files)
def test_nothing_that_either_recorded_in_a_long_gap_is_left_out(
    main_spans: list[tuple[float, list[float]]], sub_spans: list[tuple[float, list[float]]]
) -> None:
    main, sub = recording(MAIN, main_spans), recording(SUB, sub_spans)
    listed = merge(main, sub, T0_90K, T0_90K + 400 * CLOCK_RATE, is_open=False)
    spans = sorted(
        (each.segment.start_90k + part.start_90k, each.segment.start_90k + part.end_90k)
        for each in listed
        for part in each.parts
    )
    holes = [(T0_90K, T0_90K), *spans, (T0_90K + 400 * CLOCK_RATE,) * 2]
    reached_90k = T0_90K
    for (_, end_90k), (start_90k, _) in pairwise(holes):
        reached_90k = max(reached_90k, end_90k)
        for each in sub:
            for part in each.parts:
                begin_90k = each.segment.start_90k + part.start_90k
                inside = min(start_90k, begin_90k + part.duration_90k) - max(reached_90k, begin_90k)
                assert inside < GAP_MIN_90K + OVERLAP_MIN_90K
