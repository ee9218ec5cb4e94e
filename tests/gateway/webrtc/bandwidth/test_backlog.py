"""What packets that have waited in a queue tell of a link."""

import pytest

from gateway.webrtc.bandwidth.backlog import LATE_S, Backlog
from gateway.webrtc.bandwidth.estimator import ArrivalRate
from gateway.webrtc.bandwidth.sent_packets import ENTRIES_MAX, PacketGroup

LEAST_S = 500.02
STREAM_BPS = 4e6


def group(sent_s: float, first_s: float, last_s: float, count: int) -> PacketGroup:
    """``count`` packets of 1000 bytes. The receiver's clock is 500 s ahead, and an empty way takes 0.02 s."""
    return PacketGroup(sent_s, 500 + first_s, 500 + last_s, count, 0, 1000.0 * count)


def test_a_link_with_a_queue_carries_what_arrives() -> None:
    backlog = Backlog()
    for number in range(2):
        assert backlog.narrow_bps(STREAM_BPS) is None
        backlog.add([group(0.0, 0.2 + number * 0.06, 0.26 + number * 0.06, 3)], LEAST_S)
    # Of the first message's span a part is more than LATE_S ago.
    assert backlog.narrow_bps(STREAM_BPS) == pytest.approx(400_000)


def test_packets_that_come_late_but_all_at_once_are_those_of_a_pause() -> None:
    backlog = Backlog()
    backlog.add([group(0.0, 0.3, 0.31, 40)], LEAST_S)
    backlog.add([group(0.07, 0.312, 0.33, 40)], LEAST_S)
    assert backlog.narrow_bps(STREAM_BPS) is None


def test_the_keyframe_that_a_good_link_takes_a_moment_to_carry_tells_nothing() -> None:
    backlog = Backlog()
    for number in range(3):
        backlog.add([group(0.0, 0.1 + number * 0.06, 0.16 + number * 0.06, 50)], LEAST_S)
    assert backlog.narrow_bps(STREAM_BPS) is None


def test_one_late_message_is_not_enough() -> None:
    backlog = Backlog()
    for number in range(6):
        late_s = 0.2 * (number % 2)
        backlog.add([group(number / 4, number / 4 + late_s, number / 4 + late_s + 0.02, 2)], LEAST_S)
        assert backlog.narrow_bps(STREAM_BPS) is None


def test_packets_that_overtake_others_by_more_than_the_measured_time_are_no_error() -> None:
    backlog = Backlog()
    backlog.add([group(0.0, 0.4, 0.4, 1), group(0.01, 0.2, 0.2, 1), group(0.02, 0.45, 0.45, 2)], LEAST_S)
    backlog.add([group(0.03, 0.46, 0.46, 3)], LEAST_S)
    # Six packets of the last LATE_S; the one that arrived before is none of them.
    assert backlog.narrow_bps(STREAM_BPS) == pytest.approx(8 * 6000 / LATE_S)


def test_of_a_receiver_whose_clock_stands_still_the_newest_packets_are_kept() -> None:
    backlog, rate = Backlog(), ArrivalRate()
    for _ in range(3):
        groups = [group(0.0, 0.3, 0.3, 1)] * ENTRIES_MAX
        backlog.add(groups, LEAST_S)
        for each in groups:
            rate.add(each)
    rate.add(group(0.0, 0.5, 0.5, 1))
    assert backlog.narrow_bps(1e12) == pytest.approx(8 * 1000 * ENTRIES_MAX / LATE_S)
    assert rate.bps == pytest.approx(8 * 1000 * (ENTRIES_MAX - 1) / 0.2)
