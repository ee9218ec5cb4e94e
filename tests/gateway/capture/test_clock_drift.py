"""SourceClock: which clocks are replaced, which are not, and where time is led to."""

from collections.abc import Callable
from random import Random

import pytest

from gateway.capture.clock_drift import AHEAD_90K, SourceClock
from gateway.clock import CLOCK_RATE


def run(
    clock: SourceClock, rate: float, seconds: float, fps: float = 25.0, start: tuple[float, int] = (0.0, 0)
) -> tuple[float, int]:
    """A source whose clock runs at ``rate``; returns arrival and source time of the end."""
    arrived_s, source_90k = start
    for number in range(int(seconds * fps)):
        at_s = arrived_s + number / fps
        source = source_90k + round(number / fps * rate * CLOCK_RATE)
        clock.observe(source, at_s)
    return arrived_s + seconds, source_90k + round(seconds * rate * CLOCK_RATE)


@pytest.mark.parametrize("rate", [1.0, 0.995, 1.005, 0.99, 1.01])
def test_a_good_clock_passes_unchanged(rate: float) -> None:
    clock = SourceClock()
    _, source_90k = run(clock, rate, 25)
    assert not clock.is_replaced
    assert clock.correct(source_90k) == source_90k


@pytest.mark.parametrize("rate", [1 / 90, 0.1, 0.5, 0.84, 0.96, 0.98, 1.02, 1.05, 1.2, 2.0, 10.0])
def test_a_wrong_clock_is_led_back_to_the_arrival(rate: float) -> None:
    clock = SourceClock()
    at_s, source_90k = run(clock, rate, 90)
    assert clock.is_replaced
    assert clock.correct(source_90k) / CLOCK_RATE == pytest.approx(at_s, abs=0.3)


@pytest.mark.parametrize("rate", [1 / 90, 0.5, 0.84, 2.0])
def test_time_never_steps(rate: float) -> None:
    clock = SourceClock()
    before = None
    for number in range(1500):
        source_90k = round(number / 25 * rate * CLOCK_RATE)
        clock.observe(source_90k, number / 25)
        now = clock.correct(source_90k)
        if before is not None:
            assert 0 < now - before < 0.25 * CLOCK_RATE
        before = now


def test_a_clock_that_is_right_again_passes() -> None:
    clock = SourceClock()
    at_s, source_90k = run(clock, 0.84, 40)
    assert clock.is_replaced
    at_s, source_90k = run(clock, 1.0, 40, start=(at_s, source_90k))
    assert not clock.is_replaced
    assert clock.correct(source_90k + 3600) - clock.correct(source_90k) == 3600
    assert clock.correct(source_90k) / CLOCK_RATE == pytest.approx(at_s, abs=0.3)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.84, 0.96, 1.2, 5.0])
def test_a_drift_that_begins_after_an_hour_is_followed(rate: float) -> None:
    clock = SourceClock()
    at_s, source_90k = run(clock, 1.0, 3600, fps=5)
    assert not clock.is_replaced
    at_s, source_90k = run(clock, rate, 60, start=(at_s, source_90k))
    assert clock.is_replaced
    assert clock.correct(source_90k) / CLOCK_RATE == pytest.approx(at_s, abs=0.3)


@pytest.mark.parametrize("rate", [1.2, 2.0, 5.0, 10.0])
def test_no_time_is_ahead(rate: float) -> None:
    clock = SourceClock()
    for number in range(500):
        source_90k = round(number / 25 * rate * CLOCK_RATE)
        clock.observe(source_90k, number / 25)
        assert clock.correct(source_90k) - clock.due_90k(number / 25) <= AHEAD_90K


def test_what_is_kept_at_the_beginning_is_not_ahead() -> None:
    clock = SourceClock()
    at_s = 100.0
    for number in range(1000):
        at_s += 0.003 if number < 200 else 0.04
        clock.observe(number * 3600, at_s)
        assert clock.correct(number * 3600) == number * 3600
    assert not clock.is_replaced
    assert clock.due_90k(at_s) == pytest.approx(999 * 3600, abs=90)


@pytest.mark.parametrize("pause_s", [0.6, 1.5, 4.5])
def test_a_clock_that_has_stood_still_is_led_back(pause_s: float) -> None:
    clock = SourceClock()
    at_s, source_90k = run(clock, 1.0, 20)
    run(clock, 1.0, 40, start=(at_s + pause_s, source_90k))
    assert clock.correct(source_90k + 40 * CLOCK_RATE) / CLOCK_RATE == pytest.approx(at_s + pause_s + 40, abs=0.2)


@pytest.mark.parametrize("jump_s", [-7200.0, -4.0, 4.0, 7200.0])
def test_a_jump_is_no_drift(jump_s: float) -> None:
    clock = SourceClock()
    at_s, source_90k = run(clock, 1.0, 20)
    source_90k += round(jump_s * CLOCK_RATE)
    clock.jump(source_90k, at_s, -round(jump_s * CLOCK_RATE))
    _, source_90k = run(clock, 1.0, 20, start=(at_s, source_90k))
    assert not clock.is_replaced
    assert clock.correct(source_90k) == source_90k


def stall(number: int) -> float:
    return 2.5 if number % 200 == 100 else 0.0


def jitter(number: int) -> float:
    return Random(number).expovariate(20)


def bursts(number: int) -> float:
    return -number % 50 / 25


@pytest.mark.parametrize("delay", [stall, jitter, bursts])
@pytest.mark.parametrize("fps", [1.0, 5.0, 25.0])
def test_delay_is_no_drift(delay: Callable[[int], float], fps: float) -> None:
    clock = SourceClock()
    at_s = 0.0
    for number in range(round(fps * 300)):
        at_s = max(at_s, number / fps + delay(number) * 25 / fps if delay is bursts else number / fps + delay(number))
        clock.observe(round(number / fps * CLOCK_RATE), at_s)
        assert not clock.is_replaced
