"""The logs of the other nodes: who follows all of them hears of every change once, or is told to read again."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.event import ChangeKind, Event, EventChange
from hls.events.service import READ_MAX, RECENT_MAX
from web.cluster.event_logs import EventLogs, NodeLog, read_positions, write_positions

EVENT = Event("00000000-0000-4000-8000-000000000001", "door", 0, None, "ring", "api")


def changes(node: str, first: int, last: int) -> list[EventChange]:
    return [EventChange(number, ChangeKind.UPDATED, EVENT, node) for number in range(first, last + 1)]


def test_a_place_has_the_place_in_each_log() -> None:
    positions = {"recorder-2.example": "a8f-17", "a": "b77-3"}
    assert write_positions(positions) == "a=b77-3,recorder-2.example=a8f-17"
    assert read_positions(write_positions(positions)) == positions
    # Those of a gateway alone, or of nobody.
    for text in ("", "a8f-17", "=1"):
        assert read_positions(text) == {}


def test_what_is_not_in_memory_is_asked_of_the_node() -> None:
    log = NodeLog("e-10")
    assert log.after("e-10") == []
    assert log.after("e-9") is None, "before this node has heard of it"
    log.add(f"e-{10 + RECENT_MAX}", changes("b", 11, 10 + RECENT_MAX))
    found = log.after("e-10")
    assert found is not None
    assert [change.number for change in found] == list(range(11, 11 + READ_MAX))
    log.add(f"e-{11 + RECENT_MAX}", changes("b", 11 + RECENT_MAX, 11 + RECENT_MAX))
    assert log.after("e-10") is None, "the oldest is dropped"
    assert log.after("e-11") is not None
    assert log.after("f-11") is None, "the log of another database"
    assert (log.is_ahead_of("e-11"), log.is_ahead_of("f-9999")) == (True, True)


def test_a_place_that_another_node_gave_may_be_ahead() -> None:
    log = NodeLog("e-10")
    assert (log.after("e-12"), log.is_ahead_of("e-12")) == ([], False)
    log.add("e-12", changes("b", 11, 12))
    assert (log.after("e-12"), log.is_ahead_of("e-12")) == ([], False)
    log.add("e-13", changes("b", 13, 13))
    assert log.after("e-12") == changes("b", 13, 13)


def test_a_log_that_does_not_go_back_so_far_begins_again() -> None:
    log = NodeLog("e-10")
    log.add("e-12", changes("b", 11, 12))
    log.add("f-3", None)
    assert (log.position, log.after("f-3"), log.after("e-12")) == ("f-3", [], None)


def test_a_place_without_a_node_is_behind_and_that_of_a_node_that_is_away_stays() -> None:
    logs = EventLogs("a")
    position = logs.position("e-1")
    assert position == "a=e-1"
    logs.of["b"] = NodeLog("f-5")
    assert logs.is_ahead_of(position)
    assert logs.position("e-1") == "a=e-1,b=f-5"
    # The node c is not known here; another one has given this place.
    kept = logs.position_after("a=e-1,b=f-5,c=9-9", EventChange(6, ChangeKind.CREATED, EVENT, "b"))
    assert kept == "a=e-1,b=f-6,c=9-9"
    assert not EventLogs("a").is_ahead_of(kept)


@given(st.lists(st.tuples(st.sampled_from("bcd"), st.integers(1, 40)), max_size=30), st.data())
def test_who_follows_hears_of_every_change_once(told: list[tuple[str, int]], data: st.DataObject) -> None:
    """Nodes tell of some changes at a time, and the client reads at any moment, also from where it was before."""
    logs = EventLogs("a")
    newest = dict.fromkeys("bcd", 0)
    for name in newest:
        logs.of[name] = NodeLog("e-0")
    position, heard = logs.position("e-0"), list[tuple[str, int]]()

    def read() -> None:
        nonlocal position
        for name, log in logs.of.items():
            while found := log.after(read_positions(position)[name]):
                for change in found:
                    heard.append((change.node, change.number))
                    position = logs.position_after(position, change)

    for name, count in told:
        first, newest[name] = newest[name] + 1, newest[name] + count
        logs.of[name].add(f"e-{newest[name]}", changes(name, first, newest[name]))
        if newest[name] - int(read_positions(position)[name][2:]) > RECENT_MAX // 2 or data.draw(st.booleans()):
            read()
    read()
    assert sorted(heard) == [(name, number) for name in "bcd" for number in range(1, newest[name] + 1)]
    assert not logs.is_ahead_of(position)
