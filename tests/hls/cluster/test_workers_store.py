"""What a worker learns without asking the file, and that it misses nothing so."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gateway.cluster.model import Node
from hls.cluster.changes import Change
from hls.cluster.exchange import ClusterExchange
from hls.cluster.workers_store import WRITTEN_S, WorkersStore

A, B = Node("a#1", "worker-1"), Node("b#1", "worker-2")


@dataclass
class Machine:
    """Two workers and their parent. ``now_s`` is the clock that they share."""

    folder: Path
    now_s: float = 0.0
    stores: list[WorkersStore] = field(default_factory=list)

    def store(self) -> WorkersStore:
        made = WorkersStore(self.folder / "cluster.sqlite3", lambda: self.now_s)
        made.open()
        self.stores.append(made)
        return made


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    for store in made.stores:
        store.close()


def test_a_renewal_is_answered_from_memory_until_something_changes(machine: Machine) -> None:
    a, b, parent = machine.store(), machine.store(), machine.store()
    first = a.renew(A)
    assert a.renew(A) is first
    assert not a.has_news
    parent.set_cameras({"door"})
    assert a.renew(A).cameras.keys() == {"door"}
    b.renew(B)
    assert a.renew(A).nodes.keys() == {A.id, B.id}
    assert b.claim("door", B.id, 0) == 1
    assert a.renew(A).owner("door").node_id == B.id
    b.hand_over("door", B.id, 1, A.id)
    assert a.renew(A).owner("door").successor_id == A.id
    b.renew(replace(B, is_draining=True))
    assert a.renew(A).nodes[B.id].is_draining
    known = a.renew(A)
    b.renew(replace(B, is_draining=True))
    assert a.renew(A) is known
    parent.end_lease(B.name)
    assert a.renew(A).nodes.keys() == {A.id}
    b.renew(replace(B, is_draining=True))
    assert a.renew(A).nodes.keys() == {A.id, B.id}, "it was alive: the parent was wrong"
    b.leave(B.id)
    assert a.renew(A).nodes.keys() == {A.id}


def test_a_worker_that_hangs_loses_its_lease_and_one_that_renews_does_not(machine: Machine) -> None:
    a, b = machine.store(), machine.store()
    b.renew(B)
    while machine.now_s < WorkersStore.lease_s:
        assert a.renew(A).nodes.keys() == {A.id, B.id}
        machine.now_s += WRITTEN_S / 2
    assert a.renew(A).nodes.keys() == {A.id}
    b.renew(B)
    assert b.renew(B).nodes.keys() == {A.id, B.id}
    assert a.has_news
    assert a.renew(A).nodes.keys() == {A.id, B.id}


def test_statuses_and_commands_are_read_when_there_are_others(machine: Machine) -> None:
    a, b = ClusterExchange(machine.store(), A.id), ClusterExchange(machine.store(), B.id)
    statuses, commands = b.numbers(Change.STATUSES), b.numbers(Change.COMMANDS)
    a.tell({"door": "live"})
    assert b.numbers(Change.STATUSES) != statuses
    assert b.numbers(Change.COMMANDS) == commands
    number = a.ask(B.id, "open")
    assert b.numbers(Change.COMMANDS) != commands
    assert b.asked() == {number: "open"}
