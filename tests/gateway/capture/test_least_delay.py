"""LeastDelay follows the least delayed packet, and nothing else."""

from gateway.capture.least_delay import LOST_90K, MAX_RISE_PPM, LeastDelay
from gateway.clock import CLOCK_RATE

FRAME = CLOCK_RATE // 25


def test_it_falls_at_once_and_rises_slowly() -> None:
    least = LeastDelay()
    for number in range(1000):
        least.learn(number * FRAME, 9000 if number % 7 else 4500)
    assert least.value_90k == 4500
    least.learn(1000 * FRAME, 1800)
    assert least.value_90k == 1800
    for number in range(1001, 3000):
        least.learn(number * FRAME, 9000)
    risen_90k = least.value_90k - 1800
    most_90k = 2000 * FRAME * MAX_RISE_PPM // 1_000_000
    assert most_90k // 3 < risen_90k < most_90k


def test_it_falls_slowly_where_that_is_asked() -> None:
    least = LeastDelay()
    for number in range(251):
        least.learn(number * FRAME, 9000 if number == 0 else 0, may_fall=False)
    assert least.value_90k is not None
    assert 9000 - 10 * CLOCK_RATE * MAX_RISE_PPM // 1_000_000 <= least.value_90k < 9000


def test_it_begins_anew_after_a_window_of_packets_that_are_all_late() -> None:
    late_90k = LOST_90K + 1
    for is_asked in (True, False):
        least = LeastDelay()
        for number in range(500):
            least.learn(number * FRAME, 0 if number < 100 else late_90k, may_begin_anew=is_asked)
        assert (least.value_90k == late_90k) == is_asked


def test_it_can_be_set_and_shifted() -> None:
    least = LeastDelay()
    least.shift(5)
    assert least.value_90k is None
    least.learn(0, 100)
    least.shift(-1000)
    assert least.value_90k == -900
    least.learn(FRAME, -900)
    assert least.value_90k == -900
    least.set(2 * FRAME, 40)
    least.learn(3 * FRAME, 60)
    assert least.value_90k is not None
    assert 40 <= least.value_90k <= 41
