"""Signed URLs: ``?token=`` for what cannot send headers (``<video>``, ``<img>``, ffplay, a link in a mail).

A signed URL is a JWT of our own, under a key of its own: one scope, one camera, one end; reading only. It is either
good for exactly one address, query included, or for all that a playlist leads to (the camera's media in that scope).
It never outlives the grant that it was made by, and ends with the token that it was made by: when a static one is taken
back or replaced, and for JWT when what they are checked by is set otherwise.
"""

import hmac
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jwt
from jwt.exceptions import PyJWTError

from gateway.access import AccessSettings, Scope
from gateway.clock import Clock
from gateway.errors import UnauthorizedError
from web.auth.grant import JWT_NAME, ExpiredError, Grant
from web.auth.tokens import StaticTokens

PARAMETER = "token"

ALGORITHM = "HS256"
AUDIENCE = "liveedge-url"
TOKEN_MAX_CHARS = 4096

MARK_CHARS = 16

DECODED_MAX = 1024
"""Tokens whose signature was checked already: the viewers of a while."""


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """``token`` goes into the query; it is good until ``expires_at_s`` (Unix seconds)."""

    token: str
    expires_at_s: int


class UrlSigner:
    """See the module. ``kept_key`` is used where none is configured."""

    def __init__(self, settings: AccessSettings, tokens: StaticTokens, clock: Clock, kept_key: str) -> None:
        key = settings.auth_signing_key
        self._key = key.get_secret_value() if key is not None else kept_key
        self._jwt_mark = self._mark(_jwt_settings(settings))
        self._tokens = tokens
        self._clock = clock
        self.lifetime_s = settings.auth_url_lifetime
        # A player brings its token with every part: what was signed by us once stays so, until its end.
        self._decode = lru_cache(maxsize=DECODED_MAX)(self._decode_anew)

    def sign(
        self, grant: Grant, scope: Scope, camera_id: str, address: str | None, lifetime_s: int | None = None
    ) -> SignedUrl:
        """Make a token. ``address`` is the one that it is good for, or ``None`` for the camera's media in ``scope``.

        Raises :class:`~gateway.errors.ForbiddenError` where the grant does not go so far.
        """
        grant.require(scope, camera_id)
        expires_at_s = self._now_s() + min(lifetime_s or self.lifetime_s, self.lifetime_s)
        if grant.expires_at_s is not None:
            expires_at_s = min(expires_at_s, grant.expires_at_s)
        claims = {
            "aud": AUDIENCE,
            "n": grant.name,
            "m": self._mark_of(grant.name),
            "s": scope.value,
            "c": camera_id,
            "exp": int(expires_at_s),
        }
        if address is not None:
            claims["a"] = canonical(address)
        return SignedUrl(jwt.encode(claims, self._key, ALGORITHM), int(expires_at_s))

    def verify(self, token: str, address: str) -> Grant | None:
        """The grant of a token for ``address`` (path and query as they came, this token among it).

        Raises :class:`~gateway.errors.UnauthorizedError` for one that is over.
        """
        if len(token) > TOKEN_MAX_CHARS:
            return None
        try:
            claims = self._decode(token)
        except PyJWTError:
            return None
        name, scope, camera_id = claims["n"], Scope(claims["s"]), claims["c"]
        issuer = self._tokens.named(name)
        is_short = not name.startswith(JWT_NAME) and (issuer is None or not issuer.may(scope, camera_id))
        over = "this signed URL is over; ask POST /api/sign for another"
        if is_short or claims.get("m") != self._mark_of(name):
            raise UnauthorizedError(over, is_invalid=True)
        if self._now_s() >= claims["exp"]:
            raise ExpiredError(over)
        if "a" in claims and claims["a"] != canonical(address):
            raise UnauthorizedError("this URL was signed for another address", is_invalid=True)
        return Grant(name, frozenset({scope}), frozenset({camera_id}), claims["exp"])

    def _mark_of(self, name: str) -> str | None:
        """What tells the token of a name from the next one of that name."""
        if name.startswith(JWT_NAME):
            return self._jwt_mark
        digest = self._tokens.digest_of(name)
        return None if digest is None else self._mark(digest)

    def _mark(self, secret: bytes) -> str:
        # By our key, since whoever has a signed URL must not be able to try tokens on it.
        return hmac.digest(self._key.encode(), secret, "sha256").hex()[:MARK_CHARS]

    def _decode_anew(self, token: str) -> dict[str, Any]:
        return jwt.decode(token, self._key, algorithms=[ALGORITHM], audience=AUDIENCE, options={"verify_exp": False})

    def _now_s(self) -> float:
        return self._clock.wall_90k() / 90_000


def _jwt_settings(settings: AccessSettings) -> bytes:
    secret = settings.auth_jwt_secret
    values = (settings.auth_jwks_url, settings.auth_jwt_audience, settings.auth_jwt_issuer)
    return repr((secret.get_secret_value() if secret is not None else None, *values)).encode()


def canonical(address: str) -> str:
    """An address without its token, with its query in order."""
    path, _, query = address.partition("?")
    pairs = sorted(pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != PARAMETER)
    return f"{path}?{urlencode(pairs)}" if pairs else path
