"""JWT: bearer tokens that somebody else issues (RFC 7519), with PyJWT.

Rules:

1. The algorithm picks the kind of key and not the other way round: HS256 is checked with ``AUTH_JWT_SECRET`` alone,
   RS256 and ES256 with the keys of ``AUTH_JWKS_URL`` alone. Nothing else is accepted (RFC 8725 §3.1).
2. A token has an end (``exp``); ``aud`` and ``iss`` are checked where they are configured.
3. Scopes are in ``scope`` (words, RFC 8693 §4.2) or ``scopes`` (a list), cameras in ``cameras`` (a list; without it,
   all). Words that are no scopes of ours are somebody else's and passed over.
"""

import logging
from typing import Any

import jwt
from jwt.exceptions import PyJWTError

from gateway.access import Scope
from gateway.clock import Clock
from gateway.errors import SettingsError
from web.auth.grant import JWT_NAME, ExpiredError, Grant
from web.auth.jwks import Jwks
from web.auth.settings import AuthSettings

log = logging.getLogger(__name__)

LEEWAY_S = 30.0
"""How far the issuer's clock may be from ours."""

TOKEN_MAX_CHARS = 8 * 1024
"""As much as fits a header; a token with a signature and some claims has one."""

SECRET_ALGORITHM = "HS256"  # noqa: S105
KEY_ALGORITHMS = ("RS256", "ES256")

_SCOPES = {scope.value: scope for scope in Scope}


class JwtVerifier:
    """See the module. Raises :class:`~gateway.errors.SettingsError`."""

    def __init__(self, settings: AuthSettings, clock: Clock) -> None:
        self._clock = clock
        self._secret = settings.auth_jwt_secret.get_secret_value() if settings.auth_jwt_secret else None
        self._audience = settings.auth_jwt_audience
        self._issuer = settings.auth_jwt_issuer
        self._jwks = Jwks(settings.auth_jwks_url, clock) if settings.auth_jwks_url else None
        if self._jwks is not None and self._audience is None:
            raise SettingsError(
                "AUTH_JWKS_URL is set without AUTH_JWT_AUDIENCE: name the audience, or a token that the issuer made for"
                " another service would open this one"
            )

    async def verify(self, token: str) -> Grant | None:
        """The grant of a token; ``None`` for what is none of ours, be it no JWT at all.

        Raises :class:`~web.auth.grant.ExpiredError` for one that has expired, and
        :class:`~gateway.errors.UnavailableError` while the issuer's keys cannot be had.
        """
        if (self._secret is None and self._jwks is None) or token.count(".") != 2 or len(token) > TOKEN_MAX_CHARS:
            return None
        try:
            header = jwt.get_unverified_header(token)
            algorithm: str = header["alg"]
            key: Any = None
            if algorithm == SECRET_ALGORITHM:
                key = self._secret
            elif algorithm in KEY_ALGORITHMS and self._jwks is not None:
                key = await self._jwks.key(header.get("kid"), algorithm)
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                options={
                    "require": ["exp"],
                    # Time is checked below, by our own clock.
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": self._audience is not None,
                },
            )
        except PyJWTError as error:
            log.debug("a JWT is refused: %s", error)
            return None
        return self._grant(claims)

    async def close(self) -> None:
        """End a look at the issuer's keys."""
        if self._jwks is not None:
            await self._jwks.close()

    def _grant(self, claims: dict[str, Any]) -> Grant | None:
        expires_at_s, begins_at_s = claims["exp"], claims.get("nbf", 0)
        cameras = claims.get("cameras")
        is_list = isinstance(cameras, list) and all(isinstance(each, str) for each in cameras)
        if not _is_time(expires_at_s) or not _is_time(begins_at_s) or not (cameras is None or is_list):
            return None
        now_s = self._clock.wall_90k() / 90_000
        if now_s >= expires_at_s + LEEWAY_S or now_s < begins_at_s - LEEWAY_S:
            raise ExpiredError("this token has expired; get another where this one came from")
        words = claims.get("scopes", claims.get("scope", ""))
        words = words.split() if isinstance(words, str) else words
        known = {_SCOPES.get(word) for word in words if isinstance(word, str)} if isinstance(words, list) else set()
        scopes = frozenset(scope for scope in known if scope is not None)
        subject = claims.get("sub")
        name = f"{JWT_NAME} {subject[:64]!r}" if isinstance(subject, str) else JWT_NAME
        return Grant(name, scopes, None if cameras is None else frozenset(cameras), expires_at_s + LEEWAY_S)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 40
