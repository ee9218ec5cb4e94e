"""When an endpoint is tried again, and when a message is given up."""

import pytest

from web.webhooks.client import verdict_of
from web.webhooks.post import Outcome, Verdict, parse_retry_after
from web.webhooks.retries import KEEP_S, LONGEST_S, REFUSED_MIN, REFUSED_S, Retries

FAILED = Outcome(Verdict.FAILED, "the answer was 503", 503)
REFUSED = Outcome(Verdict.REFUSED, "the answer was 500", 500)
DELIVERED = Outcome(Verdict.DELIVERED, "", 204)


def test_waits_grow_up_to_a_limit_and_a_success_ends_them() -> None:
    retries = Retries(jitter=lambda: 1.0)
    waits = []
    for _ in range(9):
        assert retries.note("a", FAILED, 100.0) is False
        waits.append(retries.next_s - 100.0)
    assert waits == [5, 10, 20, 40, 80, 160, LONGEST_S, LONGEST_S, LONGEST_S]
    assert retries.note("a", DELIVERED, 100.0) is True
    assert retries.next_s < 100.0
    retries.note("b", FAILED, 100.0)
    assert retries.next_s == 105.0


def test_waits_are_jittered_downwards() -> None:
    retries = Retries(jitter=lambda: 0.0)
    retries.note("a", FAILED, 0.0)
    assert retries.next_s == 2.5


def test_retry_after_makes_a_wait_longer_and_never_shorter() -> None:
    retries = Retries(jitter=lambda: 1.0)
    retries.note("a", Outcome(Verdict.FAILED, "", 429, retry_after_s=3600.0), 0.0)
    assert retries.next_s == 3600
    retries.note("a", Outcome(Verdict.FAILED, "", 429, retry_after_s=1.0), 0.0)
    assert retries.next_s == 10


def test_a_message_that_is_refused_for_an_hour_is_given_up_and_an_endpoint_that_is_away_loses_none() -> None:
    retries, now_s, count = Retries(), 0.0, 0
    while not retries.note("a", REFUSED, now_s):
        now_s, count = retries.next_s, count + 1
    assert now_s >= REFUSED_S
    assert count >= REFUSED_MIN
    assert retries.note("b", REFUSED, now_s) is False  # the next one has its own hour
    retries, now_s = Retries(), 0.0
    while now_s < KEEP_S:
        assert retries.note("a", FAILED, now_s) is False
        now_s = retries.next_s
    assert retries.is_expired(0.0, now_s + 1)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DELIVERED),
        (299, Verdict.DELIVERED),
        (301, Verdict.REFUSED),
        (400, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (408, Verdict.FAILED),
        (410, Verdict.GONE),
        (429, Verdict.FAILED),
        (500, Verdict.REFUSED),
        (503, Verdict.FAILED),
    ],
)
def test_what_an_answer_means(status: int, verdict: Verdict) -> None:
    assert verdict_of(status) is verdict


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        (None, 0),
        ("120", 120),
        (" 7 ", 7),
        ("999999999999999999999", 86_400),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37),
        ("Sun, 06 Nov 1994 08:49:37", 37),
        ("Sun, 06 Nov 1994 17:49:37 +0900", 37),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        ("-5", 0),
        ("soon", 0),
        ("", 0),
        ("Sun, 99 Nov 1994 08:49:37 GMT", 0),
    ],
)
def test_retry_after(text: str | None, wait_s: float) -> None:
    assert parse_retry_after(text, 784_111_740.0) == wait_s
