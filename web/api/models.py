"""What the HTTP API takes and answers, as models.

Every JSON answer is made from its model here (:func:`web.api.answer.json_answer`), and ``/openapi.json`` is generated
from the same models, so that the two cannot differ. ``of`` makes a model from the gateway's own objects.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SerializeAsAny, create_model

from gateway.access import Scope
from gateway.camera_settings import CAMERA_ID, RecordMode, RecordSubMode, RenditionName, StartMode
from gateway.capture_settings import EngineName
from gateway.config.field import describe_field
from gateway.event import ChangeKind
from gateway.event import Event as StoredEvent
from gateway.event_models import EventFields, EventModel, EventPatchFields
from gateway.forward.forward import ForwardState
from gateway.forward.target import TARGETS_MAX
from gateway.picture_settings import DetectorName
from gateway.status import CaptureStatus
from gateway.webrtc.rendition_request import TILE_MAX
from gateway.webrtc.stats import WebRtcStats
from hls.archive.segment import EndReason, SegmentState
from hls.archive.segment import Segment as ArchiveSegment
from hls.archive.status import ArchiveStatus
from hls.settings import RecordedCameraSettings
from signaling.answers import SegmentModel
from signaling.requests import check_metadata
from signaling.status import BrowsersStatus, MessagingStatus
from web.cluster.status import ClusterStatus
from web.observability.health import Problem
from web.recordings import segment_model

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""RFC 3339, UTC."""


class Error(BaseModel):
    """Every error. ``error`` is stable and for programs, ``message`` is a sentence for people."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"required": ["error", "message"]})

    error: str
    message: str
    reason: str | None = Field(
        default=None, description="more exact than `error`, for programs: by it a client makes a sentence of its own"
    )
    values: dict[str, str | int | float] | None = Field(
        default=None, description="what such a sentence names: a field, a limit, a host"
    )


class Health(BaseModel):
    """The process serves."""

    status: Literal["ok"] = "ok"


class ServerTime(BaseModel):
    """The gateway's clock."""

    time: Time


class ForwardStatus(BaseModel):
    """One server that a camera is pushed to."""

    server: str = Field(description="scheme, host and port; the rest of the URL is a secret")
    state: ForwardState
    error: str | None = Field(description="why it is not live, as a sentence")
    packets_sent: int
    packets_dropped: int = Field(description="packets that the server did not get because it was slower")
    reconnects: int


class Camera(CaptureStatus):
    """A camera with its state, viewers and live edge. Rates are measured; ``null`` is not known (yet)."""

    revision: str = Field(description="of its settings: another one after each change of them, passwords excepted")
    record: RecordMode
    record_sub: RecordSubMode
    start: StartMode
    paused: bool = Field(description="whether it is neither pulled nor recorded until it is resumed")
    is_configured: bool = Field(
        description="whether `liveedge.toml` or the environment name it: then it can be changed here, but not removed"
    )
    has_onvif: bool = Field(description="whether `onvif_url` is set")
    webrtc: WebRtcStats
    forward: list[ForwardStatus] = Field(description="servers that it is pushed to, as set by `forward`")
    can_talk: bool = Field(
        description="false where nobody can talk to it; true also where that is not known yet: see `GET /talk/{camera}`"
    )
    talker: str | None = Field(description="who talks to it now: the name of their token")


class CameraList(BaseModel):
    """All cameras that the request's credentials allow to view."""

    cameras: list[Camera]


class Talk(BaseModel):
    """How a camera is talked to, and who does. The camera has a back channel."""

    codec: str = Field(description="what its loudspeaker gets: PCMU, PCMA, AAC, G726, G722, L16 or Opus")
    talker: str | None = Field(description="who talks now: the name of their token; null: the floor is free")
    since: Time | None = Field(description="since when")
    max_seconds: float = Field(description="how long one person may talk without a pause")


HTTP_CLIENT = "http"
"""The client of commands without ``client_id``. It is one client for all, so that a stop cancels a start."""


class CaptureCommand(BaseModel):
    """The optional body of start and stop. A second start of a ``client_id`` replaces its first."""

    model_config = ConfigDict(extra="forbid")

    client_id: str = Field(default=HTTP_CLIENT, min_length=1, max_length=200)
    metadata: Annotated[dict[str, Any], AfterValidator(check_metadata)] = Field(default_factory=dict)


