"""Who may do what, and the settings that say so. How somebody proves who they are is HTTP's and stands on the roof.

A *scope* is one kind of right; a *grant* is scopes over cameras. ``view`` is the live picture in every form,
``archive`` what was recorded, ``control`` whatever changes something while it runs, ``admin`` all of that and the
cameras themselves.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, IPvAnyNetwork, SecretStr, model_validator
from pydantic_settings import NoDecode

TOKEN_MIN_CHARS = 16
"""Shorter ones can be guessed, however slowly."""

JWT_SECRET_MIN_BYTES = 32
"""RFC 7518 §3.2: a key for HS256 is no shorter than its hash."""

Secret = Annotated[SecretStr, Field(min_length=TOKEN_MIN_CHARS)]


class Scope(StrEnum):
    """One kind of right; see the module."""

    VIEW = "view"
    CONTROL = "control"
    ARCHIVE = "archive"
    ADMIN = "admin"


def split_commas(value: object) -> object:
    """``a, b`` as an environment variable has a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaList = Annotated[list[str], NoDecode, BeforeValidator(split_commas)]
Networks = Annotated[list[IPvAnyNetwork], NoDecode, BeforeValidator(split_commas)]


class TokenTable(BaseModel):
    """``[auth.tokens.NAME]``: one bearer token, itself or its SHA-256, and what it is good for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: Secret | None = None
    token_sha256: str | None = Field(None, pattern="^[0-9a-fA-F]{64}$")
    scopes: list[Scope] = Field(min_length=1)
    cameras: list[str] | None = Field(None, description="None is all of them")

    @model_validator(mode="after")
    def _one_of_both(self) -> "TokenTable":
        if (self.token is None) == (self.token_sha256 is None):
            raise ValueError("give token or token_sha256")
        return self


class AuthTables(BaseModel):
    """``[auth]`` of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: dict[str, TokenTable] = Field(default_factory=dict)


class AccessSettings(BaseModel):
    """Who comes in, from where, and how many."""

    auth: AuthTables = Field(default_factory=AuthTables)
    auth_disabled: bool = Field(False, description="serve everybody, wherever they are")
    auth_token: Secret | None = Field(None, description="one bearer token that may do everything")
    auth_jwt_secret: SecretStr | None = Field(None, min_length=JWT_SECRET_MIN_BYTES, description="HS256")
    auth_jwks_url: str | None = Field(None, pattern="^https?://", description="where RS256's and ES256's keys are")
    auth_jwt_audience: str | None = None
    auth_jwt_issuer: str | None = None
    auth_signing_key: SecretStr | None = Field(
        None, min_length=JWT_SECRET_MIN_BYTES, description="signs URLs; without it one is kept in DATA_DIR"
    )
    auth_url_lifetime: int = Field(3600, ge=10, le=604_800, description="s, the longest that a signed URL is good for")

    cors_origins: CommaList = Field(default_factory=list, description="other pages' origins that may use the gateway")
    allowed_hosts: CommaList = Field(default_factory=list, description="names that it is called by, while auth is off")
    trusted_proxies: Networks = Field(default_factory=list, description="whose X-Forwarded-… are believed")
    connections_per_address: int = Field(256, ge=4, le=65_536)
    allow_metadata_addresses: bool = Field(
        False, description="cameras added by API may be at link-local and cloud metadata addresses"
    )

    @property
    def has_auth(self) -> bool:
        """Whether anything is configured that somebody could prove themselves by."""
        return bool(self.auth_token or self.auth.tokens or self.auth_jwt_secret or self.auth_jwks_url)
