"""The stores in PostgreSQL and SQLite answer as the one in memory, on which the schedules of many nodes are tried."""

import random
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import Column, Float, MetaData, Table, create_engine, insert, select, update

from gateway.cluster.model import EXPIRY_S, Node
from gateway.errors import SettingsError, StorageError
from hls.archive.access_schema import access_tables
from hls.cluster import schema
from hls.cluster.sqlite_store import SqliteStore
from hls.cluster.store import PostgresStore, RecordedFile
from tests.support.cluster_store import MemoryStore

pytestmark = pytest.mark.integration

SITES = {"a": frozenset({"x"}), "b": frozenset({"x", "y"}), "c": frozenset[str]()}
NODES = [Node(f"{name}#1", name, f"http://{name}", sites) for name, sites in SITES.items()]
CAMERAS = ["door", "gate"]

# The clock of the database, as tests set it.
clock = Table("cluster_clock", MetaData(), Column("now_s", Float))
NOW = "(SELECT to_timestamp(now_s) FROM cluster_clock)"


class SteppedStore(PostgresStore):
    """With a clock that tests set, and what is in the tables."""

    def tick(self, now_s: float) -> None:
        raise NotImplementedError

    def rows(self) -> dict[tuple[str, str, str], Any]:
        table = schema.recording.c
        with self.transaction() as connection:
            return {
                (row.camera_id, row.node_name, row.name): row
                for row in connection.execute(select(schema.recording).order_by(table.camera_id))
            }


class SteppedPostgresStore(SteppedStore):
    def tick(self, now_s: float) -> None:
        with self.transaction() as connection:
            connection.execute(update(clock).values(now_s=now_s))


class SteppedSqliteStore(SqliteStore, SteppedStore):
    def __init__(self, path: Path) -> None:
        self.now_s = 0.0
        super().__init__(path, lambda: self.now_s)

    def tick(self, now_s: float) -> None:
        self.now_s = now_s


@pytest.fixture
def postgres_store(postgres_url: str) -> Iterator[SteppedStore]:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        clock.create(connection)
        connection.execute(insert(clock).values(now_s=0))
    made = SteppedPostgresStore(postgres_url, NOW)
    made.open()
    yield made
    made.close()
    with engine.begin() as connection:
        schema.tables.drop_all(connection)
        access_tables.drop_all(connection)
        clock.drop(connection)
    engine.dispose()


