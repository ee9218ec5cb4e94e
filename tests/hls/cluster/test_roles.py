"""What one node does for all, and what nodes tell each other through the database."""

import pytest

from gateway.cluster.model import EXPIRY_S
from hls.cluster.exchange import COMMAND_S, ClusterExchange
from hls.cluster.roles import MARGIN_S, ClusterRoles
from tests.support.stepped_store import NODES, SteppedStore

pytestmark = pytest.mark.integration

A, B, _ = NODES


def test_one_node_holds_a_role_and_the_next_goes_on_with_what_it_kept(store: SteppedStore) -> None:
    a, b = ClusterRoles(store, A.id), ClusterRoles(store, B.id)
    assert a.claim("ems") is None, "a node that is not alive holds nothing"
    for node in (A, B):
        store.renew(node)
    assert (a.claim("ems"), b.claim("ems")) == (A.id, A.id)
    assert a.keep("ems", b"requests")
    assert not b.keep("ems", b"other")
    store.tick(EXPIRY_S + MARGIN_S - 0.1)
    store.renew(B)
    assert b.claim("ems") == A.id, "the former holder may not know yet that its lease has expired"
    store.tick(EXPIRY_S + MARGIN_S)
    assert b.claim("ems") == B.id
    assert b.kept("ems") == b"requests"
    assert not a.keep("ems", b"late")
    store.renew(A)
    b.release("ems")
    assert a.claim("ems") == A.id


def test_a_command_is_executed_once_and_not_late(store: SteppedStore) -> None:
    a, b = ClusterExchange(store, A.id), ClusterExchange(store, B.id)
    first, late = a.ask(B.id, "first"), ""
    assert a.asked() == {}
    assert b.asked() == {first: "first"}
    assert b.asked() == {}
    assert a.reply_of(first) is None
    b.reply(first, "done")
    assert a.reply_of(first) == "done"
    assert a.reply_of(first) is None
    late = a.ask(B.id, "late")
    store.tick(COMMAND_S)
    assert b.asked() == {}
    a.give_up(late)


def test_a_status_counts_while_its_node_owns_the_camera(store: SteppedStore) -> None:
    a, b = ClusterExchange(store, A.id), ClusterExchange(store, B.id)
    store.set_camera("door")
    for node in (A, B):
        store.renew(node)
    b.tell({"door": "live"})
    assert a.statuses() == {}
    assert store.claim("door", B.id, 0) == 1
    assert a.statuses() == {"door": "live"}
    assert b.statuses() == {}, "its own it knows"
    store.tick(EXPIRY_S)
    assert a.statuses() == {}
