"""Where an open playlist of one stream begins. Times are seconds; nothing is on disk."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.clock import CLOCK_RATE
from hls.playback.recording_order import Piece, RecordingOrder
from tests.hls.playback.test_rendition_merge import MAIN, T0_90K, piece

DAY_90K = 24 * 3600 * CLOCK_RATE


def recorded(*starts_s: int, seconds: int = 100) -> list[Piece]:
    """Files of ten HLS segments, one after the other, with the numbers of their recording."""
    parts = [seconds / 10] * 10
    return [piece(MAIN, start_s, parts, sequence=10 * number) for number, start_s in enumerate(starts_s)]


def begin(pieces: Sequence[Piece], start_s: int | None = None, last_s: int = 0) -> int | None:
    """The first number of the playlist."""
    start_90k = None if start_s is None else T0_90K + start_s * CLOCK_RATE
    order = RecordingOrder(DAY_90K, start_90k, last_s * CLOCK_RATE)
    for each in reversed(pieces):
        order.add(each)
    return next((each.first for each in order.pieces()), None)


def test_it_begins_where_the_recording_passes_the_start() -> None:
    pieces = recorded(0, 100, 300)
    assert [begin(pieces, start_s) for start_s in (-50, 0, 125, 250, 300, 399, 400)] == [0, 0, 12, 20, 20, 29, None]


def test_after_the_clock_was_set_back_it_begins_at_the_last_passage_that_is_a_minute_old() -> None:
    before = recorded(0, 100, 200)
    assert begin(before, 150) == 15
    set_back = recorded(0, 100, 200, 50)
    assert begin(set_back, 150) == 15, "nothing vanishes while the dates are before the start"
    again = recorded(0, 100, 200, 50, 150, seconds=100)
    short = replace(again[4].segment, duration_90k=59 * CLOCK_RATE)
    assert begin([*again[:4], replace(again[4], segment=short)], 150) == 15
    assert begin(again, 150) == 40


def test_a_clock_that_was_ahead_does_not_begin_it() -> None:
    assert begin(recorded(0, 90_000, 100, 200), 150) == 25


def test_it_has_no_hole() -> None:
    pieces = recorded(0, 100, 200, 300)
    assert begin(pieces, 50) == 5
    assert begin([pieces[0], *pieces[2:]], 50) == 20
    assert begin([pieces[0], *pieces[2:]], last_s=3600) == 20


def test_without_a_start_it_has_the_last_hour_with_its_gaps() -> None:
    assert begin(recorded(0, 100, 200), last_s=150) == 15
    assert begin(recorded(0, 5000, 5100), last_s=3600) == 10
    short = recorded(0, 5000, seconds=30)
    assert begin(short, last_s=3600) == 0, "never less than a minute of recording"
