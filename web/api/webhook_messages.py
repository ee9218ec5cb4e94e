"""The messages of webhooks, as models: what an endpoint gets as the body of a request (Standard Webhooks, "Payload").

:data:`MESSAGES` is the only definition. ``/openapi.json`` has it under ``webhooks``, and a test compares
``docs/webhooks.md`` with it. Cameras, events, segments and problems are written as the HTTP API writes them.

Rules:

1. :data:`VERSION` changes when a receiver of the version before would misunderstand a message. A new type of message
   and a new field are no such change.
2. Paths of clips and recordings are those of this gateway's HTTP API, and need its credentials.
"""

from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from gateway.session import SessionState
from gateway.status import CaptureStatus
from web.api import models
from web.api.models import Time
from web.observability.health import Problem

VERSION = 1


class Data(BaseModel):
    """What a message is about."""

    model_config = ConfigDict(frozen=True)


class CameraState(Data):
    """A camera, with the fields of ``GET /api/cameras`` that say whether it sends video."""

    camera_id: str
    name: str | None = Field(default=None, description="what people call the camera; null: its id")
    state: SessionState
    error_message: str | None = Field(default=None, description="why there is no video, as a sentence")
    down_since: Time | None = Field(default=None, description="since when there is no video")

    @classmethod
    def of(cls, status: CaptureStatus) -> Self:
        """A camera as it is now."""
        return cls(
            camera_id=status.camera_id,
            name=status.name,
            state=status.state,
            error_message=status.error_message,
            down_since=status.down_since,
        )


class CameraData(Data):
    """A camera that sends video again, or does not any more."""

    camera: CameraState


class EventData(Data):
    """An event as it is now, or was when it was deleted."""

    event: models.Event


class SegmentData(Data):
    """A recorded file that has ended."""

    segment: models.Segment


class Disk(Data):
    """The disk of ``DATA_DIR``."""

    free_bytes: int
    total_bytes: int
    min_free_bytes: int = Field(description="`ARCHIVE_MIN_FREE_BYTES`")
    measured_at: Time


class DiskData(Data):
    """The disk of the recordings."""

    disk: Disk


class ProblemData(Data):
    """One of the ``problems`` of ``GET /api/status``."""

    problem: Problem
    begun: Time
    ended: Time | None = Field(default=None, description="null while it lasts")


class TrialData(Data):
    """A message of ``liveedge webhook test``."""

    message: str


class Message(BaseModel):
    """The body of a request. ``timestamp`` is when it happened; ``webhook-timestamp`` when it was sent."""

    model_config = ConfigDict(frozen=True)

    type: str
    version: int = VERSION
    timestamp: Time
    data: SerializeAsAny[Data]

    @property
    def camera_id(self) -> str | None:
        """The camera that it concerns."""
        data = self.data
        if isinstance(data, CameraData):
            return data.camera.camera_id
        if isinstance(data, EventData):
            return data.event.camera_id
        if isinstance(data, SegmentData):
            return data.segment.camera_id
        return data.problem.camera_id if isinstance(data, ProblemData) else None


MESSAGES: Mapping[str, tuple[type[Data], str]] = {
    "camera.up": (CameraData, "a camera sends video, for the first time or after it was down"),
    "camera.down": (CameraData, "a camera that should send video has sent none for 5 s"),
    "event.created": (EventData, "an event was created"),
    "event.updated": (EventData, "an event was changed; an open one has ended, for example"),
    "event.deleted": (EventData, "an event was deleted"),
    "clip.ready": (EventData, "an event has ended, and its recording is on the disk: `clip` can be downloaded"),
    "segment.closed": (SegmentData, "a recorded file is complete, its SHA-256 and metadata included"),
    "disk.low": (DiskData, "less than `ARCHIVE_MIN_FREE_BYTES` have been free for 30 s, although retention deletes"),
    "disk.ok": (DiskData, "so much has been free again for 30 s"),
    "problem.begun": (ProblemData, "something has been wrong for 5 s: one of `problems` of `GET /api/status`"),
    "problem.ended": (ProblemData, "it has been right again for 5 s"),
    "webhook.test": (TrialData, "`liveedge webhook test` was called; sent whatever `events` says"),
}
"""The types of messages, with their data and when they are sent."""


def message(kind: str, timestamp: str, data: Data) -> Message:
    """A message. ``timestamp`` is RFC 3339, UTC."""
    assert isinstance(data, MESSAGES[kind][0]), kind
    return Message(type=kind, timestamp=timestamp, data=data)
