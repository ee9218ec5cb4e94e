"""Sample tables, and the bytes before ``moov``."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from hls.mp4.boxes import box
from hls.mp4.init_segment import closed_head, growing_head
from hls.mp4.moov import RunLengths, TrackTable


@given(st.lists(st.integers(0, 3)))
def test_runs_are_the_values(values: list[int]) -> None:
    runs = RunLengths()
    for value in values:
        runs.append(value)
    assert expand(runs.table()) == values
    assert runs.total == sum(values)
    assert runs.is_zero == (not any(values))
    assert bool(runs) == bool(values)


@given(st.lists(st.integers(0, 3), min_size=1), st.integers(0, 3))
def test_the_last_value_can_be_changed(values: list[int], last: int) -> None:
    runs = RunLengths()
    for value in values:
        runs.append(value)
    assert runs.last == values[-1]
    runs.replace_last(last)
    assert expand(runs.table()) == [*values[:-1], last]


def test_equal_values_cost_nothing() -> None:
    runs = RunLengths()
    for _ in range(10_000):
        runs.append(3000)
    assert runs.table() == struct.pack(">III", 1, 10_000, 3000)


def test_negative_offsets_are_kept() -> None:
    runs = RunLengths()
    runs.append(-3000)
    assert runs.table() == struct.pack(">IIi", 1, 1, -3000)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1))
def test_a_sample_lasts_until_the_next_one(steps: list[tuple[int, int]]) -> None:
    """Whatever its own duration was said to be."""
    table = TrackTable(90_000, is_video=True)
    dts = 0
    for step, said in steps:
        table.add_sample(dts, said, 10, 0, is_sync=True)
        dts += step
    assert expand(table.durations.table()) == [*(step for step, _ in steps[:-1]), steps[-1][1]]
    assert list(table.sync) == list(range(1, len(steps) + 1))


@given(st.integers(100, 2**40))
def test_the_head_of_a_closed_file_is_restored(end: int) -> None:
    """Below and above 4 GiB, where the envelope's size needs 64 bits."""
    kind = box(b"ftyp", b"iso5\0\0\2\0iso5iso6mp41")
    head = kind + box(b"free") + box(b"free", kind)
    closed = closed_head(head, end)
    assert growing_head(closed) == head
    size, name = struct.unpack_from(">I4s", closed, len(kind))
    if (size, name) == (8, b"free"):
        size, name = struct.unpack_from(">I4s", closed, len(kind) + 8)
        assert (len(kind) + 8 + size, name) == (end, b"mdat")
    else:
        assert (size, name) == (1, b"mdat")
        assert len(kind) + int.from_bytes(closed[len(kind) + 8 : len(kind) + 16], "big") == end


def expand(table: bytes) -> list[int]:
    (count,) = struct.unpack_from(">I", table)
    runs = struct.iter_unpack(">II", table[4:])
    values = [value for number, value in runs for _ in range(number)]
    assert len(table) == 4 + 8 * count
    return values
