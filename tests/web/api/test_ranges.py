"""Range headers, by RFC 9110 §14."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.api.ranges import RANGES_MAX, UnsatisfiableError, parse_range, within

LENGTH = 1000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("Bytes = 0-9", [(0, 10)]),
        ("bytes=990-", [(990, 1000)]),
        ("bytes=990-99999999999999999999999999", [(990, 1000)]),
        ("bytes=-5", [(995, 1000)]),
        ("bytes=-5000", [(0, 1000)]),
        ("bytes=0-9, 20-29,\t-1,", [(0, 10), (20, 30), (999, 1000)]),
        ("bytes=20-29,0-9", [(20, 30), (0, 10)]),
        ("bytes=0-9,5-19,20-29", [(0, 30)]),
        ("bytes=0-9,20-29,8-22", [(0, 30)]),
        ("bytes=0-9,5000-", [(0, 10)]),
        ("bytes=" + ",".join(["0-"] * RANGES_MAX), [(0, 1000)]),
        ("bytes=" + ",".join(["0-"] * (RANGES_MAX + 1)), None),
        ("lines=1-2", None),
        ("bytes", None),
        ("", None),
    ],
)
def test_ranges(value: str, expected: list[tuple[int, int]] | None) -> None:
    assert parse_range(value, LENGTH) == expected


@pytest.mark.parametrize("value", ["1000-", "-0", "9-5", "a-b", "-", "", ",", "0x1-2", "1-2-3", "²-", "0-1,x", "+1-2"])
def test_what_cannot_be_satisfied(value: str) -> None:
    with pytest.raises(UnsatisfiableError):
        parse_range(f"bytes={value}", LENGTH)
    with pytest.raises(UnsatisfiableError):
        parse_range("bytes=0-", 0)


_SPECS = st.lists(st.tuples(st.integers(0, 1100), st.integers(0, 200)), min_size=1, max_size=RANGES_MAX)


@given(_SPECS)
def test_joined_ranges_have_every_byte_once(specs: list[tuple[int, int]]) -> None:
    value = "bytes=" + ",".join(f"{start}-{start + more}" for start, more in specs)
    expected = {byte for start, more in specs for byte in range(start, start + more + 1) if byte < LENGTH}
    try:
        ranges = parse_range(value, LENGTH)
    except UnsatisfiableError:
        assert not expected
        return
    assert ranges is not None
    found = [byte for start, end in ranges for byte in range(start, end)]
    assert len(found) == len(set(found))
    assert set(found) == expected
    inside = within(ranges, (100, 200))
    assert {byte for start, end in inside for byte in range(start, end)} == expected & set(range(100, 200))
