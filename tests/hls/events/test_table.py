"""The SQL of events, in SQLite and in PostgreSQL."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event as sqlalchemy_event

from gateway.clock import CLOCK_RATE
from gateway.errors import ConflictError, NotFoundError, UnprocessableError
from gateway.event import ChangeKind, Event, EventFilter, EventOrder, IdempotencyKey
from hls.archive.database import INDEX_FILE, Database
from hls.events import table
from tests.support.index_tables import drop_tables
from tests.support.sources.encoded import START_90K

NEWEST, OLDEST = EventOrder.NEWEST, EventOrder.OLDEST
HOUR_90K = 3600 * CLOCK_RATE


def make(number: int, camera_id: str = "door", duration_s: float | None = 5, **more: Any) -> Event:
    """The n-th event, one a minute."""
    start_90k = START_90K + number * 60 * CLOCK_RATE
    end_90k = None if duration_s is None else start_90k + round(duration_s * CLOCK_RATE)
    values: dict[str, Any] = {
        "label": "person",
        "source": "ems",
        "created_90k": start_90k,
        "updated_90k": start_90k,
    } | more
    return Event(
        f"{number:08x}-0000-4000-8000-00000000{camera_id.encode().hex()[:4]}", camera_id, start_90k, end_90k, **values
    )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path)
    made.open()
    yield made
    made.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def any_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Each of the databases that events are meant for."""
    if request.param == "sqlite":
        yield request.getfixturevalue("database")
        return
    made = Database(Path("/nowhere"), request.getfixturevalue("postgres_url"))
    made.open()
    yield made
    drop_tables(made)
    made.close()


def keep(database: Database, *events: Event) -> list[Event]:
    for each in events:
        table.create(database, each, None, 1000)
    return list(events)


def ask(database: Database, order: EventOrder = NEWEST, **wanted: Any) -> list[Event]:
    return table.page(database, EventFilter(**wanted), order, 100, None)


def test_an_event_is_read_back_equal_changed_and_deleted(any_database: Database) -> None:
    first = make(0, score=0.25, data={"plate": "서울 12가 3456", "box": [0.5, None, True]}, is_protected=True)
    keep(any_database, first)
    assert table.get(any_database, first.id) == first
    ended, [change] = table.change(any_database, first.id, lambda e: replace(e, end_90k=None, is_reviewed=True))
    assert (ended.is_open, change.kind, change.number) == (True, ChangeKind.UPDATED, 2)
    assert table.change(any_database, first.id, lambda e: e) == (ended, [])
    [deleted] = table.remove(any_database, first.id)
    assert (deleted.kind, deleted.event) == (ChangeKind.DELETED, ended)
    assert table.get(any_database, first.id) is None
    with pytest.raises(NotFoundError):
        table.remove(any_database, first.id)
    with pytest.raises(NotFoundError):
        table.change(any_database, first.id, lambda e: e)


def test_a_list_is_filtered(any_database: Database) -> None:
    cat = make(0, label="cat", data={"found": {"where": ["under the CAR%"]}})
    ring = make(1, source="doorbell", label="ring", is_reviewed=True)
    yard = make(2, "yard")
    keep(any_database, cat, ring, yard)
    assert ask(any_database) == [yard, ring, cat]
    assert ask(any_database, OLDEST) == [cat, ring, yard]
    assert ask(any_database, cameras=frozenset({"door"})) == [ring, cat]
    assert ask(any_database, cameras=frozenset({"door", "yard", "gone"})) == [yard, ring, cat]
    assert ask(any_database, labels=("cat", "person")) == [yard, cat]
    assert ask(any_database, sources=("doorbell",)) == [ring]
    assert ask(any_database, text="car%") == [cat]
    assert ask(any_database, text="CAT") == [cat]
    assert ask(any_database, text="_") == []
    assert ask(any_database, is_reviewed=True) == [ring]
    assert ask(any_database, is_reviewed=False) == [yard, cat]


