"""The index: pages, times, migrations and unusable databases."""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_mock_engine, event
from sqlalchemy.dialects import postgresql

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from gateway.errors import SettingsError, StorageError, UnavailableError
from gateway.event import Event
from hls.archive import index as index_module
from hls.archive import schema
from hls.archive.database import INDEX_FILE
from hls.archive.fragment import Fragment, pack_fragments, unpack_fragments
from hls.archive.hls_segments import hls_segments
from hls.archive.index import SegmentIndex
from hls.archive.segment import (
    EndReason,
    RecordedStream,
    Segment,
    SegmentState,
    SegmentWithFragments,
    parse_name,
    rendition_of,
    segment_name,
    segment_path,
)
from hls.archive.table import SegmentTable
from hls.events import table as event_table
from tests.support.sources.encoded import START_90K


def make(number: int, camera_id: str = "door", **more: object) -> Segment:
    """The n-th ten-minute segment of a camera."""
    start_90k = START_90K + number * 600 * CLOCK_RATE
    made = Segment(
        camera_id=camera_id,
        name=segment_name(start_90k),
        state=SegmentState.CLOSED,
        start_90k=start_90k,
        duration_90k=600 * CLOCK_RATE,
        size=1000 + number,
        codec="h264",
        codec_string="avc1.42e01f",
        width=640,
        height=360,
        head=b"\0\1\2",
        init_size=100,
        end_reason=EndReason.BOUNDARY,
        sequence=number * 150,
        hls_segments=150,
        discontinuities=number,
        metadata={"scene": "yard"},
    )
    return replace(made, **more)  # type: ignore[arg-type]


FRAGMENTS = (Fragment(100, 50, 0, 45_000, 15, True), Fragment(150, 60, 45_000, 45_001, 14, False))


def test_a_saved_segment_is_read_back_equal(any_index: SegmentTable) -> None:
    segment = make(0, audio_codec="aac", audio_codec_string="mp4a.40.2", sha256="ab" * 32, run=3, continues=True)
    any_index.save(segment, FRAGMENTS)
    assert any_index.get("door", segment.name) == (segment, FRAGMENTS)
    assert any_index.get("yard", segment.name) is None


def test_saving_again_replaces_all_but_the_protection(any_index: SegmentTable) -> None:
    growing = make(0, state=SegmentState.GROWING, end_reason=None, size=10)
    any_index.save(growing, FRAGMENTS[:1])
    assert any_index.set_protected("door", growing.name, True)
    any_index.save(make(0), FRAGMENTS)
    assert any_index.get("door", growing.name) == (make(0, is_protected=True), FRAGMENTS)
    assert not any_index.set_protected("door", "segment_20200101T000000Z", True)


def test_growing_segments_are_saved_together_with_new_ones(any_index: SegmentTable) -> None:
    known = make(0, state=SegmentState.GROWING, end_reason=None, size=10, duration_90k=1, frames=1)
    any_index.save(known, FRAGMENTS[:1])
    any_index.set_protected("door", known.name, True)
    closed = make(1)
    any_index.save(closed, FRAGMENTS)
    grown = replace(known, size=20, duration_90k=2, frames=2, longest_gap_90k=7)
    new = make(0, "yard", state=SegmentState.GROWING, end_reason=None)
    any_index.save_growing([SegmentWithFragments(grown, FRAGMENTS), SegmentWithFragments(new, FRAGMENTS[:1])])
    assert any_index.get("door", known.name) == (replace(grown, is_protected=True), FRAGMENTS)
    assert any_index.get("yard", new.name) == (new, FRAGMENTS[:1])
    assert any_index.get("door", closed.name) == (closed, FRAGMENTS)


@pytest.mark.integration
@settings(deadline=None, max_examples=60)
@given(
    numbers=st.sets(st.integers(0, 30), max_size=15),
    start=st.none() | st.integers(-2, 35),
    end=st.none() | st.integers(-2, 35),
    limit=st.integers(1, 5),
)
def test_pages_have_each_overlapping_segment_once_in_order(
    tmp_path_factory: pytest.TempPathFactory, numbers: set[int], start: int | None, end: int | None, limit: int
) -> None:
    index = SegmentTable(tmp_path_factory.mktemp("index"))
    index.open()
    for number in numbers:
        index.save(make(number), ())
        index.save(make(number, "yard"), ())
    # In the middle of a segment, to distinguish its neighbours.
    start_90k = None if start is None else START_90K + (start * 600 + 300) * CLOCK_RATE
    end_90k = None if end is None else START_90K + (end * 600 + 300) * CLOCK_RATE
    found: list[Segment] = []
    after = None
    while page := index.page("door", start_90k, end_90k, limit, after):
        assert len(page) <= limit
        found += page
        after = page[-1].start_90k, page[-1].name
    index.close()
    expected = [n for n in sorted(numbers) if (start is None or n >= start) and (end is None or n <= end)]
    assert found == [make(number) for number in expected]


