"""Whether gaps in sequence numbers are losses, where packets come in order."""

from gateway.rtsp.sequence_trust import TRUSTED_PACKETS, SequenceTrust


def test_a_gap_among_contiguous_numbers_is_a_loss() -> None:
    trust = SequenceTrust()
    assert all(trust.are_right(2, total, 0, is_ahead=True) for total in range(4, 400, 4))


def test_gaps_all_the_time_are_none_until_the_numbers_are_contiguous_for_long() -> None:
    trust = SequenceTrust()
    assert not any(trust.are_right(1, total, 0, is_ahead=True) for total in range(2, 200))
    assert not trust.are_right(1, 200 + TRUSTED_PACKETS // 2, 0, is_ahead=True)
    assert trust.are_right(1, 200 + 2 * TRUSTED_PACKETS, 0, is_ahead=True)


def test_an_encoder_may_begin_anew_once() -> None:
    trust = SequenceTrust()
    assert trust.are_right(0, 50, 0, is_ahead=False)
    assert trust.are_right(3, 60, 0, is_ahead=True)
    assert not trust.are_right(0, 70, 0, is_ahead=False)
    assert not trust.are_right(3, 80, 0, is_ahead=True)


def test_gaps_that_other_tracks_fill() -> None:
    trust = SequenceTrust()
    found = [trust.are_right(2, 5 * number, 2 * number, is_ahead=True) for number in range(1, 12)]
    assert found[0]
    assert not found[-1]
