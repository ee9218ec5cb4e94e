"""SocketAccess: an :class:`~web.auth.sessions.AuthSession` as :mod:`signaling` uses it."""

from dataclasses import dataclass
from typing import Self

from gateway.access import Scope
from gateway.errors import ForbiddenError
from signaling.access import OnRevoke, Unsubscribe
from web.auth import policy
from web.auth.counted_as import counted_as, is_limited
from web.auth.grant import Grant
from web.auth.sessions import AuthSession


@dataclass(frozen=True, slots=True)
class SocketAccess:
    """Implements :class:`signaling.access.ClientAccess` with the scopes of :data:`web.auth.policy.EVENTS`."""

    session: AuthSession
    counted_as: str | None
    is_limited: bool

    @classmethod
    def of(cls, session: AuthSession, address: str) -> Self:
        """The access of a client at an address."""
        return cls(session, counted_as(session.grant, address), is_limited(session.grant))

    def authorize(self, event: str, camera_id: str | None) -> None:
        """Raise ``ForbiddenError`` unless the client may send an event about a camera; ``None`` is any camera."""
        if event not in policy.EVENTS:
            raise ForbiddenError("no client may send this event")
        self.session.grant.require(policy.EVENTS[event], camera_id)

    def may_view(self, camera_id: str) -> bool:
        """Whether the client may see a camera and its status."""
        return self.session.grant.may(Scope.VIEW, camera_id)

    def on_revoke(self, callback: OnRevoke, event: str | None = None, camera_id: str | None = None) -> Unsubscribe:
        """Call ``callback`` once ``event`` is no longer allowed; without an event, once the credential ends."""

        def require(grant: Grant) -> None:
            if event is not None:
                grant.require(policy.EVENTS[event], camera_id)

        return self.session.on_revoke(callback, require=require)