def make_sub(number: int, **more: int) -> Segment:
    """What the sub stream recorded of the same ten minutes."""
    start_90k = START_90K + number * 600 * CLOCK_RATE
    name = segment_name(start_90k, rendition=RenditionName.SUB)
    made = make(number, name=name, rendition=RenditionName.SUB, width=320, height=180)
    return replace(made, **more)  # type: ignore[arg-type]


def test_both_streams_are_listed_by_time_and_each_alone(any_index: SegmentTable) -> None:
    main, sub = [make(number) for number in range(4)], [make_sub(number, sequence=number) for number in range(4)]
    for segment in [*main, *sub]:
        any_index.save(segment, FRAGMENTS)
    both = [each for pair in zip(main, sub, strict=True) for each in pair]
    assert any_index.page("door", None, None, 10) == both
    assert any_index.page("door", main[1].start_90k, None, 3) == both[2:5]
    assert any_index.page("door", None, None, 10, (main[1].start_90k, main[1].name)) == both[3:]
    assert any_index.page("door", None, None, 10, rendition=RenditionName.SUB) == sub
    assert any_index.page("door", None, None, 10, rendition=RenditionName.MAIN) == main
    assert any_index.at("door", main[2].start_90k, RenditionName.SUB) == (sub[2], sub[3])
    assert [segment for segment, _ in any_index.hls_span("door", None, None, 9, RenditionName.SUB)] == sub
    assert [segment for segment, _ in any_index.span("door", None, None, 9)] == main
    assert (any_index.newest("door"), any_index.newest("door", RenditionName.SUB)) == (main[3], sub[3])
    assert any_index.oldest("door", 9, RenditionName.SUB) == sub
    assert any_index.get("door", sub[1].name) == (sub[1], FRAGMENTS)


def test_each_stream_has_usage_and_numbers_of_its_own(any_index: SegmentTable) -> None:
    for number in range(3):
        any_index.save(make(number), ())
        any_index.save(make_sub(number, size=10), ())
    assert {each.stream.rendition: (each.segments, each.size) for each in any_index.usage()} == {
        RenditionName.MAIN: (3, 3003),
        RenditionName.SUB: (3, 30),
    }
    sub = RecordedStream("door", RenditionName.SUB)
    any_index.remove("door", make_sub(0).name)
    any_index.renumber(sub)
    assert [s.sequence for s in any_index.page("door", None, None, 9, rendition=sub.rendition)] == [0, 150]
    assert [s.sequence for s in any_index.page("door", None, None, 9, rendition=RenditionName.MAIN)] == [0, 150, 300]
    assert any_index.start_after(sub, 0, 0, make(9).start_90k) == make_sub(2).start_90k


def test_protection_covers_what_the_other_stream_recorded_of_that_time(any_index: SegmentTable) -> None:
    # A sub stream's keyframes are elsewhere: its files begin some seconds later.
    late = {number: make_sub(number).start_90k + 5 * CLOCK_RATE for number in range(3)}
    for number in range(3):
        any_index.save(make(number), ())
        any_index.save(make_sub(number, start_90k=late[number]), ())

    def protected() -> list[str]:
        return [segment.name for segment in any_index.page("door", None, None, 9) if segment.is_protected]

    assert any_index.set_protected("door", make(1).name, True)
    assert protected() == [make(1).name, make_sub(1).name]
    assert any_index.set_protected("door", make_sub(1).name, False)
    assert protected() == []


def test_a_time_has_a_segment_before_and_after(any_index: SegmentTable) -> None:
    for number in (0, 1, 5):
        any_index.save(make(number), ())
    for at_s, before, after in ((-1, None, 0), (0, 0, 1), (599, 0, 1), (601, 1, 5), (9_000_000, 5, None)):
        found = any_index.at("door", START_90K + at_s * CLOCK_RATE)
        assert found == (None if before is None else make(before), None if after is None else make(after))


def test_segments_being_deleted_are_not_listed(any_index: SegmentTable) -> None:
    for number in range(3):
        any_index.save(make(number), ())
    any_index.begin_delete([make(1)])
    assert any_index.page("door", None, None, 10) == [make(0), make(2)]
    assert any_index.get("door", make(1).name) is None
    assert [total.size for total in any_index.usage()] == [2002]
    any_index.end_delete([make(1)])
    assert any_index.in_state(SegmentState.DELETING) == []
    with any_index.transaction() as connection:
        assert connection.scalar(schema.fragment_list.select().with_only_columns(schema.fragment_list.c.segment_id))
        assert len(connection.execute(schema.fragment_list.select()).all()) == 2


