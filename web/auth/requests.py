"""The authenticated request: its session, and what its sender may do.

:class:`~web.auth.authenticator.Authenticator` sets the session. In an application without it every request is
unrestricted.
"""

from aiohttp import web

from gateway.access import Scope
from web.auth.grant import UNRESTRICTED, Grant, Span
from web.auth.policy import Rule
from web.auth.sessions import AuthSession
from web.auth.target import PARAMETER

SESSION = web.RequestKey("auth_session", AuthSession)
RULE = web.RequestKey("auth_rule", Rule)
"""The row of the access table for this request; not set for public routes."""


def grant_of(request: web.Request) -> Grant:
    """What the sender of a request may do."""
    session = request.get(SESSION)
    return session.grant if session is not None else UNRESTRICTED


def is_signed_in(request: web.Request) -> bool:
    """Whether the sender signed in, and has no token."""
    session = request.get(SESSION)
    return session is not None and session.credential.is_cookie


def may_view(request: web.Request, camera_id: str) -> bool:
    """Whether the answer may contain a camera."""
    return grant_of(request).may(Scope.VIEW, camera_id)


def token_query(request: web.Request) -> str:
    """The query that every URL in the answer needs, so that it can be fetched as this one was: ``token=…`` or empty."""
    session = request.get(SESSION)
    return f"{PARAMETER}={session.credential.token}" if session is not None and session.credential.target else ""


def span_of(request: web.Request) -> Span | None:
    """The only span of recordings that the answer may show; ``None``: no limit."""
    return grant_of(request).span


class CredentialNote:
    """A connection that wants to know whether the request on it has shown a credential.

    :class:`web.middleware.connection.HttpConnection` is one. No limit may keep others out for a request without one.
    """

    lacks_credential = False


def credential_note(request: web.Request) -> CredentialNote:
    """The connection of a request; of another server's connection, a note that nobody reads."""
    connection = request.transport.get_protocol() if request.transport is not None else None
    return connection if isinstance(connection, CredentialNote) else CredentialNote()
