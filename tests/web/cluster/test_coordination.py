"""A node does what its coordinator decides, with and without its database."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.cluster.coordinator import Coordinator
from gateway.cluster.model import Node
from hls.cluster.sqlite_store import SqliteStore
from tests.support.eventually import eventually
from web.cluster.coordination import Coordination
from web.cluster.database_thread import DatabaseThread
from web.cluster.faults import Faults


@pytest.fixture
def other(tmp_path: Path) -> Iterator[SqliteStore]:
    """What another process sees."""
    store = SqliteStore(tmp_path / "cluster.sqlite3", time.time)
    store.open()
    store.set_cameras({"door", "yard"})
    yield store
    store.close()


@pytest.fixture
def thread(tmp_path: Path) -> DatabaseThread:
    return DatabaseThread(SqliteStore(tmp_path / "cluster.sqlite3", time.time), "cluster")


@pytest.fixture
async def coordination(thread: DatabaseThread) -> AsyncIterator[Coordination]:
    made = Coordination(Coordinator(Node("a#1", "a", "")), thread, thread, Faults())
    try:
        yield made
    finally:
        await made.leave()
        thread.close()


async def test_a_node_captures_what_it_owns_until_it_leaves(
    coordination: Coordination, thread: DatabaseThread, other: SqliteStore
) -> None:
    thread.open()
    changed = list[str]()
    coordination.on_captured = changed.append
    coordination.start()
    await eventually(lambda: coordination.captured == {"door", "yard"}, "it owns both cameras")
    assert sorted(changed) == ["door", "yard"]
    assert coordination.takeovers == 2
    await coordination.leave()
    view = other.renew(Node("b#1", "b", ""))
    assert set(view.nodes) == {"b#1"}, "its lease has ended"


async def test_a_camera_that_is_handed_over_is_captured_before_it_is_owned(
    coordination: Coordination, thread: DatabaseThread, other: SqliteStore
) -> None:
    other.renew(Node("b#1", "b", ""))
    epochs = {camera_id: other.claim(camera_id, "b#1", 0) for camera_id in ("door", "yard")}
    thread.open()
    coordination.has_pictures = lambda _: bool(pictures)
    pictures = list[str]()
    coordination.start()
    await eventually(lambda: "a#1" in other.renew(Node("b#1", "b", "")).nodes, "they know each other")
    epoch = epochs["door"]
    assert epoch is not None
    assert other.hand_over("door", "b#1", epoch, "a#1")
    await eventually(lambda: coordination.captured == {"door"}, "it captures what is handed over")
    assert (coordination.takeovers, coordination.handovers) == (0, 0)
    pictures.append("door")
    await eventually(lambda: coordination.takeovers == 1, "it owns the camera once there are pictures")
    assert coordination.handovers == 1


async def test_a_database_that_is_away_is_told_and_asked_again(
    coordination: Coordination, thread: DatabaseThread, other: SqliteStore
) -> None:
    coordination.start()
    await eventually(lambda: coordination.requests_failed > 1, "the file is not open")
    assert coordination.error is not None
    assert not coordination.captured
    thread.open()
    await eventually(lambda: coordination.captured == {"door", "yard"}, "it owns both cameras")
    assert coordination.error is None
