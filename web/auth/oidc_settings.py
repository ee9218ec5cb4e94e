"""The settings of sign-in by OpenID Connect."""

from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from gateway.access import Scope
from gateway.config.field import Applies, SettingsGroup, Url, setting
from gateway.config.messages import contradiction
from web.auth.roles import SCOPES, Role


class RoleTable(BaseModel):
    """``[oidc.roles.NAME]``: what people may do whose claim names it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role | None = None
    scopes: list[Scope] | None = Field(None, min_length=1)
    cameras: list[str] | None = Field(None, description="None means all of them")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.role is None) == (self.scopes is None):
            raise ValueError("set either role or scopes")
        return self

    @property
    def granted(self) -> frozenset[Scope]:
        """The scopes."""
        return SCOPES[self.role] if self.role is not None else frozenset(self.scopes or ())


class OidcTables(BaseModel):
    """``[oidc]`` of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    roles: dict[str, RoleTable] = Field(default_factory=dict)


class OidcSettings(SettingsGroup):
    """Sign-in of people by a provider of OpenID Connect, beside tokens; see [sign in with OIDC](oidc.md)."""

    title: ClassVar[str] = "Sign-in"

    oidc_issuer: Url | None = setting(
        None,
        pattern="^https?://",
        example="https://login.example/realms/site",
        help="issuer of the provider, exactly as its discovery document has it; turns sign-in on",
        applies=Applies.RESTART,
    )
    oidc_client_id: str | None = setting(
        None, example="liveedge", help="id under which the provider knows the gateway", applies=Applies.RESTART
    )
    oidc_client_secret: SecretStr | None = setting(
        None,
        example="the-secret-of-the-client",
        help="secret of the client; without it, it is a public client with PKCE alone",
        applies=Applies.RESTART,
    )
    oidc_name: str | None = setting(
        None,
        example="Example Ltd.",
        unset="host of the issuer",
        help="what the page calls the provider",
        applies=Applies.RESTART,
    )
    oidc_scope: str = setting(
        "openid profile email",
        pattern=r"(^|.* )openid( .*|$)",
        help="scopes that are asked of the provider, with blanks",
        applies=Applies.RESTART,
    )
    oidc_roles_claim: str = setting(
        "roles",
        min_length=1,
        help="claim with the roles of a user: a text, a list, or with dots inside an object (`realm_access.roles`)",
        applies=Applies.RESTART,
    )
    oidc: OidcTables = setting(
        OidcTables(),
        help="the tables `[oidc.roles.NAME]`: what each value of the claim may do; without them, the values are roles"
        " themselves, see [sign in with OIDC](oidc.md#roles)",
        applies=Applies.RESTART,
    )
    oidc_redirect_url: Url | None = setting(
        None,
        pattern=r"^https?://.*/auth/callback$",
        example="https://cameras.example/auth/callback",
        unset="by the address of the request",
        help="address to which the provider sends people back; it has to be registered there",
        applies=Applies.RESTART,
    )
    oidc_session_lifetime: int = setting(
        43_200,
        ge=300,
        le=2_592_000,
        unit="s",
        help="how long a sign-in lasts at most",
        applies=Applies.RESTART,
    )
    oidc_session_idle: int = setting(
        3600,
        ge=60,
        le=2_592_000,
        unit="s",
        help="how long a sign-in lasts without a request",
        applies=Applies.RESTART,
    )

    @model_validator(mode="after")
    def _check_oidc(self) -> Self:
        if self.oidc_issuer is not None and self.oidc_client_id is None:
            raise contradiction(
                "OIDC_ISSUER is set without OIDC_CLIENT_ID: register the gateway as a client with the provider, and set"
                " its id",
                "oidc_issuer",
            )
        return self
