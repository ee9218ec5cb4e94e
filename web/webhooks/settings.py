"""The settings of webhooks: the tables ``[webhooks.NAME]``."""

import base64
import binascii
import fnmatch
import re
import ssl
from pathlib import Path
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from gateway.config.field import Applies, SettingsGroup, setting

SECRET_PREFIX = "whsec_"  # noqa: S105  (the prefix of every secret)

SECRET_MIN_BYTES, SECRET_MAX_BYTES = 24, 64
"""Standard Webhooks, "Signature scheme"."""

SECRETS_MAX = 4
"""One is used, and one or two are on their way in or out."""

ENDPOINTS_MAX = 32

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def _check_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    try:
        if not text.startswith(SECRET_PREFIX):
            raise ValueError(text)
        size = len(base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if not SECRET_MIN_BYTES <= size <= SECRET_MAX_BYTES:
        raise ValueError(
            f"must be {SECRET_PREFIX} followed by {SECRET_MIN_BYTES} to {SECRET_MAX_BYTES} random bytes in base64:"
            f' echo "{SECRET_PREFIX}$(openssl rand -base64 32)"'
        )
    return secret


def _check_url(url: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(url.get_secret_value())
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or any(character.isspace() for character in url.get_secret_value()):
        raise ValueError("must be a URL that begins with https:// or http://")
    return url


def _check_ca_file(path: Path) -> Path:
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"has no certificates that can be read ({error.strerror}); it must be in PEM format") from None
    return path


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Secret = Annotated[SecretStr, AfterValidator(_check_secret)]


class WebhookTable(BaseModel):
    """``[webhooks.NAME]``: one endpoint. ``secret`` may be a list: each message has a signature by every secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[SecretStr, AfterValidator(_check_url)]
    secret: Annotated[tuple[Secret, ...], BeforeValidator(_listed), Field(min_length=1, max_length=SECRETS_MAX)]
    events: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)] = ("*",)
    """Types of messages; ``*`` stands for any characters."""
    cameras: Annotated[tuple[str, ...], BeforeValidator(_listed)] | None = None
    """``None`` means all of them. Messages that concern no camera are sent in any case."""
    tls_ca_file: Annotated[Path, AfterValidator(_check_ca_file)] | None = None
    """Certificates (PEM) of a private authority, beside those of the system."""

    def wants(self, kind: str, camera_id: str | None) -> bool:
        """Whether the endpoint gets messages of this type about this camera."""
        if camera_id is not None and self.cameras is not None and camera_id not in self.cameras:
            return False
        return any(fnmatch.fnmatchcase(kind, pattern) for pattern in self.events)

    @property
    def public_url(self) -> str:
        """Scheme and host. The rest is often a secret."""
        parts = urlsplit(self.url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    @model_validator(mode="after")
    def _check_events(self) -> Self:
        for pattern in self.events:
            if not fnmatch.filter(MESSAGE_TYPES, pattern):
                raise ValueError(f"events has a type that does not exist; the types are {', '.join(MESSAGE_TYPES)}")
        return self


MESSAGE_TYPES = (
    "camera.up",
    "camera.down",
    "event.created",
    "event.updated",
    "event.deleted",
    "clip.ready",
    "segment.closed",
    "disk.low",
    "disk.ok",
    "problem.begun",
    "problem.ended",
)
""":mod:`web.api.webhook_messages` has the model of each."""


def _check_names(tables: dict[str, WebhookTable]) -> dict[str, WebhookTable]:
    if not all(NAME.fullmatch(name) for name in tables):
        raise ValueError("a name must have letters, digits, - and _ only, at most 64: [webhooks.home]")
    if len(tables) > ENDPOINTS_MAX:
        raise ValueError(f"there may be {ENDPOINTS_MAX} at most")
    return tables


class WebhookSettings(SettingsGroup):
    """HTTP endpoints that hear what happens."""

    title: ClassVar[str] = "Webhooks"

    webhooks: Annotated[dict[str, WebhookTable], AfterValidator(_check_names)] = setting(
        {},
        help="the tables `[webhooks.NAME]`: HTTP endpoints that get a signed message when something happens, see"
        " [webhooks](webhooks.md)",
        applies=Applies.LIVE,
    )