def test_a_time_range_has_what_overlaps_it(any_database: Database) -> None:
    moment, short, open_one = make(10, duration_s=0), make(20, duration_s=30), make(1, duration_s=None)
    long = make(2, duration_s=100 * 60)
    keep(any_database, moment, short, open_one, long)

    def between(start_s: float, end_s: float) -> list[Event]:
        span = (START_90K + round(each * CLOCK_RATE) for each in (start_s, end_s))
        start_90k, end_90k = span
        return ask(any_database, OLDEST, start_90k=start_90k, end_90k=end_90k)

    assert between(0, 60) == []
    assert between(0, 61) == [open_one]
    assert between(600, 601) == [open_one, long, moment]
    assert between(590, 600) == [open_one, long]
    assert between(601, 1200) == [open_one, long]
    assert between(1229, 1230) == [open_one, long, short]
    assert between(1230, 9999) == [open_one, long]
    assert between(2 * 60 + 100 * 60, 9999) == [open_one]


@settings(max_examples=25)
@given(
    events=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([None, 0, 90, 4000])), max_size=12),
    start=st.none() | st.integers(-1, 80),
    limit=st.integers(1, 4),
    order=st.sampled_from(EventOrder),
)
def test_pages_have_each_event_once_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[tuple[int, int | None]],
    start: int | None,
    limit: int,
    order: EventOrder,
) -> None:
    database = Database(tmp_path_factory.mktemp("events"))
    database.open()
    kept = [
        replace(make(minute, duration_s=duration_s), id=f"{place:08x}-0000-4000-8000-000000000000")
        for place, (minute, duration_s) in enumerate(events)
    ]
    keep(database, *kept)
    start_90k = None if start is None else START_90K + start * 60 * CLOCK_RATE
    found: list[Event] = []
    after = None
    while page := table.page(database, EventFilter(start_90k=start_90k), order, limit, after):
        assert len(page) <= limit
        found += page
        after = page[-1].start_90k, page[-1].id
    database.close()
    expected = [
        each
        for each in sorted(kept, key=lambda e: (e.start_90k, e.id), reverse=order is NEWEST)
        if start_90k is None or each.end_90k is None or max(each.end_90k, each.start_90k + 1) > start_90k
    ]
    assert found == expected


def test_a_key_makes_one_event_and_belongs_to_one_owner_and_one_request(any_database: Database) -> None:
    key = IdempotencyKey("token a", "k", "digest")
    first, [_] = table.create(any_database, make(0), key, 1000)
    assert table.create(any_database, make(1), key, 1000) == (first, [])
    with pytest.raises(UnprocessableError):
        table.create(any_database, make(1), replace(key, digest="another"), 1000)
    assert table.create(any_database, make(2), replace(key, owner="token b"), 1000)[0] == make(2)
    table.remove(any_database, first.id)
    with pytest.raises(ConflictError, match="deleted"):
        table.create(any_database, make(3), key, 1000)
    # A day later it is forgotten.
    assert table.create(any_database, make(60 * 25, "yard"), key, 1000)[1] != []


def test_the_oldest_give_way_but_not_those_that_protect(any_database: Database) -> None:
    old, kept, new = make(0, is_protected=True), make(1), make(2)
    keep(any_database, old, kept)
    _, changes = table.create(any_database, new, None, 2)
    assert [(change.kind, change.event) for change in changes] == [
        (ChangeKind.DELETED, kept),
        (ChangeKind.CREATED, new),
    ]
    table.change(any_database, new.id, lambda e: replace(e, is_protected=True))
    with pytest.raises(ConflictError, match="EVENTS_MAX"):
        table.create(any_database, make(3), None, 2)


def test_age_spares_what_is_open_or_protects(any_database: Database) -> None:
    old, open_one, protects, recent = make(0), make(1, duration_s=None), make(2, is_protected=True), make(9)
    keep(any_database, old, open_one, protects, recent)
    [change] = table.remove_oldest(any_database, recent.start_90k, 10)
    assert change.event == old
    assert ask(any_database, OLDEST) == [open_one, protects, recent]


def test_open_events_of_a_removed_camera_end(any_database: Database) -> None:
    now_90k = START_90K + HOUR_90K
    keep(any_database, make(0, duration_s=None), make(1, "yard", duration_s=None), make(2))
    [change] = table.end_open(any_database, "door", now_90k)
    assert (change.event.end_90k, change.event.updated_90k) == (now_90k, now_90k)
    assert [each.camera_id for each in ask(any_database) if each.is_open] == ["yard"]
    assert table.has_camera(any_database, "yard")
    assert not table.has_camera(any_database, "attic")


