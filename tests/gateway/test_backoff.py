"""The waits between attempts to connect."""

import pytest

from gateway.backoff import DELAY_MAX_S, STEADY_S, Backoff


def test_retries_are_the_delay_apart_and_then_it_doubles_up_to_the_maximum() -> None:
    backoff = Backoff(2, 2.0, jitter=lambda: 1.0)
    waits = [backoff.failed() for _ in range(8)]
    assert waits == [2.0, 2.0, 4.0, 8.0, 16.0, DELAY_MAX_S, DELAY_MAX_S, DELAY_MAX_S]


def test_it_is_exhausted_after_the_retries() -> None:
    backoff = Backoff(2, 2.0)
    exhausted = []
    for _ in range(5):
        backoff.failed()
        exhausted.append(backoff.is_exhausted)
    assert exhausted == [False, False, True, True, True]


@pytest.mark.parametrize(("jitter", "wait_s"), [(0.0, 4.0), (0.5, 6.0), (1.0, 8.0)])
def test_doubled_waits_are_jittered_downwards_by_half_at_most(jitter: float, wait_s: float) -> None:
    backoff = Backoff(0, 4.0, jitter=lambda: jitter)
    assert backoff.failed() == wait_s


def test_a_year_of_attempts_does_not_overflow() -> None:
    backoff = Backoff(0, 2.0, jitter=lambda: 1.0)
    backoff.failures = 10_000_000
    assert backoff.failed() == DELAY_MAX_S


def test_a_short_connection_is_a_failure_and_a_long_one_begins_anew() -> None:
    backoff = Backoff(1, 2.0, jitter=lambda: 0.25)
    backoff.failed()
    assert backoff.ended(STEADY_S - 0.1) == 2.5
    assert backoff.failures == 2
    assert backoff.ended(STEADY_S) == 0.5
    assert backoff.failures == 0


def test_the_delay_of_the_settings_is_kept_even_above_the_maximum() -> None:
    assert Backoff(3, 3600.0).failed() == 3600.0
