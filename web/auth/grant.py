"""Grant: what the holder of a credential may do. Its name is used in the log and for ownership of viewers."""

from dataclasses import dataclass

from gateway.access import Scope
from gateway.errors import ForbiddenError, UnauthorizedError

JWT_NAME = "jwt"
"""Grants of JWTs have names that begin so. They cannot be revoked one by one: no list of them is kept."""


USER_NAME = "user"
"""Grants of people who signed in have names that begin so."""


@dataclass(frozen=True, slots=True)
class Span:
    """The recording in [``start_90k``, ``end_90k``); without an end, it goes on into live."""

    start_90k: int
    end_90k: int | None = None

    def contains(self, other: "Span") -> bool:
        """Whether all of another span is in this one."""
        if other.start_90k < self.start_90k:
            return False
        return self.end_90k is None or (other.end_90k is not None and other.end_90k <= self.end_90k)


@dataclass(frozen=True, slots=True)
class Grant:
    """``scopes`` over ``cameras`` (``None``: all), until ``expires_at_s`` (Unix seconds; ``None``: never)."""

    name: str
    scopes: frozenset[Scope]
    cameras: frozenset[str] | None = None
    expires_at_s: float | None = None
    span: Span | None = None
    """Nothing that was recorded outside it may be shown. ``None``: no limit."""
    subject: str = ""
    """Tells holders of grants with one name apart: see :attr:`owner`."""

    @property
    def owner(self) -> str:
        """Who holds the grant. What one owner opened, no other may change."""
        return f"{self.name} {self.subject}"

    def may(self, scope: Scope, camera_id: str | None = None) -> bool:
        """Whether a scope is granted over a camera; without ``camera_id``, over at least one."""
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
            return False
        return camera_id is None or self.cameras is None or camera_id in self.cameras

    def may_everywhere(self, scope: Scope) -> bool:
        """Whether a scope is granted over all cameras."""
        return self.cameras is None and self.may(scope)

    def require(self, scope: Scope, camera_id: str | None = None) -> None:
        """Raise :class:`~gateway.errors.ForbiddenError`, naming the missing scope, unless :meth:`may`."""
        if not self.may(scope, camera_id):
            raise forbidden(scope, camera_id)

    def require_everywhere(self, scope: Scope) -> None:
        """Raise :class:`~gateway.errors.ForbiddenError`, naming the missing scope, unless :meth:`may_everywhere`."""
        if not self.may_everywhere(scope):
            raise ForbiddenError(f"this needs a token with the scope {scope} over all cameras", scope)


UNRESTRICTED = Grant("anonymous", frozenset({Scope.ADMIN}))
"""Every client's grant while authentication is off."""


def node_grant(name: str) -> Grant:
    """That of another node of the cluster: what it asks for was allowed there. Limits do not apply to nodes."""
    return Grant(f"node {name}", frozenset({Scope.ADMIN}))


ANONYMOUS = Grant("anonymous", frozenset())
"""The grant of a request to a public route while authentication is on."""


class ExpiredError(UnauthorizedError):
    """The credential was valid and has expired."""

    def __init__(self, message: str) -> None:
        super().__init__(message, is_invalid=True)


def forbidden(scope: Scope, camera_id: str | None) -> ForbiddenError:
    """The error that names the scope, and the camera, that a grant lacks."""
    over = f" over camera {camera_id[:64]!r}" if camera_id is not None else ""
    return ForbiddenError(f"this needs a token with the scope {scope}{over}", scope, camera_id)
