"""Whom limits count a client for."""

import pytest

from gateway.access import Scope
from web.auth.counted_as import counted_as, is_limited
from web.auth.grant import ANONYMOUS, UNRESTRICTED, Grant

ADA = Grant("ada", frozenset({Scope.VIEW}))


@pytest.mark.parametrize(
    ("grant", "address", "key"),
    [
        (ANONYMOUS, "192.0.2.1", "192.0.2.1"),
        (UNRESTRICTED, "::ffff:192.0.2.1", "192.0.2.1"),
        (UNRESTRICTED, "2001:db8::7", "2001:db8::/64"),
        (ADA, "192.0.2.1", "ada at 192.0.2.1"),
        (ADA, "2001:db8::7", "ada at 2001:db8::/64"),
    ],
)
def test_a_client_counts_for_its_network_or_for_its_credential_there(grant: Grant, address: str, key: str) -> None:
    assert counted_as(grant, address) == key


def test_only_an_admin_of_all_cameras_is_not_limited() -> None:
    assert not is_limited(Grant("root", frozenset({Scope.ADMIN})))
    assert is_limited(Grant("root of one", frozenset({Scope.ADMIN}), frozenset({"door"})))
    for grant in (ANONYMOUS, UNRESTRICTED, ADA):
        assert is_limited(grant)
