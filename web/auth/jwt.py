"""JWT: bearer tokens that another service issues (RFC 7519), verified by PyJWT.

Rules:

1. The algorithm selects the kind of key: HS256 is verified with ``AUTH_JWT_SECRET`` alone, RS256 and ES256 with the
   keys of ``AUTH_JWKS_URL`` alone. No other algorithm is accepted (RFC 8725 §3.1).
2. ``exp`` is required. PyJWT checks ``exp``, ``nbf`` and ``iat`` by the system clock; it accepts no other clock. It
   checks ``aud`` and ``iss`` if they are configured.
3. Scopes are in ``scope`` (words, RFC 8693 §4.2) or ``scopes`` (a list), cameras in ``cameras`` (a list; without it,
   all). Unknown scopes belong to other services and are ignored.
"""

import hashlib
import logging
from typing import Any

import jwt
from jwt.exceptions import ExpiredSignatureError, ImmatureSignatureError, PyJWTError

from gateway.access import Scope
from gateway.clock import Clock
from gateway.errors import SettingsError, UnauthorizedError
from web.auth.grant import JWT_NAME, ExpiredError, Grant
from web.auth.jwks import Jwks
from web.auth.settings import AuthSettings

log = logging.getLogger(__name__)

LEEWAY_S = 30.0
"""How much the issuer's clock may differ from ours."""

TOKEN_MAX_CHARS = 8 * 1024
"""As much as fits into a request header."""

TIME_MAX_S = 253_402_300_799
"""The end of the year 9999: a later ``exp`` cannot be shown as RFC 3339."""

SECRET_ALGORITHM = "HS256"  # noqa: S105
KEY_ALGORITHMS = ("RS256", "ES256")

_SCOPES = {scope.value: scope for scope in Scope}


class JwtVerifier:
    """See the module. Raises :class:`~gateway.errors.SettingsError`."""

    def __init__(self, settings: AuthSettings, clock: Clock) -> None:
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
        """The grant of a token; ``None`` for a token that is not valid here, or is not a JWT.

        Raises :class:`~web.auth.grant.ExpiredError`, ``UnauthorizedError`` for a token that is not valid yet, and
        :class:`~gateway.errors.UnavailableError` while the issuer's keys cannot be fetched.
        """
        if (self._secret is None and self._jwks is None) or token.count(".") != 2 or len(token) > TOKEN_MAX_CHARS:
            return None
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg", "")
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
                leeway=LEEWAY_S,
                options={"require": ["exp"], "verify_aud": self._audience is not None},
            )
        except ExpiredSignatureError:
            raise ExpiredError("this token has expired; get a new one from its issuer") from None
        except ImmatureSignatureError:
            raise UnauthorizedError(
                "this token is not valid yet: its nbf or iat is in the future by the gateway's clock; if it was just"
                " made, compare the clocks of the gateway and of its issuer (NTP)",
                is_invalid=True,
            ) from None
        except (PyJWTError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            # PyJWT raises the others for some headers and claims of the wrong type, or out of range.
            log.debug("a JWT is refused: %s", error)
            return None
        return self._grant(token, algorithm, claims)

    async def close(self) -> None:
        """Cancel a fetch of the issuer's keys."""
        if self._jwks is not None:
            await self._jwks.close()

    @staticmethod
    def _grant(token: str, algorithm: str, claims: dict[str, Any]) -> Grant | None:
        cameras = claims.get("cameras")
        is_list = isinstance(cameras, list) and all(isinstance(each, str) for each in cameras)
        if not (cameras is None or is_list):
            return None
        names = claims.get("scopes", claims.get("scope", ""))
        names = names.split() if isinstance(names, str) else names
        known = {_SCOPES.get(name) for name in names if isinstance(name, str)} if isinstance(names, list) else set()
        scopes = frozenset(scope for scope in known if scope is not None)
        subject = claims.get("sub")
        name = f"{JWT_NAME} {subject[:64]!r}" if isinstance(subject, str) else JWT_NAME
        # The issuer may write any integer: a float of it could overflow.
        expires_at_s = min(int(claims["exp"]), TIME_MAX_S) + LEEWAY_S
        owner = _owner(token, algorithm, claims)
        return Grant(
            name, scopes, None if cameras is None else frozenset(cameras), min(expires_at_s, TIME_MAX_S), subject=owner
        )


def _owner(token: str, algorithm: str, claims: dict[str, Any]) -> str:
    """Tells subjects apart: ``sub`` is unique only for its issuer (RFC 7519 §4.1.2); without it, a token is its own."""
    subject = claims.get("sub")
    who = [algorithm == SECRET_ALGORITHM, claims.get("iss"), subject] if isinstance(subject, str) else token
    return hashlib.sha256(repr(who).encode(errors="surrogateescape")).hexdigest()
