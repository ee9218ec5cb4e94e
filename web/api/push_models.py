"""What the HTTP API takes and answers about notifications, as models; see :mod:`web.push`."""

from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.camera_settings import CAMERA_ID
from gateway.event_models import Text
from web.api.models import Time

Kind = Literal["event.created", "camera.down", "camera.up", "disk.low", "problem.begun"]
"""Types of messages of :mod:`web.api.webhook_messages`."""

Language = Literal["en", "ko"]

CAMERAS_MAX = 1000
LABELS_MAX = 50


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError("must be a time zone such as Europe/Berlin") from None
    return name


TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class QuietHours(BaseModel):
    """No notifications from ``start`` until ``end``, each day; past midnight where ``end`` is earlier."""

    model_config = ConfigDict(extra="forbid")

    start: TimeOfDay
    end: TimeOfDay
    time_zone: Annotated[str, Field(max_length=64, description="of the IANA data base"), AfterValidator(_check_zone)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.start == self.end:
            raise ValueError("start and end are the same")
        return self


class PushChoice(BaseModel):
    """What a browser is notified of."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[Text, Field(description="what the list calls the browser")]
    kinds: Annotated[list[Kind], Field(min_length=1, max_length=8)]
    cameras: Annotated[
        list[Annotated[str, Field(pattern=f"^{CAMERA_ID.pattern}$")]] | None,
        Field(max_length=CAMERAS_MAX, description="null: all that the token may view"),
    ] = None
    labels: Annotated[
        list[Text] | None, Field(max_length=LABELS_MAX, description="labels of events, without case; null: all")
    ] = None
    quiet_hours: QuietHours | None = None
    language: Language = "en"


class PushKeys(BaseModel):
    """``keys`` of ``PushSubscription.toJSON()``."""

    model_config = ConfigDict(extra="forbid")

    p256dh: Annotated[str, Field(max_length=128)]
    auth: Annotated[str, Field(max_length=64)]


class NewPushSubscription(PushChoice):
    """A browser's subscription (W3C Push API) and what it is notified of."""

    endpoint: Annotated[str, Field(min_length=1, max_length=2048)]
    keys: PushKeys


class PushSubscription(PushChoice):
    """A browser that is notified. Its numbers count from the start of the process."""

    subscription_id: str = Field(description="base64url of the first 16 bytes of SHA-256 of the endpoint")
    service: str = Field(description="origin of the push service: the rest of the endpoint is a secret")
    created: Time
    confirmed: Time = Field(description="when the browser has last opened the page")
    delivered: int = Field(description="messages that the push service has taken")
    failed: int = Field(description="failed attempts")
    waiting: int = Field(description="messages that wait")
    last_delivered: Time | None
    error: str | None = Field(description="why the last attempt failed")


class PushSubscriptionList(BaseModel):
    """Subscriptions that were made with the same credential; for an admin all."""

    subscriptions: list[PushSubscription]


class PushInfo(BaseModel):
    """What a browser needs to subscribe."""

    public_key: str = Field(description="`applicationServerKey` of the Push API (VAPID), in base64url")
    kinds: list[Kind]


class PushTest(BaseModel):
    """How the push service answered a test."""

    delivered: bool
    message: str = Field(description="one sentence")
