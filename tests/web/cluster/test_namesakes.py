"""Two processes of a cluster with one name."""

from datetime import UTC, datetime

import pytest

from gateway.cluster.model import EXPIRY_S, Node, View
from gateway.errors import SettingsError
from hls.cluster.uploads import AbsentNode
from web.cluster.namesakes import Namesakes
from web.cluster.service import Cluster
from web.settings import load_settings

OTHER = Node("a#1", "a", "http://192.0.2.1")
NODE = Node("a#2", "a")


def test_a_node_starts_when_the_lease_of_its_former_process_has_expired() -> None:
    waited_s: list[float] = []

    def find(name: str) -> Node | None:
        return OTHER if sum(waited_s) < EXPIRY_S and name == "a" else None

    Namesakes(NODE).wait(find, waited_s.append)
    assert EXPIRY_S <= sum(waited_s) < EXPIRY_S + 1


def test_a_node_does_not_start_while_another_has_its_name() -> None:
    with pytest.raises(SettingsError, match=r"has the name a at http://192.0.2.1: give this one another NODE_NAME"):
        Namesakes(NODE).wait(lambda _: OTHER, lambda _: None)


def test_of_two_that_run_one_drains_and_both_tell() -> None:
    both = View({OTHER.id: OTHER, NODE.id: NODE, "b#1": Node("b#1", "b")})
    first, second = Namesakes(OTHER), Namesakes(NODE)
    for each in (first, second):
        assert not each.must_drain(both, 10.0)
        assert each.message is None, "it may have been killed, and its lease expires yet"
    assert first.must_drain(both, 16.0)
    assert not second.must_drain(both, 16.0)
    assert first.message is not None
    assert second.message is not None
    assert "give each node a NODE_NAME of its own" in second.message
    assert not second.must_drain(View({NODE.id: NODE}), 17.0)
    assert second.message is None
    assert not second.must_drain(both, 18.0), "another one, later"


def test_a_node_that_is_alive_is_not_told_as_away() -> None:
    """What is known of absent nodes may be from when the database took no renewals, and is kept while it is away."""
    cluster = Cluster(load_settings(cluster_url="postgresql+psycopg://liveedge@192.0.2.1/liveedge", node_name="a"))
    try:
        cluster.known_absent = [AbsentNode(name, datetime.now(UTC), False) for name in ("a", "b", "c")]
        cluster.coordinator._view = View({"b#1": Node("b#1", "b")})
        assert [each.name for each in cluster.status().absent] == ["c"]
    finally:
        cluster.close()
