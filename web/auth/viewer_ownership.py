"""ViewerOwnership: only the client that opened a WebRTC viewer over HTTP may change or end it.

A client is identified by the owner of its grant (:attr:`web.auth.grant.Grant.owner`).
An admin of all cameras may change every viewer.
"""

from dataclasses import dataclass

from aiohttp import web

from gateway.access import Scope
from gateway.errors import NotFoundError
from gateway.webrtc.viewer import Viewer
from signaling.access import Unsubscribe
from web.auth.grant import Grant
from web.auth.requests import SESSION, grant_of


@dataclass(frozen=True, slots=True)
class _Owner:
    name: str
    unsubscribe: Unsubscribe


class ViewerOwnership:
    """See the module."""

    def __init__(self) -> None:
        self._owners: dict[str, _Owner] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def assign(self, request: web.Request, viewer: Viewer) -> None:
        """Make the sender of a request the owner of a viewer. The viewer is closed when their access is revoked."""
        if (owner := _owner(request, viewer)) is not None:
            self._owners[viewer.id] = owner
            viewer.close_callbacks.append(lambda: self._owners.pop(viewer.id).unsubscribe())

    def require(self, request: web.Request, viewer: Viewer) -> None:
        """Raise :class:`~gateway.errors.NotFoundError`, as for an unknown viewer, unless the sender may change it.

        The viewer now depends on the credential of this request, so that a client that renews its token in time keeps
        its viewer.
        """
        grant, before = grant_of(request), self._owners.get(viewer.id)
        if before is not None and before.name == grant.owner and (owner := _owner(request, viewer)) is not None:
            self._owners[viewer.id] = owner
            before.unsubscribe()
        elif not grant.may_everywhere(Scope.ADMIN):
            raise NotFoundError("there is no such viewer; it may have left, or another client may own it")


def _owner(request: web.Request, viewer: Viewer) -> _Owner | None:
    """``None`` in an application without authentication."""
    session = request.get(SESSION)
    if session is None:
        return None

    def require(grant: Grant) -> None:
        grant.require(Scope.VIEW, viewer.camera_id)

    return _Owner(
        session.grant.owner,
        session.on_revoke(lambda error: viewer.close_soon(f"not allowed: {error}"), require=require),
    )


VIEWER_OWNERSHIP: web.AppKey[ViewerOwnership] = web.AppKey("viewer_ownership", ViewerOwnership)
