"""ClientAccess: what one Socket.IO client may do, as its credential stands at the moment of each call.

This is a port. :class:`web.auth.socket_access.SocketAccess` implements it; this package does not know how clients
authenticate.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from gateway.errors import LiveedgeError

OnRevoke = Callable[[LiveedgeError], None]
"""Called with the reason when the access is revoked; once, at most."""

Unsubscribe = Callable[[], None]
"""Removes a callback. A second call does nothing."""


class ClientAccess(Protocol):
    """See the module."""

    @property
    def counted_as(self) -> str | None:
        """Whom limits count this client for; ``None``: its network."""

    @property
    def is_limited(self) -> bool:
        """Whether limits apply to it. They do not to an administrator."""

    def authorize(self, event: str, camera_id: str | None) -> None:
        """Check that the client may send an event about a camera; ``None`` is any camera.

        Raises ``ForbiddenError`` or ``UnauthorizedError``.
        """

    def may_view(self, camera_id: str) -> bool:
        """Whether the client may see a camera and its status."""

    def on_revoke(self, callback: OnRevoke, event: str | None = None, camera_id: str | None = None) -> Unsubscribe:
        """Call ``callback`` once the client may no longer send ``event`` about a camera.

        Without an event: once it may no longer be connected.
        """


Authenticate = Callable[[web.Request, object], Awaitable[ClientAccess]]
"""Authenticates a connection by its request and by the ``auth`` of Socket.IO. Raises ``UnauthorizedError``."""


class _Unrestricted:
    """Allows everything and is never revoked. Limits apply."""

    counted_as: str | None = None
    is_limited = True

    def authorize(self, event: str, camera_id: str | None) -> None:
        return

    def may_view(self, camera_id: str) -> bool:
        return True

    def on_revoke(self, callback: OnRevoke, event: str | None = None, camera_id: str | None = None) -> Unsubscribe:
        return lambda: None


UNRESTRICTED: ClientAccess = _Unrestricted()
"""For the EMS, and for a server without authentication."""
