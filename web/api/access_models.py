"""What the HTTP API says about tokens and signed links, as models; see :mod:`web.api.models`."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.access import Scope
from gateway.camera_settings import CAMERA_ID
from web.api.models import Time
from web.auth.roles import SCOPES, Role

CAMERAS_MAX = 1000

RoleName = Literal["viewer", "reviewer", "operator", "publisher", "admin"]


class SignIn(BaseModel):
    """How people can sign in, beside tokens."""

    provider: str | None = Field(description="name of the provider whose sign-in begins at `/auth/login`; null: none")


class SignedOut(BaseModel):
    """The sign-in has ended."""

    url: str | None = Field(description="where the provider ends its own session; null: nowhere")


class NewToken(BaseModel):
    """A bearer token to make: its rights by ``role``, or by ``scopes`` where no role fits."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100, description="what people call it, in any language")]
    role: RoleName | None = Field(
        default=None,
        description="`viewer`: live video. `reviewer`: recordings, too. `operator`: also start and stop captures, move"
        " cameras, talk. `publisher`: send the video of a camera. `admin`: everything",
    )
    scopes: list[Scope] | None = Field(default=None, min_length=1, max_length=len(Scope))
    cameras: (
        Annotated[
            list[Annotated[str, Field(pattern=f"^{CAMERA_ID.pattern}$")]], Field(min_length=1, max_length=CAMERAS_MAX)
        ]
        | None
    ) = Field(default=None, description="the ids of cameras that it is for; null: all, also those that are added later")
    expires: str | None = Field(
        default=None, max_length=64, description="when it ends, RFC 3339 with a zone, or Unix seconds; null: never"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.role is None) == (self.scopes is None):
            raise ValueError("set either role or scopes")
        if self.cameras is not None and Scope.ADMIN in self.granted:
            raise ValueError("an administrator's token is for all cameras: leave cameras out")
        return self

    @property
    def granted(self) -> frozenset[Scope]:
        """The scopes."""
        return SCOPES[Role(self.role)] if self.role is not None else frozenset(self.scopes or ())


class Token(BaseModel):
    """A bearer token, without its text. ``id`` is null for one of the settings, which is changed there."""

    id: str | None
    name: str
    source: Literal["settings", "api"]
    role: RoleName | None = Field(description="null for scopes that are none's")
    scopes: list[Scope]
    cameras: list[str] | None
    created: Time | None
    created_by: str | None
    expires: Time | None
    last_used: Time | None = Field(
        description="null: never; for a token of the settings, not since the gateway was started"
    )


class TokenList(BaseModel):
    """All tokens: those of the settings, then those that were made over the API, the oldest first."""

    tokens: list[Token]


class CreatedToken(Token):
    """A token that was made."""

    token: str = Field(description="its text, which is in this answer alone and cannot be read again")


class Link(BaseModel):
    """A signed link that has not expired, without its token."""

    id: str
    name: str | None
    path: str = Field(description="what it opens, as it was signed")
    created: Time
    created_by: str
    expires: Time
    revoked: Time | None


class LinkList(BaseModel):
    """The signed links that have not expired, the newest first."""

    links: list[Link]