def _optional(name: str, doc: str, **fields: Any) -> type[BaseModel]:
    """A model of a camera's settings in which every field is optional. Types and ranges come from the settings."""
    for each, about in RecordedCameraSettings.model_fields.items():
        if each not in fields and each not in ("capture_engine", "capture_tls_ca_file"):
            # The bounds go with the type, not with the union: ``null`` is not a number.
            inner: Any = about.rebuild_annotation()
            fields[each] = (inner | None, Field(default=None, description=describe_field(about)))
    return create_model(name, __doc__=doc, __config__=ConfigDict(extra="forbid"), **fields)


_ENGINE = (EngineName | None, None)
_DETECTOR = (DetectorName | None, Field(default=None, description="what looks at the keyframes and makes events"))

_FORWARD = (
    list[str] | None,
    Field(
        default=None,
        max_length=TARGETS_MAX,
        description=describe_field(RecordedCameraSettings.model_fields["forward"]),
        json_schema_extra={"writeOnly": True},
    ),
)

CameraPatch = _optional(
    "CameraPatch",
    "Settings of a camera to change (RFC 7396). ``null`` resets a setting to its default.",
    revision=(
        str | None,
        Field(
            default=None,
            description="of the camera that the change was made of; 409 if its settings have changed since",
        ),
    ),
    engine=_ENGINE,
    forward=_FORWARD,
    detector=_DETECTOR,
)

NewCamera = _optional(
    "NewCamera",
    "A camera to add: its id, its URL and any other setting of a camera.",
    camera_id=(str, Field(pattern=f"^{CAMERA_ID.pattern}$")),
    url=(str, Field(description="rtsp://user:password@host/path", json_schema_extra={"writeOnly": True})),
    sub_url=(
        str | None,
        Field(
            default=None,
            description="the camera's second, smaller stream of the same picture; pulled only while a viewer uses it"
            " or record_sub records it",
            json_schema_extra={"writeOnly": True},
        ),
    ),
    onvif_url=(
        str | None,
        Field(
            default=None,
            description="http://user:password@host/onvif/device_service; without a user, that of url is used",
            json_schema_extra={"writeOnly": True},
        ),
    ),
    talk_url=(
        str | None,
        Field(
            default=None,
            description=describe_field(RecordedCameraSettings.model_fields["talk_url"]),
            json_schema_extra={"writeOnly": True},
        ),
    ),
    engine=_ENGINE,
    forward=_FORWARD,
    detector=_DETECTOR,
)


class SettingsState(BaseModel):
    """Settings that changed while the gateway runs."""

    error: str | None = Field(description="why the newest settings are not applied")
    restart_needed: list[str] = Field(description="names of changed settings that apply after a restart")


class WebRtcServerStatus(BaseModel):
    """The WebRTC server."""

    udp_port: int
    viewers: int


class Status(BaseModel):
    """The whole gateway: ``ok``, or ``degraded`` with a sentence for each problem."""

    status: Literal["ok", "degraded"]
    problems: list[Problem]
    settings: SettingsState | None = Field(description="null unless the credentials allow to view every camera")
    cameras: list[Camera]
    messaging: SerializeAsAny[MessagingStatus]
    browsers: BrowsersStatus
    archive: ArchiveStatus
    webrtc: WebRtcServerStatus
    cluster: ClusterStatus | None = Field(
        description="null where the gateway is alone, or unless the credentials allow to view every camera"
    )
    pure_python: str | None = Field(
        description="why the modules that run for each packet are not compiled; null: they are"
    )


class Segment(SegmentModel):
    """An archive segment. Durations in seconds, size in bytes, rates measured."""

    rendition: RenditionName = Field(description="the stream of the camera that it is a recording of")
    state: SegmentState
    end_reason: EndReason | None

    @classmethod
    def of(cls, segment: ArchiveSegment | SegmentModel) -> Self:
        """A segment with the types that it has over HTTP."""
        return cls(**dict(segment if isinstance(segment, SegmentModel) else segment_model(segment)))


class SegmentPage(BaseModel):
    """Segments, oldest first; ``next_cursor`` requests those that follow."""

    segments: list[Segment]
    next_cursor: str | None


class RecordedDays(BaseModel):
    """Days with recordings, oldest first, like ``2026-11-22``."""

    days: list[str]


