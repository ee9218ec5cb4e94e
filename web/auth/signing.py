"""Signed URLs: ``?token=`` for what cannot send headers (``<video>``, ``<img>``, ffplay, a link in a mail).

The token is a JWT that the gateway signs with a key of its own. It only reads, and it says what: the family of routes,
the camera, the file, the span of time, the query (:class:`~web.auth.target.Target`). It opens that, or for a playlist
that and what the playlist refers to. It expires no later than the grant that it was made with. It ends with the
credential that it was made with: when a static token is removed or replaced, and for JWTs and people who signed in when
the settings that verify them change. One that shows live video ends with its camera (:mod:`web.auth.camera_marks`). And
one ends alone when its id is revoked (:mod:`web.auth.issued_links`).
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jwt
from jwt.exceptions import PyJWTError

from gateway.access import Scope
from gateway.clock import Clock
from gateway.errors import ForbiddenError, UnauthorizedError
from web.auth.grant import JWT_NAME, USER_NAME, ExpiredError, Grant, Span
from web.auth.issued_links import new_link_id
from web.auth.known_tokens import KnownTokens
from web.auth.policy import REFERS, Family
from web.auth.settings import AuthSettings
from web.auth.target import Target

ALGORITHM = "HS256"
AUDIENCE = "liveedge-url"

TOKEN_MAX_CHARS = 4096

FINGERPRINT_CHARS = 16

DECODED_MAX = 1024
"""Tokens whose signature was verified already, and is not verified again."""

REVOKED = "this signed URL was revoked; ask its sender for another one"

ENDED = "this signed URL has ended; ask POST /api/sign for a new one"


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """``token`` goes into the query; it is valid until ``expires_at_s`` (Unix seconds). ``id`` is in the token."""

    token: str
    expires_at_s: int
    id: str


class UrlSigner:
    """See the module. ``kept_key`` is used if ``AUTH_SIGNING_KEY`` is not set.

    ``mark_of`` is that of :class:`~web.auth.camera_marks.CameraMarks`. ``is_revoked`` says it of the id of a URL.
    """

    def __init__(
        self,
        settings: AuthSettings,
        tokens: KnownTokens,
        clock: Clock,
        kept_key: str,
        mark_of: Callable[[str], str],
        is_revoked: Callable[[object], bool],
    ) -> None:
        key = settings.auth_signing_key
        self.key = key.get_secret_value() if key is not None else kept_key
        self._jwt_fingerprint = self._fingerprint(_jwt_settings(settings))
        self._oidc_fingerprint = self._fingerprint(repr((settings.oidc_issuer, settings.oidc_client_id)).encode())
        self._tokens = tokens
        self._clock = clock
        self._mark_of = mark_of
        self._is_revoked = is_revoked
        self.lifetime_s = settings.auth_url_lifetime
        # A player sends its token with every part. A signature that was valid once stays valid.
        self._decode = lru_cache(maxsize=DECODED_MAX)(self._verify_signature)

    def sign(self, grant: Grant, target: Target, lifetime_s: int | None = None, redeemed_s: int = 0) -> SignedUrl:
        """Make a token for a target. That of an offer has to be sent within ``redeemed_s``.

        Raises :class:`~gateway.errors.ForbiddenError` if the grant does not allow it.
        """
        for camera_id in target.cameras:
            grant.require(target.scope, camera_id)
        expires_at_s = self._now_s() + min(lifetime_s or self.lifetime_s, self.lifetime_s)
        if grant.expires_at_s is not None:
            expires_at_s = min(expires_at_s, grant.expires_at_s)
        link_id = new_link_id()
        claims = {
            "aud": AUDIENCE,
            "jti": link_id,
            "n": grant.name,
            "m": self._fingerprint_of(grant.name),
            "exp": int(expires_at_s),
            **_claims_of(target),
        }
        if mark := self._live_mark(target):
            claims["i"] = mark
        if target.family is Family.WHEP:
            # The viewer is changed and ended with the credential itself, by the same owner.
            claims["r"] = int(self._now_s()) + redeemed_s
            claims["u"] = grant.subject
            claims["t"] = grant.may(Scope.TALK, target.camera_id)
        return SignedUrl(jwt.encode(claims, self.key, ALGORITHM), int(expires_at_s), link_id)

    def is_redeemable(self, token: str, target: Target | None = None) -> bool:
        """Whether an offer may be sent with a token now, to a target. What it has opened lasts as long as the grant.

        Without authentication, no other credential is verified: the token says that another node allowed the page.
        """
        if len(token) > TOKEN_MAX_CHARS:
            return False
        try:
            claims = self._decode(token)
            is_for = target is None or _target_of(claims) == target
            return is_for and self._now_s() < float(claims.get("r", 0))
        except (PyJWTError, KeyError, TypeError, ValueError):
            return False

    def verify(self, token: str, asked: Target) -> Grant | None:
        """The grant of a token for the target of a request; ``None`` if the token was not signed here.

        Raises :class:`~gateway.errors.UnauthorizedError` for a token that has ended or was made for another URL, and
        :class:`~gateway.errors.ForbiddenError` for something that a playlist's token does not open.
        """
        if len(token) > TOKEN_MAX_CHARS:
            return None
        try:
            claims = self._decode(token)
        except PyJWTError:
            return None
        try:
            name, expires_at_s, target = claims["n"], claims["exp"], _target_of(claims)
        except (KeyError, TypeError, ValueError):
            # Signed by an earlier version, which did not name a family and opened too much.
            raise UnauthorizedError(ENDED, is_invalid=True).because("link_ended") from None
        if self._is_revoked(claims.get("jti")):
            raise UnauthorizedError(REVOKED, is_invalid=True).because("link_revoked")
        issuer = self._tokens.named(name)
        is_revoked = not name.startswith((JWT_NAME, USER_NAME)) and (
            issuer is None or not all(issuer.may(target.scope, camera_id) for camera_id in target.cameras)
        )
        is_other_camera = claims.get("i", "") != self._live_mark(target)
        if is_revoked or is_other_camera or claims.get("m") != self._fingerprint_of(name):
            raise UnauthorizedError(ENDED, is_invalid=True).because("link_ended")
        if self._now_s() >= expires_at_s:
            raise ExpiredError(ENDED).because("link_ended")
        if not target.opens(asked):
            if target.family in REFERS:
                raise ForbiddenError(
                    "this token opens one playlist and what that refers to, and this is not part of it"
                )
            raise UnauthorizedError("this token was signed for another URL", is_invalid=True)
        span = target.span if target.family is Family.DVR else None
        scopes = {target.scope, Scope.TALK} if claims.get("t") is True else {target.scope}
        return Grant(name, frozenset(scopes), target.cameras, expires_at_s, span, str(claims.get("u", "")))

    def _live_mark(self, target: Target) -> str:
        """Tells the camera of a target that shows live video from a later one of the same id."""
        return self._mark_of(target.camera_id) if target.is_live else ""

    def _fingerprint_of(self, name: str) -> str | None:
        """Tells the credential of a name from a later one of the same name."""
        if name.startswith(JWT_NAME):
            return self._jwt_fingerprint
        if name.startswith(USER_NAME):
            return self._oidc_fingerprint
        digest = self._tokens.digest_of(name)
        return None if digest is None else self._fingerprint(digest)

    def _fingerprint(self, secret: bytes) -> str:
        # Keyed, so that the holder of a signed URL cannot test guesses of the token against it.
        return hmac.digest(self.key.encode(), secret, "sha256").hex()[:FINGERPRINT_CHARS]

    def _verify_signature(self, token: str) -> dict[str, Any]:
        # The result is cached, and so without exp, which PyJWT could check only now.
        return jwt.decode(token, self.key, algorithms=[ALGORITHM], audience=AUDIENCE, options={"verify_exp": False})

    def _now_s(self) -> float:
        return self._clock.wall_90k() / 90_000


def _claims_of(target: Target) -> dict[str, Any]:
    claims = {"f": target.family.value, "s": target.scope.value, "c": target.camera_id}
    optional = {
        "o": target.name or None,
        "b": target.span.start_90k if target.span is not None else None,
        "e": target.span.end_90k if target.span is not None else None,
        "q": target.rest or None,
    }
    return claims | {name: value for name, value in optional.items() if value is not None}


def _target_of(claims: dict[str, Any]) -> Target:
    """The inverse of :func:`_claims_of`. Raises ``KeyError`` and ``ValueError``."""
    span = Span(claims["b"], claims.get("e")) if "b" in claims else None
    return Target(Family(claims["f"]), Scope(claims["s"]), claims["c"], claims.get("o", ""), span, claims.get("q", ""))


def _jwt_settings(settings: AuthSettings) -> bytes:
    secret = settings.auth_jwt_secret
    values = (settings.auth_jwks_url, settings.auth_jwt_audience, settings.auth_jwt_issuer)
    return repr((secret.get_secret_value() if secret is not None else None, *values)).encode()
