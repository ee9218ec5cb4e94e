"""The data of every Socket.IO event that the gateway sends, and of its acknowledgements.

Outgoing data leaves out fields whose value is ``None``.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.event_models import EventModel, Time
from gateway.session import SessionState
from gateway.status import CaptureStatus


class Outbound(BaseModel):
    """Outgoing data."""

    model_config = ConfigDict(frozen=True)

    def wire(self) -> dict[str, Any]:
        """The data as it is sent."""
        return self.model_dump(exclude_none=True)


Warnings = Annotated[list[str] | None, Field(description="fields of the command that do not exist or cannot be used")]


class ClientSince(Outbound):
    """A client that has started a capture by command, and since when."""

    client_id: str = Field(description="a client of the gateway's own server has the prefix `browser:`")
    since: str = Field(description="RFC 3339 UTC", json_schema_extra={"format": "date-time"})


class CaptureStatusResponse(CaptureStatus):
    """A camera's status, as an answer to a command or after a change.

    In an answer, ``client_id`` and ``metadata`` are those of the client.
    """

    camera_id: str | None = None  # type: ignore[assignment]  # a refused command may have no camera
    state: SessionState = SessionState.STOPPED
    error: str | None = Field(default=None, description="error code, if a command was refused")
    client_id: str | None = None
    metadata: dict[str, Any] | None = None
    requested_by: list[ClientSince] | None = Field(
        default=None, description="the clients that have started the capture by command; to the EMS only"
    )
    warnings: Warnings = None

    def wire(self) -> dict[str, Any]:
        """The data as it is sent."""
        return self.model_dump(mode="json", exclude_none=True)


class FrameMetadata(Outbound):
    """``timestamp`` is the capture time. ``sequence`` has gaps where frames were not sent to this client.

    ``skipped`` is the number of frames that were not sent to this client since the previous frame.
    """

    camera_id: str
    timestamp: str
    width: int
    height: int
    sequence: int
    skipped: int


class VideoFrame(Outbound):
    """One JPEG frame. A browser must acknowledge it to get the next.

    An EMS may acknowledge frames: over a slow network it then gets newer frames.
    """

    frame_data: bytes = Field(description="JPEG")
    metadata: FrameMetadata


class WebRtcAnswer(Outbound):
    """The gateway's SDP answer, with all its ICE candidates."""

    client_id: str
    camera_id: str
    sdp: str
    warnings: Warnings = None


class WebRtcRendition(Outbound):
    """What a WebRTC viewer gets, and why."""

    client_id: str
    camera_id: str
    rendition: Literal["main", "sub"] = Field(description="the stream that it gets")
    transcoded: bool = Field(description="whether it gets H.264 that is made of that stream")
    requested: Literal["auto", "main", "sub"]
    pending: Literal["main", "sub"] | None = Field(
        default=None, description="the stream that it gets with that stream's next keyframe"
    )
    available: list[Literal["main", "sub"]] = Field(description="the streams that the camera has")
    codec: str
    reason: str = Field(description="why it gets this one, as a clause")
    warnings: Warnings = None


class WebRtcError(Outbound):
    """Why there is no connection. ``transports`` lists the transports that would work."""

    client_id: str | None = None
    camera_id: str | None = None
    error: str
    message: str
    transports: list[str] | None = None


class AccessEnded(Outbound):
    """The credential expired, or does not allow ``camera_id`` any more. Without ``camera_id``, the connection ends."""

    camera_id: str | None = None
    error: str
    message: str


class FramesSubscribed(Outbound):
    """The subscription to frames, with the defaults filled in."""

    camera_id: str
    frame_rate: float
    width: int | None = None
    quality: int | None = None


class EventResponse(Outbound):
    """The answer to a command about events: one event, or a list with ``next_cursor``, or why it was refused."""

    client_id: str | None = None
    event: EventModel | None = None
    events: list[EventModel] | None = None
    next_cursor: str | None = None
    error: str | None = Field(default=None, description="error code, if the command was refused")
    message: str | None = None
    warnings: Warnings = None

    def wire(self) -> dict[str, Any]:
        """The data as it is sent."""
        return self.model_dump(mode="json", exclude_none=True)