class Event(EventModel):
    """Something that happened on a camera."""

    clip: str = Field(description="its recording as MP4; 425 until it is on the disk")
    thumbnail: str = Field(description="the recorded picture of its start")

    @classmethod
    def of(cls, event: StoredEvent) -> Self:
        base = f"/api/events/{event.id}/clip"
        return cls(**dict(EventModel.of(event)), clip=f"{base}.mp4", thumbnail=f"{base}.jpg")


class EventList(BaseModel):
    """Events in order; ``next_cursor`` requests those that follow."""

    events: list[Event]
    next_cursor: str | None


class NewEvent(EventFields):
    """An event to create."""

    model_config = ConfigDict(extra="forbid")

    camera_id: str = Field(min_length=1, max_length=64)


class EventPatch(EventPatchFields):
    """Fields of an event to change (RFC 7396).

    ``null`` for ``end`` opens it again, for ``score`` and ``data`` removes them.
    """

    model_config = ConfigDict(extra="forbid")


class EventChange(BaseModel):
    """A change of an event. ``event`` is as it is now, or was when it was deleted."""

    kind: ChangeKind
    event: Event


class ActivityTimeline(BaseModel):
    """The activity of a camera from ``start`` on: a value for each ``step_s`` seconds, the largest of its seconds.

    ``null``: nothing was recorded then, or it is not known.
    """

    start: Time
    step_s: int
    activity: list[float | None] = Field(description="how much happened in the picture, from 0 to 1")
    sound_db: list[int | None] = Field(
        description="how loud it was, in decibels relative to full scale; only of sound that is transcoded, as G.711 is"
    )


class ActivityPeriod(BaseModel):
    """A time in which something happened in the picture. ``activity`` is the highest score in it."""

    start: Time
    end: Time
    activity: float


class ArchivePosition(BaseModel):
    """The archive segment of a moment, and the offset of the moment in it."""

    segment: Segment
    offset_s: float
    time: Time


class Access(BaseModel):
    """What the request's credentials allow; ``cameras`` is ``null`` for all."""

    auth: bool = Field(description="whether the gateway requires credentials")
    name: str
    scopes: list[Scope]
    cameras: list[str] | None
    expires: Time | None
    signed_in: bool = Field(description="whether a sign-in gave the credentials, which `POST /auth/logout` ends")


class SignRequest(BaseModel):
    """A URL to sign."""

    model_config = ConfigDict(extra="forbid", strict=True)

    path: str = Field(
        min_length=1, max_length=2048, pattern=r"^/[^/\\]", description="path of this gateway, with its query"
    )
    expires_s: int | None = Field(default=None, ge=1, description="seconds that the URL is valid")
    name: str | None = Field(
        default=None, min_length=1, max_length=100, description="what people call it in the list of links"
    )


class SignedUrl(BaseModel):
    """A URL that needs no header; without a token if authentication is off."""

    url: str
    token: str | None = None
    expires: Time | None = None
    id: str | None = Field(default=None, description="by which it can be revoked")


class ViewerRequest(BaseModel):
    """Which stream of its camera a viewer asks for; what is left out does not change."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rendition: Literal["auto", "main", "sub"] | None = Field(
        default=None, description="`auto`: chosen by the size of the video, the network and the codecs"
    )
    width: int | None = Field(default=None, ge=1, le=TILE_MAX, description="device pixels at which the video is shown")
    height: int | None = Field(default=None, ge=1, le=TILE_MAX, description="the same, for its height")


class Viewer(BaseModel):
    """What a WebRTC viewer gets, and why."""

    camera_id: str
    rendition: RenditionName = Field(description="the stream that it gets")
    transcoded: bool = Field(description="whether it gets H.264 that is made of that stream")
    requested: Literal["auto", "main", "sub"]
    pending: RenditionName | None = Field(description="the stream that it gets with that stream's next keyframe")
    available: list[RenditionName] = Field(description="the streams that the camera has")
    reason: str = Field(description="why it gets this one, as a clause")
    codec: str
    limit_bps: int | None = Field(description="what its network carries, if that is less than the stream")
    degraded_reason: str | None = Field(description="why this viewer sees fewer or broken frames, as a sentence")


class ViewerClock(BaseModel):
    """Frames with this RTP timestamp were captured at this time."""

    time: Time
    rtp_timestamp: int
    degraded_reason: str | None = Field(description="why this viewer sees fewer or broken frames, as a sentence")
