"""The recordings of two streams as one playlist. Times are seconds; nothing is on disk."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from hls.archive.hls_segments import HlsSegment
from hls.archive.segment import EndReason, Segment, SegmentState
from hls.playback.dvr import playlist
from hls.playback.recording_order import Piece
from hls.playback.rendition_merge import GAP_MIN_90K, OVERLAP_MIN_90K, Moment, Range, merge, merge_from

MAIN, SUB = RenditionName.MAIN, RenditionName.SUB

T0_90K = 1_764_000_000 * CLOCK_RATE


def piece(
    rendition: RenditionName,
    start_s: float,
    lengths_s: Sequence[float],
    *,
    grows: bool = False,
    sequence: int = 0,
    discontinuities: int = 0,
) -> Piece:
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
        sequence=sequence,
        discontinuities=discontinuities,
    )
    return Piece(segment, parts[:-1] if grows else parts)


def shown(pieces: Sequence[Piece]) -> list[tuple[str, float]]:
    """The stream and the start of each HLS segment."""
    return [
        (each.segment.rendition.value, (each.segment.start_90k + part.start_90k - T0_90K) / CLOCK_RATE)
        for each in pieces
        for part in each.parts
    ]


def merged(preferred: Sequence[Piece], other: Sequence[Piece], to_s: float) -> list[tuple[str, float]]:
    return shown(merge(preferred, other, T0_90K, T0_90K + round(to_s * CLOCK_RATE)))


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
    filled = merge([piece(MAIN, 0, [5, 5])], [piece(SUB, 0, [4] * 5)], T0_90K, T0_90K + 20 * CLOCK_RATE)
    assert [(each.segment.rendition, each.number) for each in filled] == [(MAIN, 0), (SUB, 2)]
    text = playlist(filled[1:], T0_90K, is_ended=True)
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
    assert merged(main, sub, 40) == [("main", 0), ("main", 5)]


def numbered(own: Sequence[Piece], other: Sequence[Piece], moment: Moment) -> list[tuple[int, int, str, float]]:
    """The media and the discontinuity sequence, the stream and the start of each HLS segment."""
    pieces, numbers = merge_from(own, other, moment, T0_90K)
    of_piece = [numbers.discontinuities + index for index, each in enumerate(pieces) for _ in each.parts]
    return [
        (number, discontinuity, *entry)
        for number, (discontinuity, entry) in enumerate(
            zip(of_piece, shown(pieces), strict=True), numbers.media_sequence
        )
    ]


def test_what_was_recorded_before_a_moment_is_merged_and_numbered_backwards_from_it() -> None:
    main = [piece(MAIN, 0, [5, 5], sequence=7), piece(MAIN, 30, [5, 5, 5], sequence=9, discontinuities=1)]
    sub = [piece(SUB, 0, [8] * 5)]
    moment = Moment(Range(7, 11), 1, Range(0, 5))
    base = 100_000
    listed = numbered(main, sub, moment)
    assert listed == [
        *[(base + 4, base - 1, "main", 0), (base + 5, base - 1, "main", 5)],
        *[(base + 6, base, "sub", 8), (base + 7, base, "sub", 16), (base + 8, base, "sub", 24)],
        *[(base + 9, base + 1, "main", 30), (base + 10, base + 1, "main", 35), (base + 11, base + 1, "main", 40)],
    ]
    # What retention has deleted is not replaced, and changes no number.
    assert numbered(main[1:], sub, moment) == listed[5:]
    assert numbered(main, [], moment) == listed[5:]
    assert numbered(main, [sub[0].drop(1)], moment) == listed[5:]
    # What the other stream recorded later is not of the time before.
    assert numbered(main, [*sub, piece(SUB, 41, [8], sequence=5)], moment) == listed


def test_a_stream_that_was_lost_at_the_moment_goes_on_after_what_the_other_one_has() -> None:
    main, sub = [piece(MAIN, 0, [5], sequence=3, discontinuities=2)], [piece(SUB, 0, [4] * 4)]
    moment = Moment(Range(3, 4), 3, Range(0, 4))
    listed = numbered(main, sub, moment)
    assert [entry[2:] for entry in listed] == [("main", 0), ("sub", 4), ("sub", 8), ("sub", 12)]
    later = piece(MAIN, 60, [5], sequence=4, discontinuities=3)
    assert numbered([*main, later], sub, moment) == [*listed, (100_004, 100_003, "main", 60)]
    assert numbered([later], sub, moment) == [(100_004, 100_003, "main", 60)]


lengths = st.lists(st.floats(4, 10), min_size=1, max_size=8)
files = st.lists(st.tuples(st.floats(0, 30), lengths), max_size=4)


def recording(rendition: RenditionName, spans: Sequence[tuple[float, Sequence[float]]]) -> list[Piece]:
    """Files one after the other, each after a gap."""
    pieces, at_s = [], 0.0
    for gap_s, lengths_s in spans:
        pieces.append(piece(rendition, at_s + gap_s, lengths_s))
        at_s += gap_s + sum(lengths_s)
    return pieces


@settings(max_examples=50, deadline=None)
@given(files, files)
def test_nothing_that_either_recorded_in_a_long_gap_is_left_out(
    main_spans: list[tuple[float, list[float]]], sub_spans: list[tuple[float, list[float]]]
) -> None:
    main, sub = recording(MAIN, main_spans), recording(SUB, sub_spans)
    listed = merge(main, sub, T0_90K, T0_90K + 400 * CLOCK_RATE)
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
