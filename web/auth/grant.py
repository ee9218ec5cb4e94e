"""Grant: what somebody may do. Who they are is only a name for the log."""

from dataclasses import dataclass

from gateway.access import Scope
from gateway.errors import ForbiddenError, UnauthorizedError


@dataclass(frozen=True, slots=True)
class Grant:
    """``scopes`` over ``cameras`` (``None``: all of them), until ``expires_at_s`` (Unix seconds; ``None``: always)."""

    name: str
    scopes: frozenset[Scope]
    cameras: frozenset[str] | None = None
    expires_at_s: float | None = None

    def may(self, scope: Scope, camera_id: str | None = None) -> bool:
        """Whether this is allowed on a camera; without one, on any at all."""
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
            return False
        return camera_id is None or self.cameras is None or camera_id in self.cameras

    def may_everywhere(self, scope: Scope) -> bool:
        """Whether this is allowed whatever the camera."""
        return self.cameras is None and self.may(scope)

    def require(self, scope: Scope, camera_id: str | None = None) -> None:
        """Raises :class:`~gateway.errors.ForbiddenError`, which says what would be needed."""
        if not self.may(scope, camera_id):
            raise forbidden(scope, camera_id)

    def require_everywhere(self, scope: Scope) -> None:
        """Raises :class:`~gateway.errors.ForbiddenError`, which says what would be needed."""
        if not self.may_everywhere(scope):
            raise ForbiddenError(f"this needs a token with the scope {scope} over all cameras", scope)


JWT_NAME = "jwt"
"""How the names of grants begin that nobody here can take back."""

EVERYBODY = Grant("anybody", frozenset({Scope.ADMIN}))
"""While auth is off."""


class ExpiredError(UnauthorizedError):
    """It was right, and its time is over."""

    def __init__(self, message: str) -> None:
        super().__init__(message, is_invalid=True)


def forbidden(scope: Scope, camera_id: str | None) -> ForbiddenError:
    """What is missing, in a sentence."""
    over = f" over camera {camera_id[:64]!r}" if camera_id is not None else ""
    return ForbiddenError(f"this needs a token with the scope {scope}{over}", scope, camera_id)