def test_usage_and_oldest_segments_respect_protection(any_index: SegmentTable) -> None:
    any_index.save(make(0), ())
    any_index.set_protected("door", make(0).name, True)
    any_index.save(make(1), ())
    any_index.save(make(2, state=SegmentState.GROWING), ())
    [total] = any_index.usage()
    assert (total.segments, total.size, total.protected_size, total.oldest_90k) == (3, 3003, 1000, START_90K)
    assert any_index.oldest("door", 10) == [make(1)]


def test_the_newest_segment_has_the_highest_number(any_index: SegmentTable) -> None:
    assert any_index.newest("door") is None
    for number in (2, 0, 1):
        any_index.save(make(number), ())
    assert any_index.newest("door") == make(2)


@pytest.mark.parametrize(
    "ask",
    [
        lambda index: index.page("door", START_90K, None, 100),
        lambda index: index.page("door", None, None, 100, (START_90K, "segment")),
        lambda index: index.page("door", START_90K, None, 100, rendition=RenditionName.SUB),
        lambda index: index.newest("door", RenditionName.SUB),
        lambda index: index.set_protected("door", "segment_20261122T185000Z", True),
        lambda index: index.hls_span("door", START_90K, START_90K + 1, 100),
        lambda index: index.at("door", START_90K),
        lambda index: index.oldest("door", 64),
        lambda index: index.without_hash(16),
        lambda index: index.usage(),
    ],
)
def test_frequent_queries_neither_sort_nor_scan_the_table(
    index: SegmentTable, ask: Callable[[SegmentTable], object]
) -> None:
    plans: list[str] = []
    with index.transaction() as connection:
        engine = connection.engine

    @event.listens_for(engine, "before_cursor_execute")
    def explain(_: object, cursor: sqlite3.Cursor, statement: str, parameters: tuple[Any, ...], *__: object) -> None:
        plans.extend(row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    ask(index)
    assert plans
    for step in plans:
        assert "TEMP B-TREE" not in step
        assert "INDEX" in step or "PRIMARY KEY" in step or step.startswith("CORRELATED")


def test_what_an_event_protects_is_not_among_the_oldest(any_index: SegmentTable) -> None:
    for number in range(5):
        any_index.save(make(number), ())
    any_index.save(make(1, "yard"), ())

    def mark(number: int, start_s: float, end_s: float | None, camera_id: str = "door", protects: bool = True) -> Event:
        start_90k = START_90K + round(start_s * CLOCK_RATE)
        end_90k = None if end_s is None else START_90K + round(end_s * CLOCK_RATE)
        event = Event(f"{number:036}", camera_id, start_90k, end_90k, "ring", "ems", is_protected=protects)
        return event_table.create(any_index, event, None, 99)[0]

    mark(1, 0, 600, protects=False)
    mark(2, 30, 30, "yard")
    across, going_on = mark(3, 1190, 1205), mark(4, 2410, None)
    assert any_index.oldest("door", 10) == [make(0), make(3)]
    assert any_index.oldest("yard", 10) == [make(1, "yard")]
    event_table.change(any_index, going_on.id, lambda e: replace(e, is_protected=False))
    event_table.remove(any_index, across.id)
    assert any_index.oldest("door", 10) == [make(number) for number in range(5)]


def test_pages_spans_and_the_unhashed_are_the_same_in_every_database(any_index: SegmentTable) -> None:
    segments = [make(number) for number in range(4)]
    for segment in segments:
        any_index.save(segment, FRAGMENTS)
    after = segments[0].start_90k, segments[0].name
    assert any_index.page("door", None, segments[3].start_90k, 9, after) == segments[1:3]
    middle_90k = segments[2].start_90k + CLOCK_RATE
    assert any_index.span("door", middle_90k, middle_90k + 1, 9) == [(segments[2], FRAGMENTS)]
    [(segment, parts)] = any_index.hls_span("door", middle_90k, middle_90k + 1, 9)
    assert (segment, parts) == (segments[2], hls_segments(FRAGMENTS, is_complete=True))
    any_index.set_metadata(replace(segments[3], sha256="ab" * 32, metadata={"scene": {"people": 3}}))
    assert any_index.without_hash(9) == [segments[2], segments[1], segments[0]]
    any_index.remove("door", segments[1].name)
    any_index.renumber(RecordedStream("door"))
    assert [s.sequence for s in any_index.page("door", None, None, 9)] == [0, 150, 300]
    assert any_index.names("door")[segments[3].name] == (SegmentState.CLOSED, segments[3].size)
    assert any_index.cameras() == ["door"]
    assert any_index.page("door", None, None, 9)[-1].metadata == {"scene": {"people": 3}}


def test_an_index_of_a_newer_liveedge_is_not_changed(tmp_path: Path, index: SegmentTable) -> None:
    with sqlite3.connect(tmp_path / INDEX_FILE) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    connection.close()
    with pytest.raises(SettingsError, match="schema version 99"):
        SegmentTable(tmp_path).open()


def test_version_1_rows_of_a_cut_file_become_truncated(tmp_path: Path, index: SegmentTable) -> None:
    index.save(make(0), FRAGMENTS)
    index.close()
    with sqlite3.connect(tmp_path / INDEX_FILE) as connection:
        connection.execute("UPDATE segment SET state = 'healed'")
        connection.execute("UPDATE schema_version SET version = 1")
    connection.close()
    again = SegmentTable(tmp_path)
    again.open()
    (segment,) = again.page("door", None, None, 9)
    assert segment.state is SegmentState.TRUNCATED
    again.close()


def test_opening_twice_migrates_once(tmp_path: Path, index: SegmentTable) -> None:
    index.save(make(0), FRAGMENTS)
    again = SegmentTable(tmp_path)
    again.open()
    assert again.get("door", make(0).name) == (make(0), FRAGMENTS)
    again.close()


def test_the_schema_is_good_for_postgresql() -> None:
    statements: list[str] = []
    engine = create_mock_engine(
        "postgresql+psycopg://", lambda sql, *_, **__: statements.append(str(sql.compile(dialect=postgresql.dialect())))
    )
    schema.tables.create_all(engine, checkfirst=False)
    text = "\n".join(statements)
    assert "id BIGSERIAL NOT NULL" in text
    assert "head BYTEA NOT NULL" in text


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "DATABASE_URL cannot be used"),
        ("oracle9000://user:secret@host/x", "DATABASE_URL cannot be used"),
        ("postgresql+psycopg://user:secret@127.0.0.1:9/x", "the index cannot be opened"),
        ("mysql+pymysql://user:secret@127.0.0.1:9/x", "needs the Python package 'pymysql'"),
        ("sqlite:////nowhere/at/all/index.sqlite3", "the index cannot be opened"),
    ],
)
def test_an_unusable_database_is_a_clear_error(tmp_path: Path, url: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence) as raised:
        SegmentTable(tmp_path, url).open()
    assert "secret" not in str(raised.value)