def test_the_log_has_each_change_with_the_event_as_it_is_now(
    any_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "CHANGES_MAX", 4)
    keep(any_database, make(0), make(1), make(2))
    changed, _ = table.change(any_database, make(1).id, lambda e: replace(e, is_reviewed=True))
    table.remove(any_database, make(2).id)
    state = table.log_state(any_database)
    assert (state.before, state.newest, state.events) == (1, 5, 2)
    changes = table.changes_after(any_database, 1, 100)
    assert [(c.number, c.kind, c.event) for c in changes] == [
        (2, ChangeKind.CREATED, changed),
        (4, ChangeKind.UPDATED, changed),
        (5, ChangeKind.DELETED, make(2)),
    ]
    assert [c.number for c in table.changes_after(any_database, 1, 1)] == [2]


def test_numbers_go_on_after_the_last_change_is_gone(tmp_path: Path, database: Database) -> None:
    keep(database, make(0))
    epoch = table.log_state(database).epoch
    with database.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM event_change")
    database.close()
    database.open()
    assert table.create(database, make(1), None, 9)[1][0].number == 2
    assert table.log_state(database).epoch == epoch


def test_an_index_from_before_events_gets_their_tables(tmp_path: Path, database: Database) -> None:
    database.close()
    with sqlite3.connect(tmp_path / INDEX_FILE) as connection:
        for name in ("event", "event_change", "event_log", "event_key"):
            connection.execute(f"DROP TABLE {name}")
        connection.execute("UPDATE schema_version SET version = 4")
    connection.close()
    database.open()
    keep(database, make(0))
    assert ask(database) == [make(0)]
    assert len(table.log_state(database).epoch) == 8


def test_events_survive_a_damaged_index_with_another_log(tmp_path: Path, database: Database) -> None:
    events = keep(database, *(make(number, data={"text": "x" * 900}) for number in range(60)))
    before = table.log_state(database)
    database.close()
    with sqlite3.connect(tmp_path / INDEX_FILE) as connection:
        [(page, size)] = connection.execute(
            "SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_master WHERE name = 'segment'"
        )
    connection.close()
    with (tmp_path / INDEX_FILE).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    database.open()
    assert ask(database, OLDEST) == events
    after = table.log_state(database)
    assert after.epoch != before.epoch
    assert len(list(tmp_path.glob(f"{INDEX_FILE}.broken-*"))) == 1


def test_what_is_created_is_synced_and_nothing_else_is(database: Database) -> None:
    statements: list[str] = []
    with database.transaction() as connection:
        raw: Any = connection.connection.dbapi_connection
    raw.set_trace_callback(statements.append)
    keep(database, make(0))
    assert statements[1] == "PRAGMA synchronous=FULL"
    assert statements[-2:] == ["COMMIT", "PRAGMA synchronous=1"]
    statements.clear()
    table.get(database, make(0).id)
    assert not any("synchronous" in each for each in statements)


@pytest.mark.parametrize(
    "wanted",
    [
        EventFilter(),
        EventFilter(frozenset({"door"}), START_90K, START_90K + 1),
        EventFilter(None, START_90K, None),
        EventFilter(labels=("person",)),
        EventFilter(text="person", is_reviewed=False),
    ],
)
@pytest.mark.parametrize("order", EventOrder)
def test_lists_neither_sort_nor_scan_the_table(database: Database, wanted: EventFilter, order: EventOrder) -> None:
    plans: list[str] = []
    with database.transaction() as connection:
        engine = connection.engine

    @sqlalchemy_event.listens_for(engine, "before_cursor_execute")
    def explain(_: object, cursor: sqlite3.Cursor, statement: str, parameters: tuple[Any, ...], *__: object) -> None:
        plans.extend(row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    table.page(database, wanted, order, 100, (START_90K, make(0).id))
    assert plans
    for step in plans:
        assert "TEMP B-TREE" not in step
        assert "INDEX" in step
