"""Signed URLs: ``?token=`` for what cannot send headers (``<video>``, ``<img>``, ffplay, a link in a mail).

The token is a JWT that the gateway signs with a key of its own. It grants one scope over one camera until one time, and
only reads. It is valid for exactly one URL, query included, or for everything that a playlist refers to (the camera's
media in that scope). It expires no later than the grant that it was made with. It ends with the credential that it was
made with: when a static token is removed or replaced, and for JWTs when the settings that verify them change.
"""

import hmac
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jwt
from jwt.exceptions import PyJWTError

from gateway.access import Scope
from gateway.clock import Clock
from gateway.errors import UnauthorizedError
from web.auth.grant import JWT_NAME, ExpiredError, Grant
from web.auth.settings import AuthSettings
from web.auth.tokens import StaticTokens

PARAMETER = "token"

ALGORITHM = "HS256"
AUDIENCE = "liveedge-url"
TOKEN_MAX_CHARS = 4096

FINGERPRINT_CHARS = 16

DECODED_MAX = 1024
"""Tokens whose signature was verified already, and is not verified again."""


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """``token`` goes into the query; it is valid until ``expires_at_s`` (Unix seconds)."""

    token: str
    expires_at_s: int


class UrlSigner:
    """See the module. ``kept_key`` is used if ``AUTH_SIGNING_KEY`` is not set."""

    def __init__(self, settings: AuthSettings, tokens: StaticTokens, clock: Clock, kept_key: str) -> None:
        key = settings.auth_signing_key
        self._key = key.get_secret_value() if key is not None else kept_key
        self._jwt_fingerprint = self._fingerprint(_jwt_settings(settings))
        self._tokens = tokens
        self._clock = clock
        self.lifetime_s = settings.auth_url_lifetime
        # A player sends its token with every part. A signature that was valid once stays valid.
        self._decode = lru_cache(maxsize=DECODED_MAX)(self._verify_signature)

    def sign(
        self, grant: Grant, scope: Scope, camera_id: str, url: str | None, lifetime_s: int | None = None
    ) -> SignedUrl:
        """Make a token for one ``url``, or for all media of the camera in ``scope`` if ``url`` is ``None``.

        Raises :class:`~gateway.errors.ForbiddenError` if the grant does not allow that.
        """
        grant.require(scope, camera_id)
        expires_at_s = self._now_s() + min(lifetime_s or self.lifetime_s, self.lifetime_s)
        if grant.expires_at_s is not None:
            expires_at_s = min(expires_at_s, grant.expires_at_s)
        claims = {
            "aud": AUDIENCE,
            "n": grant.name,
            "m": self._fingerprint_of(grant.name),
            "s": scope.value,
            "c": camera_id,
            "exp": int(expires_at_s),
        }
        if url is not None:
            claims["a"] = canonical(url)
        return SignedUrl(jwt.encode(claims, self._key, ALGORITHM), int(expires_at_s))

    def verify(self, token: str, url: str) -> Grant | None:
        """The grant of a token for ``url`` (path and query as they came, with this token); ``None`` if it
        was not signed here.

        Raises :class:`~gateway.errors.UnauthorizedError` for a token that has ended, or was made for another URL.
        """
        if len(token) > TOKEN_MAX_CHARS:
            return None
        try:
            claims = self._decode(token)
        except PyJWTError:
            return None
        name, scope, camera_id = claims["n"], Scope(claims["s"]), claims["c"]
        issuer = self._tokens.named(name)
        is_revoked = not name.startswith(JWT_NAME) and (issuer is None or not issuer.may(scope, camera_id))
        ended = "this signed URL has ended; ask POST /api/sign for a new one"
        if is_revoked or claims.get("m") != self._fingerprint_of(name):
            raise UnauthorizedError(ended, is_invalid=True)
        if self._now_s() >= claims["exp"]:
            raise ExpiredError(ended)
        if "a" in claims and claims["a"] != canonical(url):
            raise UnauthorizedError("this token was signed for another URL", is_invalid=True)
        return Grant(name, frozenset({scope}), frozenset({camera_id}), claims["exp"])

    def _fingerprint_of(self, name: str) -> str | None:
        """Tells the credential of a name from a later one of the same name."""
        if name.startswith(JWT_NAME):
            return self._jwt_fingerprint
        digest = self._tokens.digest_of(name)
        return None if digest is None else self._fingerprint(digest)

    def _fingerprint(self, secret: bytes) -> str:
        # Keyed, so that the holder of a signed URL cannot test guesses of the token against it.
        return hmac.digest(self._key.encode(), secret, "sha256").hex()[:FINGERPRINT_CHARS]

    def _verify_signature(self, token: str) -> dict[str, Any]:
        # The result is cached, and so without exp, which PyJWT could check only now.
        return jwt.decode(token, self._key, algorithms=[ALGORITHM], audience=AUDIENCE, options={"verify_exp": False})

    def _now_s(self) -> float:
        return self._clock.wall_90k() / 90_000


def _jwt_settings(settings: AuthSettings) -> bytes:
    secret = settings.auth_jwt_secret
    values = (settings.auth_jwks_url, settings.auth_jwt_audience, settings.auth_jwt_issuer)
    return repr((secret.get_secret_value() if secret is not None else None, *values)).encode()


def canonical(url: str) -> str:
    """A URL without its token, with its query sorted."""
    path, _, query = url.partition("?")
    pairs = sorted(pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != PARAMETER)
    return f"{path}?{urlencode(pairs)}" if pairs else path
