"""The state of a webhook, as ``GET /api/webhooks`` answers it."""

from pydantic import BaseModel, ConfigDict, Field

from web.api.models import Time


class WebhookStatus(BaseModel):
    """An endpoint of ``[webhooks.NAME]``. Its numbers count from the start of the process."""

    model_config = ConfigDict(frozen=True)

    name: str
    url: str = Field(description="scheme and host only: the rest may be a secret")
    events: list[str] = Field(description="types of messages that it gets; `*` stands for any characters")
    cameras: list[str] | None = Field(description="null: all")
    enabled: bool = Field(description="false after it has answered 410 Gone")
    error: str | None = Field(description="why it is not enabled, or why the last attempt failed")
    failures: int = Field(description="failed attempts since the last success")
    waiting: int = Field(description="messages that wait")
    waiting_since: Time | None
    delivered: int
    failed: int = Field(description="failed attempts")
    dropped: dict[str, int] = Field(description="messages that were given up, by reason")
    last_delivered: Time | None


class WebhookList(BaseModel):
    """Every endpoint."""

    webhooks: list[WebhookStatus]
