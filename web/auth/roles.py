"""Roles: sets of scopes under a name, for tokens that are made over the API and for sign-in."""

from collections.abc import Mapping
from enum import StrEnum

from gateway.access import Scope


class Role(StrEnum):
    """What people are, so that nobody has to know the scopes."""

    VIEWER = "viewer"
    REVIEWER = "reviewer"
    OPERATOR = "operator"
    PUBLISHER = "publisher"
    ADMIN = "admin"


SCOPES: Mapping[Role, frozenset[Scope]] = {
    Role.VIEWER: frozenset({Scope.VIEW}),
    Role.REVIEWER: frozenset({Scope.VIEW, Scope.ARCHIVE}),
    Role.OPERATOR: frozenset({Scope.VIEW, Scope.ARCHIVE, Scope.CONTROL, Scope.PTZ, Scope.TALK}),
    Role.PUBLISHER: frozenset({Scope.PUBLISH}),
    Role.ADMIN: frozenset({Scope.ADMIN}),
}


def role_of(scopes: frozenset[Scope]) -> Role | None:
    """The role with exactly these scopes; ``None`` if there is none."""
    return next((role for role, those in SCOPES.items() if those == scopes), None)
