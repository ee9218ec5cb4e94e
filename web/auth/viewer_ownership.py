"""ViewerOwnership: only the client that opened a WebRTC viewer, or publisher, over HTTP may change or end it.

A client is identified by the owner of its grant (:attr:`web.auth.grant.Grant.owner`).
An admin of all cameras may change every viewer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from gateway.access import Scope
from gateway.errors import NotFoundError
from signaling.access import Unsubscribe
from web.auth.grant import Grant
from web.auth.requests import SESSION, grant_of


class OwnedSession(Protocol):
    """A viewer or publisher."""

    id: str
    camera_id: str
    close_callbacks: list[Callable[[], None]]

    def close_soon(self, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Owner:
    name: str
    scope: Scope
    unsubscribe: Unsubscribe


class ViewerOwnership:
    """See the module."""

    def __init__(self) -> None:
        self._owners: dict[str, _Owner] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def assign(self, request: web.Request, viewer: OwnedSession, scope: Scope = Scope.VIEW) -> None:
        """Make the sender of a request the owner of a viewer. It is closed when they lose the ``scope``."""
        if (owner := _owner(request, viewer, scope)) is not None:
            self._owners[viewer.id] = owner
            viewer.close_callbacks.append(lambda: self._owners.pop(viewer.id).unsubscribe())

    def require(self, request: web.Request, viewer: OwnedSession) -> None:
        """Raise :class:`~gateway.errors.NotFoundError`, as for an unknown viewer, unless the sender may change it.

        The viewer now depends on the credential of this request, so that a client that renews its token in time keeps
        its viewer.
        """
        if not self.renew(request, viewer) and not grant_of(request).may_everywhere(Scope.ADMIN):
            raise NotFoundError("there is no such viewer; it may have left, or another client may own it")

    def renew(self, request: web.Request, viewer: OwnedSession) -> bool:
        """Let a viewer depend on the credential of this request, if it is the sender's own; whether it is."""
        grant, before = grant_of(request), self._owners.get(viewer.id)
        is_own = before is not None and before.name == grant.owner
        if before is None or not is_own or (owner := _owner(request, viewer, before.scope)) is None:
            return False
        self._owners[viewer.id] = owner
        before.unsubscribe()
        return True


def _owner(request: web.Request, viewer: OwnedSession, scope: Scope) -> _Owner | None:
    """``None`` in an application without authentication."""
    session = request.get(SESSION)
    if session is None:
        return None

    def require(grant: Grant) -> None:
        grant.require(scope, viewer.camera_id)

    return _Owner(
        session.grant.owner,
        scope,
        session.on_revoke(lambda error: viewer.close_soon(f"not allowed: {error}"), require=require),
    )


VIEWER_OWNERSHIP: web.AppKey[ViewerOwnership] = web.AppKey("viewer_ownership", ViewerOwnership)
