"""Whom limits count a client for.

Rules:

1. A client without a credential counts for its network (:func:`~gateway.client_address.client_network`).
2. A client with one counts for the credential at that network. So clients behind one NAT that have no credential, or
   another, take nothing from it.
3. An admin of all cameras is not limited, so that an overload keeps no administrator out.
"""

from gateway.access import Scope
from gateway.client_address import client_network
from web.auth.grant import ANONYMOUS, UNRESTRICTED, Grant


def counted_as(grant: Grant, address: str) -> str:
    """The key of a client in limits. ``address`` is the client's, as text."""
    network = client_network(address)
    return network if grant is ANONYMOUS or grant is UNRESTRICTED else f"{grant.name} at {network}"


def is_limited(grant: Grant) -> bool:
    """Whether limits apply to the holder of a grant (rule 3)."""
    return grant is UNRESTRICTED or not grant.may_everywhere(Scope.ADMIN)
