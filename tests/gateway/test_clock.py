"""Wall clock as 90 kHz integers and as RFC 3339."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, seconds_90k, to_rfc3339, to_seconds


@pytest.mark.parametrize(
    ("ticks", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (89_999, "1970-01-01T00:00:00.999Z"), (90_000, "1970-01-01T00:00:01.000Z")],
)
def test_rfc3339(ticks: int, text: str) -> None:
    assert to_rfc3339(ticks) == text


@given(st.integers(0, 4_000_000_000 * CLOCK_RATE))
def test_rfc3339_reads_back_to_the_millisecond(ticks: int) -> None:
    parsed = datetime.fromisoformat(to_rfc3339(ticks))
    milliseconds = round(parsed.timestamp() * 1000)
    assert milliseconds == ticks * 1000 // CLOCK_RATE


@given(st.integers(0, 10**9))
def test_seconds_there_and_back(ticks: int) -> None:
    assert seconds_90k(to_seconds(ticks)) == ticks


def test_the_system_clock_is_utc() -> None:
    assert abs(SYSTEM_CLOCK.wall_90k() / CLOCK_RATE - datetime.now(UTC).timestamp()) < 5
    assert SYSTEM_CLOCK.monotonic() <= SYSTEM_CLOCK.monotonic()