@pytest.fixture(params=["postgres", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SteppedStore]:
    if request.param == "postgres":
        yield request.getfixturevalue("postgres_store")
        return
    made = SteppedSqliteStore(tmp_path / "cluster.sqlite3")
    made.open()
    yield made
    made.close()


def operation(chance: random.Random, memory: MemoryStore, number: int) -> tuple[Any, ...]:
    """The name of a method and its arguments, also those that a node would never ask for."""
    node, camera_id = chance.choice(NODES), chance.choice(CAMERAS)
    epoch = memory.owners[camera_id].epoch if camera_id in memory.owners else 0
    epoch = max(0, epoch - chance.choice([0, 0, 0, 0, 1, -1]))
    name = chance.choice(["renew", "renew", "tick", "claim", "hand_over", "release", "record", "record", "rare"])
    match name:
        case "renew":
            return name, node
        case "tick":
            return name, memory.now_s + chance.choice([0.5, 1, EXPIRY_S - 0.25, EXPIRY_S])
        case "claim" | "release":
            return name, camera_id, node.id, epoch
        case "hand_over":
            return name, camera_id, node.id, epoch, chance.choice([*(each.id for each in NODES), None])
        case "record":
            begin = chance.randrange(100)
            end = begin + chance.randrange(1, 30)
            return name, RecordedFile(camera_id, "main", node.name, str(number % 7), begin, end, number), epoch
    return chance.choice(
        [("leave", node.id), ("set_camera", camera_id, ["x"]), ("remove_camera", camera_id), ("want_rebalance",)]
    )


def test_both_stores_answer_alike(store: SteppedStore) -> None:
    """Random operations, in both: the schedules of many nodes are tried on the one in memory."""
    chance, memory = random.Random(20261129), MemoryStore()
    claimed, recorded = set(), set()
    for camera_id in CAMERAS:
        memory.set_camera(camera_id)
        store.set_camera(camera_id)
    for number in range(800):
        name, *arguments = operation(chance, memory, number)
        expected, answer = getattr(memory, name)(*arguments), getattr(store, name)(*arguments)
        assert answer == expected, (name, arguments)
        claimed |= {answer is None} if name == "claim" else set()
        recorded |= {answer} if name == "record" else set()
    rows = store.rows()
    assert rows.keys() == memory.rows.keys()
    for key, row in memory.rows.items():
        assert (rows[key].start_90k, rows[key].end_90k) == row.span
        assert (rows[key].epoch, rows[key].from_90k, rows[key].to_90k) == (row.epoch, *(row.canonical or (None, None)))
    # Each kind of answer has been given.
    assert claimed == recorded == {True, False}
    assert any(row.canonical is None for row in memory.rows.values())
    assert any(row.canonical not in (None, row.span) for row in memory.rows.values())


def test_a_claim_waits_for_a_write_of_the_owner_before_it(postgres_store: SteppedStore, postgres_url: str) -> None:
    """Then no row of the owner is written after the claim with what was true before it."""
    postgres_store.set_camera("door")
    postgres_store.renew(NODES[0])
    assert postgres_store.claim("door", NODES[0].id, 0) == 1
    postgres_store.tick(100)
    postgres_store.renew(NODES[1])
    writer = PostgresStore(postgres_url, NOW)
    writer.open()
    file = RecordedFile("door", "main", "a", "file", 0, 10, 100)
    with writer.transaction() as connection:
        assert writer.write_row(connection, file, 1)
        with pytest.raises(StorageError):  # after the time that a statement may take
            postgres_store.claim("door", NODES[1].id, 1)
    assert postgres_store.claim("door", NODES[1].id, 1) == 2
    assert not writer.record(file, 1)
    writer.close()


def test_a_node_has_nothing_to_hand_over_of_a_camera_that_was_removed(store: SteppedStore) -> None:
    for camera_id in CAMERAS:
        store.set_camera(camera_id)
        store.renew(NODES[0])
        assert store.claim(camera_id, NODES[0].id, 0) == 1
    assert store.owned_by("a") == 2
    store.remove_camera("door")
    assert store.owned_by("a") == 1


def test_spans_with_files_of_some_nodes(store: SteppedStore) -> None:
    store.tick(0.0)
    for name, start_90k in (("a", 100), ("b", 300)):
        store.write([(RecordedFile("door", "main", name, f"of_{name}", start_90k, start_90k + 50, 1), 0)], name, [])
    spans = [(0, 100), (149, 200), (150, 300), (300, 301)]
    for nodes, expected in (
        ({"a"}, [False, True, False, False]),
        ({"a", "b"}, [False, True, False, True]),
        ({"c"}, [False] * 4),
    ):
        assert store.recorded_spans("door", spans, nodes) == expected
    assert store.recorded_spans("gate", spans, {"a", "b"}) == [False] * 4


def test_a_store_that_is_no_postgresql_is_refused() -> None:
    with pytest.raises(SettingsError, match="PostgreSQL"):
        PostgresStore("sqlite:///index.db").open()


def test_a_node_that_is_paused_in_a_transaction_keeps_no_locks(
    postgres_store: SteppedStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others would wait for as long as it is paused, with every change of a camera or its owner."""
    monkeypatch.setattr("hls.cluster.store.REQUEST_MAX_S", 0.2)
    paused, other = PostgresStore(postgres_url), PostgresStore(postgres_url)
    for store in (paused, other):
        store.open()
    changed = Event()

    def change() -> None:
        for _ in range(100):
            try:
                other.set_camera("door")
            except StorageError:
                continue  # the first ones, while the locks are kept
            changed.set()
            return

    def pause() -> None:
        with paused.transaction() as connection:
            connection.execute(select(schema.version).with_for_update())
            connection.execute(update(schema.version).values(revision=schema.version.c.revision + 1))
            thread.start()
            assert changed.wait(60)
            connection.execute(select(schema.version))

    thread = Thread(target=change)
    with pytest.raises(StorageError, match="cannot be reached at present"):
        pause()
    thread.join()
    assert list(paused.cameras()) == ["door"], "it goes on with another connection"
    for store in (paused, other):
        store.close()