def test_a_file_that_is_not_a_database_is_renamed_and_replaced(tmp_path: Path) -> None:
    (tmp_path / INDEX_FILE).write_bytes(b"this is no database, and it is long enough to be taken for one" * 100)
    index = SegmentTable(tmp_path)
    index.open()
    assert index.page("door", None, None, 10) == []
    index.close()
    [aside] = tmp_path.glob(f"{INDEX_FILE}.broken-*")
    assert aside.read_bytes().startswith(b"this is no database")


async def test_a_database_that_fails_later_is_a_storage_error(tmp_path: Path) -> None:
    index = SegmentIndex(tmp_path)
    await index.open()
    with sqlite3.connect(tmp_path / INDEX_FILE) as connection:
        connection.execute("DROP TABLE fragment_list")
    connection.close()
    with pytest.raises(StorageError, match="no such table"):
        await index.save(make(0), ())
    await index.close()
    with pytest.raises(StorageError, match="not open"):
        index.table.page("door", None, None, 1)


async def test_the_queue_of_calls_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "CALLS_WAITING_MAX", 3)
    index = SegmentIndex(tmp_path)
    await index.open()
    done = await asyncio.gather(*(index.newest("door") for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in done] == [type(None)] * 3 + [UnavailableError] * 2
    assert await index.newest("door") is None
    await index.close()


@given(st.lists(st.tuples(st.integers(1, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 65_535), st.booleans())))
def test_fragments_pack_and_unpack(values: list[tuple[int, int, int, bool]]) -> None:
    fragments: list[Fragment] = []
    offset, start = 77, 0
    for size, duration, frames, is_keyframe in values:
        fragments.append(Fragment(offset, size, start, duration, frames, is_keyframe))
        offset, start = offset + size, start + duration
    assert unpack_fragments(pack_fragments(tuple(fragments)), 77) == tuple(fragments)


@given(st.integers(0, 4_000_000_000), st.integers(0, 999), st.sampled_from(RenditionName))
def test_names_contain_their_second_and_stream_and_sort_by_time(
    seconds: int, suffix: int, rendition: RenditionName
) -> None:
    name = segment_name(seconds * CLOCK_RATE + 1, suffix, rendition)
    assert parse_name(name) == seconds * CLOCK_RATE
    assert rendition_of(name) is rendition
    assert name < segment_name((seconds + 1) * CLOCK_RATE)
    path = segment_path(Path("data"), "door", name)
    assert path.parent.name.replace("-", "") in name


@given(st.text(max_size=40))
def test_other_names_are_not_segment_names(text: str) -> None:
    assert parse_name(text) is None
    assert parse_name(f"segment_{text}") is None or text[:8].isdecimal()
