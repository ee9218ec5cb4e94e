"""The stores in PostgreSQL and SQLite answer as the one in memory, on which the schedules of many nodes are tried."""

import random
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import select, update

from gateway.cluster.model import EXPIRY_S
from gateway.errors import SettingsError, StorageError
from hls.cluster import schema
from hls.cluster.recordings import ClusterRecordings, RecordedFile
from hls.cluster.store import PostgresStore
from tests.support.cluster_store import MemoryStore
from tests.support.stepped_store import NODES, SteppedStore

pytestmark = pytest.mark.integration

CAMERAS = ["door", "gate"]


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


def answer_of(store: SteppedStore, name: str) -> Callable[..., Any]:
    return ClusterRecordings(store).record if name == "record" else getattr(store, name)


def test_both_stores_answer_alike(store: SteppedStore) -> None:
    """Random operations, in both: the schedules of many nodes are tried on the one in memory."""
    chance, memory = random.Random(20261129), MemoryStore()
    claimed, recorded = set(), set()
    for camera_id in CAMERAS:
        memory.set_camera(camera_id)
        store.set_camera(camera_id)
    for number in range(800):
        name, *arguments = operation(chance, memory, number)
        expected, answer = getattr(memory, name)(*arguments), answer_of(store, name)(*arguments)
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


def test_a_node_has_nothing_to_hand_over_of_a_camera_that_was_removed(store: SteppedStore) -> None:
    for camera_id in CAMERAS:
        store.set_camera(camera_id)
        store.renew(NODES[0])
        assert store.claim(camera_id, NODES[0].id, 0) == 1
    assert store.owned_by("a") == 2
    store.remove_camera("door")
    assert store.owned_by("a") == 1


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
