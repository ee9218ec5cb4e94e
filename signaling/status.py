"""What ``/api/status`` shows of Socket.IO: the connection to the event service, and the server for browsers.

Each component makes its own model. The HTTP API, the problems and the metrics read the model's attributes.
"""

from pydantic import BaseModel, ConfigDict, Field


class MessagingStatus(BaseModel):
    """The connection to the event service. An adapter may add fields."""

    model_config = ConfigDict(frozen=True, extra="allow")

    adapter: str
    connected: bool
    node: str | None = Field(
        default=None, description="in a cluster: the node that has the connection for all; null: none, or not known"
    )
    url: str | None = Field(default=None, description="without user and password")
    error: str | None = None
    connects: int | None = Field(default=None, description="connections made since the start")
    packets_invalid: int | None = Field(
        default=None, description="packets from the event service that were not Socket.IO"
    )
    frames_sent: int | None = None
    frames_skipped: int | None = None
    frames_too_large: int | None = Field(
        default=None, description="frames not sent because the event service does not accept such large ones"
    )
    frames_blocked: list[str] = Field(
        default=[], description="cameras whose smallest picture is larger than the event service accepts"
    )


class BrowsersStatus(BaseModel):
    """The gateway's own Socket.IO server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clients: int
    frames_sent: int
    frames_skipped: int
