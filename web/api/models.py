"""What travels over the HTTP API as JSON, as models: the document at ``/openapi.json`` is made of them.

Answers are written by :mod:`web.api.views` and the routes; a test holds each of them to its model here.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from gateway.session import SessionState
from gateway.settings import CAMERA_ID, CameraSettings, EngineName, RecordMode, StartMode
from hls.archive.segment import EndReason, SegmentState

TIME = Field(json_schema_extra={"format": "date-time"})


class Error(BaseModel):
    """Every error. ``error`` is stable and for programs, ``message`` is a sentence for people."""

    model_config = ConfigDict(extra="allow")

    error: str
    message: str


class Health(BaseModel):
    """The process serves."""

    status: Literal["ok"]


class Time(BaseModel):
    """The gateway's clock."""

    time: str = TIME


class LiveEdge(BaseModel):
    """Where life is, in every coordinate that a client can resume from."""

    time: str = TIME
    media_sequence: int | None = Field(None, description="of the newest HLS segment")
    part: int | None = Field(None, description="the newest part in it")
    segment: str | None = Field(None, description="the archive segment that grows")
    offset_s: float | None = Field(None, description="how far it has come")


class WebRtcFigures(BaseModel):
    """All WebRTC viewers of a camera together: sums, and means over those that have reported."""

    viewers: int
    packets_sent: int
    bytes_sent: int
    frames_dropped: int
    packets_lost: int
    retransmitted: int
    limited: int = Field(description="viewers that are sent fewer pictures, since their networks carry no more")
    degraded: list[str] = Field(description="why, a sentence a viewer; also for networks that lose whatever is sent")
    fraction_lost: float | None
    jitter_s: float | None
    round_trip_s: float | None


class Camera(BaseModel):
    """A camera with its state, viewers and live edge. Rates are measured; ``null`` is what is not known (yet)."""

    camera_id: str
    state: SessionState
    is_active: bool
    rtsp_url: str = Field(description="without user and password")
    error_message: str | None = Field(description="why there is no picture, in a sentence")
    clients: int = Field(description="those who asked for the capture by command")
    viewers: dict[str, int] = Field(description="those who watch, by transport")
    codec: str | None
    width: int | None
    height: int | None
    audio_codec: str | None
    fps: float | None
    bitrate_bps: int | None
    keyframe_age_s: float | None
    keyframe_interval_s: float | None
    reconnects: int
    packets_dropped: int
    record: RecordMode
    start: StartMode
    live_edge: LiveEdge | None
    webrtc: WebRtcFigures


class CameraList(BaseModel):
    """All cameras that one may see."""

    cameras: list[Camera]


HTTP_CLIENT = "http"
"""Whoever commands over HTTP without a name: one client for all of them, so that a stop undoes a start."""


class CaptureCommand(BaseModel):
    """The optional body of start and stop. One ``client_id``'s second wish replaces its first."""

    model_config = ConfigDict(extra="forbid")

    client_id: str = Field(HTTP_CLIENT, min_length=1, max_length=200)
    metadata: dict[str, Any] = Field(default_factory=dict)


def _optional(name: str, doc: str, **fields: Any) -> type[BaseModel]:
    """A camera's table in which nothing has to be: types and ranges are the settings' own."""
    for each, about in CameraSettings.model_fields.items():
        if each not in fields and each not in ("capture_engine", "capture_tls_ca_file"):
            # The bounds stand in the annotation's metadata, within the union: null is no number.
            inner: Any = about.rebuild_annotation()
            fields[each] = (inner | None, Field(None, description=about.description))
    return create_model(name, __doc__=doc, __config__=ConfigDict(extra="forbid"), **fields)


_ENGINE = (EngineName | None, None)

CameraPatch = _optional(
    "CameraPatch",
    "Settings of a camera to change (RFC 7396): what is named is set, ``null`` takes it back to the default.",
    engine=_ENGINE,
)

NewCamera = _optional(
    "NewCamera",
    "A camera to add: its id, its URL and any setting of a camera's table.",
    id=(str, Field(pattern=f"^{CAMERA_ID.pattern}$")),
    url=(str, Field(description="rtsp://user:password@host/path", json_schema_extra={"writeOnly": True})),
    engine=_ENGINE,
)


class Problem(BaseModel):
    """One thing that is ill; ``camera`` is ``null`` where it is not one camera's."""

    room: str
    camera: str | None
    message: str


class SettingsState(BaseModel):
    """What became of settings that changed while the gateway runs."""

    error: str | None = Field(description="why those that were read last are not in force")
    restart_needed: list[str] = Field(description="names of those that are in force after a restart")


class Status(BaseModel):
    """The whole gateway: ``ill`` with a sentence for each thing, or ``ok``."""

    model_config = ConfigDict(extra="allow")

    status: Literal["ok", "ill"]
    problems: list[Problem]
    settings: SettingsState | None = Field(description="for whoever may see the whole gateway")
    cameras: list[Camera]
    messaging: dict[str, Any]
    browsers: dict[str, Any]
    archive: dict[str, Any]
    webrtc: dict[str, Any]


class Segment(BaseModel):
    """An archive segment. Durations in seconds, size in bytes, rates measured."""

    id: str
    camera_id: str
    state: SegmentState
    start: str = TIME
    end: str = TIME
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
    continues: bool = Field(description="whether nothing is missing between the one before and this")
    end_reason: EndReason | None
    protected: bool
    sha256: str | None
    metadata: dict[str, Any] | None
    url: str
    thumbnail: str


class SegmentPage(BaseModel):
    """Segments, oldest first; ``next_cursor`` asks for those that follow."""

    segments: list[Segment]
    next_cursor: str | None


class Moment(BaseModel):
    """Where a moment lies in the archive."""

    segment: Segment
    offset_s: float
    time: str = TIME


class Access(BaseModel):
    """What whoever asks may do; ``cameras`` is ``null`` for all."""

    auth: bool
    name: str
    scopes: list[str]
    cameras: list[str] | None
    expires: str | None


class Signed(BaseModel):
    """An address for what cannot send headers; without a token where auth is off."""

    url: str
    token: str | None
    expires: str | None


class ViewerClock(BaseModel):
    """Pictures with this RTP timestamp were captured at this time."""

    time: str = TIME
    rtp_timestamp: int
    degraded: str | None = Field(description="why this viewer sees fewer or broken pictures, in a sentence")
