"""Who started a capture: bounded, whatever clients send."""

import pytest

from gateway.capture_clients import CLIENTS_MAX, CLIENTS_PER_OWNER, EXPIRES_S, CaptureClients
from gateway.errors import UnavailableError


def test_ever_new_clients_of_one_owner_are_refused_until_the_oldest_expires() -> None:
    clients = CaptureClients()
    clients.add("honest", {"why": "to see"}, 0.0, owner="192.0.2.9")
    for n in range(CLIENTS_PER_OWNER):
        clients.add(f"new{n}", {}, n / 100, owner="192.0.2.1")
    with pytest.raises(UnavailableError) as refused:
        clients.add("another", {}, 10.0, owner="192.0.2.1")
    assert refused.value.retry_after_s == EXPIRES_S - 10
    clients.add("new5", {"again": True}, 10.0, owner="192.0.2.1")
    clients.add("other", {}, 10.0, owner="192.0.2.8")
    clients.add("another", {}, EXPIRES_S, owner="192.0.2.1")
    assert "new0" not in clients
    assert clients["honest"] == {"why": "to see"}
    assert clients["new5"] == {"again": True}
    assert (clients.refused, clients.expired, len(clients)) == (1, 1, CLIENTS_PER_OWNER + 2)


def test_clients_of_many_owners_are_bounded_too() -> None:
    clients = CaptureClients()
    for n in range(10 * CLIENTS_MAX):
        clients.add(f"client{n}", {}, n * EXPIRES_S, owner=f"owner{n}")
    assert len(clients) == CLIENTS_MAX
    assert clients.expired == 9 * CLIENTS_MAX


def test_a_client_with_a_connection_does_not_expire() -> None:
    clients = CaptureClients()
    for n in range(CLIENTS_MAX - 1):
        clients.add(f"tab{n}", {}, 0.0, expires=False)
    clients.add("script", {}, 0.0)
    clients.add("other script", {}, EXPIRES_S)
    assert "script" not in clients
    clients.remove("other script")
    clients.add("tab", {}, 0.0, expires=False)
    with pytest.raises(UnavailableError):
        clients.add("one more", {}, 10 * EXPIRES_S)
    assert len(clients) == CLIENTS_MAX


def test_many_clients_of_few_owners_do_not_keep_another_out() -> None:
    clients = CaptureClients()
    for n in range(CLIENTS_MAX):
        clients.add(f"new{n}", {}, 0.0, owner=f"192.0.2.{n % 4}")
    clients.add("honest", {}, 1.0, owner="198.51.100.1")
    clients.add("of the EMS", {}, 1.0)
    assert {"honest", "of the EMS"} <= set(clients)
    assert len(clients) == CLIENTS_MAX
    with pytest.raises(UnavailableError):
        clients.add("one more", {}, 2.0, owner="192.0.2.3")
