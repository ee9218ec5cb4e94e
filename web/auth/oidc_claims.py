"""What an ID token says: verified (OpenID Connect Core 1.0 §3.1.3.7), and the grant of its roles. Without I/O."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import jwt
from jwt.exceptions import ImmatureSignatureError, PyJWTError

from gateway.errors import LiveedgeError
from web.auth.grant import USER_NAME, Grant
from web.auth.jwt import LEEWAY_S
from web.auth.oidc_settings import OidcSettings
from web.auth.roles import SCOPES, Role


class SignInError(LiveedgeError):
    """A sign-in failed. ``reason`` is what the page shows a sentence for; the text is for the log."""

    status = 401

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def verified_claims(
    token: str, key: Any, algorithm: str, *, issuer: str, client_id: str, nonce: str
) -> Mapping[str, Any]:
    """The claims of an ID token. Raises :class:`SignInError`. Clocks may differ by :data:`~web.auth.jwt.LEEWAY_S`."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=client_id,
            issuer=issuer,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iat", "iss", "sub", "aud"]},
        )
    except (ImmatureSignatureError, jwt.ExpiredSignatureError) as error:
        raise SignInError("clock", f"the ID token is not valid now ({error}): compare the clocks (NTP)") from None
    except (PyJWTError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise SignInError("provider", f"the ID token is not valid: {error}") from None
    audience, party = claims["aud"], claims.get("azp")
    if (party is not None or (isinstance(audience, list) and len(audience) > 1)) and party != client_id:
        raise SignInError("provider", "the ID token was made for another client (azp)")
    sent = claims.get("nonce")
    if not isinstance(sent, str) or not hmac.compare_digest(sent.encode(), nonce.encode()):
        raise SignInError("provider", "the ID token was made for another sign-in (nonce)")
    if not isinstance(claims["sub"], str) or not claims["sub"]:
        raise SignInError("provider", "the ID token names nobody (sub)")
    return claims


def role_names(claims: Mapping[str, Any], path: str) -> list[str] | None:
    """The values of the claim at a path with dots; ``None`` without it. A name with dots is a claim, too."""
    value: Any = claims.get(path)
    if value is None:
        value = claims
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list):
        return [each for each in value if isinstance(each, str)]
    return None


def grant_of_claims(claims: Mapping[str, Any], settings: OidcSettings, ends_at_s: float) -> Grant:
    """The grant of a user, until ``ends_at_s``. Raises :class:`SignInError` for one without a role.

    Of several roles the first one counts, in the order of the settings: cameras of one role must not get the scopes of
    another.
    """
    names = set(role_names(claims, settings.oidc_roles_claim) or ())
    subject = hashlib.sha256(repr((claims["iss"], claims["sub"])).encode(errors="surrogateescape")).hexdigest()
    name = f"{USER_NAME} {display_name(claims)[:64]!r}"
    if settings.oidc.roles:
        for role_name, table in settings.oidc.roles.items():
            if role_name in names:
                cameras = None if table.cameras is None else frozenset(table.cameras)
                return Grant(name, table.granted, cameras, ends_at_s, subject=subject)
    else:
        for role in reversed(Role):
            if role.value in names:
                return Grant(name, SCOPES[role], None, ends_at_s, subject=subject)
    raise SignInError("role", f"{name} has no role here: {settings.oidc_roles_claim} is {sorted(names)}"[:300])


def display_name(claims: Mapping[str, Any]) -> str:
    """What people call the user."""
    for claim in ("preferred_username", "email", "name", "sub"):
        if isinstance(value := claims.get(claim), str) and value:
            return value
    return ""