class EventChanged(Outbound):
    """An event was created, updated or deleted. ``reset``: changes are missing, request the list again."""

    kind: Literal["created", "updated", "deleted", "reset"]
    event: EventModel | None = None

    def wire(self) -> dict[str, Any]:
        """The data as it is sent."""
        return self.model_dump(mode="json", exclude_none=True)


class SegmentModel(Outbound):
    """An archive segment: a recorded file. Durations in seconds, size in bytes, rates measured."""

    id: str
    camera_id: str
    rendition: str = Field(
        description="the stream of the camera that it is a recording of", json_schema_extra={"enum": ["main", "sub"]}
    )
    state: str = Field(json_schema_extra={"enum": ["growing", "closed", "truncated", "deleting"]})
    start: Time
    end: Time
    duration_s: float
    size: int
    codecs: str
    video_codec: str
    audio_codec: str | None
    width: int
    height: int
    fps: float
    frames: int
    bitrate_bps: int | None
    longest_gap_s: float
    continues: bool = Field(description="whether nothing is missing between the stream's previous segment and this one")
    end_reason: str | None
    protected: bool = Field(description="whether retention keeps it")
    sha256: str | None
    metadata: dict[str, Any] | None
    url: str = Field(description="path of the file on the gateway's HTTP server")
    thumbnail: str = Field(description="path of the JPEG of its first picture")


class PictureMetadata(Outbound):
    """``timestamp`` is the capture time."""

    camera_id: str
    timestamp: Time
    width: int
    height: int


class PtzResponse(Outbound):
    """The camera has the command, or why it was refused."""

    client_id: str | None = None
    camera_id: str | None = None
    error: str | None = Field(default=None, description="error code, if the command was refused")
    message: str | None = None
    warnings: Warnings = None


class SnapshotResponse(Outbound):
    """One picture as JPEG, or why there is none."""

    client_id: str | None = None
    camera_id: str | None = None
    frame_data: bytes | None = Field(default=None, description="JPEG")
    metadata: PictureMetadata | None = None
    error: str | None = Field(default=None, description="error code, if the command was refused")
    message: str | None = None
    warnings: Warnings = None


class SegmentsResponse(Outbound):
    """Recorded segments, oldest first, or why there is no list. ``next_cursor`` requests those that follow."""

    client_id: str | None = None
    camera_id: str | None = None
    segments: list[SegmentModel] | None = None
    next_cursor: str | None = None
    error: str | None = Field(default=None, description="error code, if the command was refused")
    message: str | None = None
    warnings: Warnings = None


class SegmentAtResponse(Outbound):
    """The recorded segment of a moment and the offset of the moment in it, or why there is none."""

    client_id: str | None = None
    camera_id: str | None = None
    segment: SegmentModel | None = None
    offset_s: float | None = None
    time: Time | None = None
    error: str | None = Field(default=None, description="error code, if the command was refused")
    message: str | None = None
    warnings: Warnings = None


class CameraCounts(Outbound):
    """How many cameras there are. ``down``: without the video that should be there."""

    total: int
    live: int
    down: int


class ServiceHeartbeat(Outbound):
    """The gateway runs. After ``interval_s`` comes the next one.

    It tells how the connection is where nothing else is sent. Another ``started``: the gateway was restarted.
    """

    version: str = Field(description="of the gateway")
    events_version: str = Field(description="of these events, as in the AsyncAPI document")
    started: Time
    time: Time
    interval_s: float
    cameras: CameraCounts


class Refusal(Outbound):
    """Why a command was refused; the same fields as an error over HTTP."""

    error: str
    message: str


class Done(Outbound):
    """A command succeeded, and has no other result."""

    ok: bool = True
