"""RtspAccess: the tokens as the RTSP server uses them: the password is a token, the user its name or anything else.

``AUTH_TOKEN`` has the name ``admin``. A JWT is a password, too.
"""

from collections.abc import Callable, Sequence
from typing import NoReturn

from gateway.access import Scope
from gateway.errors import LiveedgeError, UnauthorizedError
from web.auth.authenticator import Authenticator
from web.auth.grant import Grant
from web.auth.sessions import AuthSession
from web.auth.settings import AuthSettings
from web.auth.tokens import ADMIN_NAME


class RtspClientAccess:
    """Implements :class:`gateway.rtsp_server.access.ClientAccess`."""

    def __init__(self, session: AuthSession) -> None:
        self._session = session

    def require_view(self, camera_id: str) -> None:
        """Raise ``ForbiddenError`` unless it may watch the camera."""
        self._session.grant.require(Scope.VIEW, camera_id)

    def require_publish(self, camera_id: str) -> None:
        """Raise ``ForbiddenError`` unless it may publish the camera."""
        self._session.grant.require(Scope.PUBLISH, camera_id)

    def on_revoke(
        self, callback: Callable[[LiveedgeError], None], camera_id: str, *, publishes: bool = False
    ) -> Callable[[], None]:
        """Call ``callback`` once it may not do that any more. Returns a function that ends this."""

        def require(grant: Grant) -> None:
            grant.require(Scope.PUBLISH if publishes else Scope.VIEW, camera_id)

        return self._session.on_revoke(callback, require=require)


class RtspAccess:
    """Implements :class:`gateway.rtsp_server.access.Access`."""

    def __init__(self, authenticator: Authenticator, settings: AuthSettings) -> None:
        self._authenticator = authenticator
        self.reload(settings)

    def reload(self, settings: AuthSettings) -> None:
        """Use other tokens from now on."""
        tables = {name: table.token for name, table in settings.auth.tokens.items()}
        secrets = {ADMIN_NAME: settings.auth_token, **tables} if settings.auth_token is not None else tables
        self._tokens = {name: secret.get_secret_value() for name, secret in secrets.items() if secret is not None}

    @property
    def is_required(self) -> bool:
        """Whether clients need credentials."""
        return self._authenticator.is_enabled

    def digest_tokens(self, user: str) -> Sequence[str]:
        """The tokens that a user may prove by Digest: the one with that name, or else all."""
        named = self._tokens.get(user)
        return tuple(self._tokens.values()) if named is None else (named,)

    async def anonymous(self, address: str) -> RtspClientAccess:
        """The access of a client without credentials."""
        return RtspClientAccess(await self._authenticator.authenticate(None, address))

    async def by_token(self, token: str, address: str) -> RtspClientAccess:
        """The access of a client that sent a token."""
        return RtspClientAccess(await self._authenticator.authenticate(token, address))

    async def refuse(self, proof: str, address: str) -> NoReturn:
        """Refuse a client whose ``proof`` by Digest is no token's. Raises ``UnauthorizedError``, after a delay."""
        await self._authenticator.rate_limiter.delay_failure(address, f"digest {proof}")
        raise UnauthorizedError("the password is not a token of this gateway", is_invalid=True)
