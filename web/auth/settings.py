"""The settings of authentication: tokens, JWT and signed URLs."""

import hashlib
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from gateway.access import Scope
from gateway.config.field import Applies, Url, setting
from web.auth.oidc_settings import OidcSettings

TOKEN_MIN_CHARS = 16
"""Shorter tokens can be guessed, however slowly."""

JWT_SECRET_MIN_BYTES = 32
"""RFC 7518 §3.2: a key for HS256 is no shorter than its hash."""

Secret = Annotated[SecretStr, Field(min_length=TOKEN_MIN_CHARS)]


class TokenTable(BaseModel):
    """``[auth.tokens.NAME]``: one bearer token, as text or as its SHA-256, and its rights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: Secret | None = None
    token_sha256: str | None = Field(None, pattern="^[0-9a-fA-F]{64}$")
    scopes: list[Scope] = Field(min_length=1)
    cameras: list[str] | None = Field(None, description="None means all of them")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.token is None) == (self.token_sha256 is None):
            raise ValueError("set either token or token_sha256")
        return self


class AuthTables(BaseModel):
    """``[auth]`` of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: dict[str, TokenTable] = Field(default_factory=dict)


class AuthSettings(OidcSettings):
    """Who may use the gateway."""

    title: ClassVar[str] = "Authentication"

    auth: AuthTables = setting(
        AuthTables(),
        help="the tables `[auth.tokens.NAME]`: bearer tokens with scopes and cameras, see [security](security.md)",
        applies=Applies.LIVE,
    )
    auth_token: Secret | None = setting(
        None,
        example="at-least-16-characters",
        help="one bearer token with all rights; at least 16 characters",
        applies=Applies.LIVE,
    )
    auth_disabled: bool = setting(
        False,
        help="serve everybody without a token; required to listen beyond loopback without authentication",
        applies=Applies.LIVE,
    )
    auth_jwt_secret: SecretStr | None = setting(
        None,
        min_length=JWT_SECRET_MIN_BYTES,
        example="at-least-32-characters-of-a-secret",
        help="secret of JWTs that are signed with HS256; at least 32 bytes",
        applies=Applies.LIVE,
    )
    auth_jwks_url: Url | None = setting(
        None,
        pattern="^https?://",
        example="https://login.example/jwks.json",
        help="URL of the keys (JWKS) of JWTs that are signed with RS256 or ES256",
        applies=Applies.LIVE,
    )
    auth_jwt_audience: str | None = setting(
        None, example="liveedge", help="audience (`aud`) that a JWT has to name", applies=Applies.LIVE
    )
    auth_jwt_issuer: str | None = setting(
        None, example="https://login.example/", help="issuer (`iss`) that a JWT has to name", applies=Applies.LIVE
    )
    auth_signing_key: SecretStr | None = setting(
        None,
        min_length=JWT_SECRET_MIN_BYTES,
        unset="a key that is kept in `DATA_DIR`",
        example="at-least-32-characters-of-another",
        help="key that signs URLs; at least 32 bytes",
        applies=Applies.LIVE,
    )
    auth_url_lifetime: int = setting(
        3600,
        ge=10,
        le=604_800,
        unit="s",
        help="the longest time that a signed URL is valid",
        applies=Applies.LIVE,
    )

    @property
    def has_auth(self) -> bool:
        """Whether any credential is configured."""
        return bool(
            self.auth_token or self.auth.tokens or self.auth_jwt_secret or self.auth_jwks_url or self.oidc_issuer
        )

    def shared_secrets(self) -> tuple[str, str] | None:
        """The names of two secrets that are the same; ``None`` if each is another."""
        secrets: dict[str, SecretStr | None] = {
            "AUTH_TOKEN": self.auth_token,
            "AUTH_JWT_SECRET": self.auth_jwt_secret,
            "AUTH_SIGNING_KEY": self.auth_signing_key,
            "OIDC_CLIENT_SECRET": self.oidc_client_secret,
            **{f"auth.tokens.{name}": table.token for name, table in self.auth.tokens.items()},
        }
        digests = {
            name: hashlib.sha256(secret.get_secret_value().encode(errors="surrogateescape")).hexdigest()
            for name, secret in secrets.items()
            if secret is not None
        }
        for name, table in self.auth.tokens.items():
            digests.setdefault(f"auth.tokens.{name}", (table.token_sha256 or "").lower())
        found: dict[str, str] = {}
        for name, digest in digests.items():
            if digest in found:
                return found[digest], name
            found[digest] = name
        return None
