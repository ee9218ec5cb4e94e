"""Every Socket.IO event: its name, its direction, the connections that it is used on, and the model of its data.

Rules:

1. The table :data:`EVENTS` is the only definition. Incoming data is validated with it, and ``/asyncapi.json`` is
   generated from it.
2. Models of incoming data are strict and bounded, because the gateway does not trust the sender. Unknown fields are
   ignored, so that a newer client can talk to an older gateway.
3. Outgoing data leaves out fields whose value is ``None``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Flag, StrEnum, auto
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from gateway.config.faults import describe
from gateway.errors import BadRequestError
from gateway.event import PAGE_DEFAULT, PAGE_MAX, EventFields, EventModel, EventPatchFields, Moment, Text, check_text
from gateway.session import SessionState
from gateway.status import CaptureStatus

METADATA_MAX_BYTES = 8 * 1024
"""Metadata is kept as long as the client's request, and echoed. This is enough for the fields of a form."""

SDP_MAX_CHARS = 128 * 1024
"""A browser's offer for a large conference is smaller."""


def check_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a capture, as it is. Raises ``ValueError`` if it is too long, or names no valid camera."""
    # Python's json accepts NaN, which a JavaScript client cannot parse when it is echoed.
    if len(json.dumps(metadata, allow_nan=False)) > METADATA_MAX_BYTES:
        raise ValueError(f"more than {METADATA_MAX_BYTES} bytes")
    if not isinstance(metadata.get("camera_id"), str | None):
        raise ValueError("camera_id is not a string")  # noqa: TRY004  (pydantic expects ValueError)
    return metadata


ClientId = Annotated[str, Field(min_length=1, max_length=128)]
CameraId = Annotated[str, Field(min_length=1, max_length=64)]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(check_metadata)]


class Inbound(BaseModel):
    """Incoming data."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class CameraRequest(Inbound):
    """A request about one camera, named by ``camera_id`` or ``metadata.camera_id``; without either, the default one.

    Both at once must name the same.
    """

    camera_id: CameraId | None = None
    metadata: Metadata | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_one_camera(cls, data: Any) -> Any:
        metadata = data.get("metadata") if isinstance(data, dict) else None
        inner = metadata.get("camera_id") if isinstance(metadata, dict) else None
        if inner is None:
            return data
        if data.get("camera_id") not in (None, inner):
            raise ValueError("camera_id and metadata.camera_id name different cameras; name one of them")
        return {**data, "camera_id": inner}


class CaptureRequest(CameraRequest):
    """Metadata is kept and echoed."""

    client_id: ClientId


class CaptureStatusRequest(CameraRequest):
    """A camera's status, for ``requesting_client``."""

    requesting_client: ClientId


class WebRtcOffer(CameraRequest):
    """A viewer's SDP offer. A second offer of a client replaces its connection."""

    client_id: ClientId
    sdp: Annotated[str, Field(min_length=1, max_length=SDP_MAX_CHARS)]
    rendition: Annotated[
        Literal["auto", "main", "sub"] | None, Field(description="the stream of the camera; `auto` without it")
    ] = None
    width: Annotated[
        int | None, Field(ge=1, le=16_384, description="device pixels at which the video is shown, for `auto`")
    ] = None
    height: Annotated[int | None, Field(ge=1, le=16_384)] = None


class WebRtcRenditionRequest(Inbound):
    """Ask for another stream for the client's WebRTC connection, or tell at what size the video is shown.

    What is left out stays as it is. With neither, the answer tells what the viewer gets.
    """

    client_id: ClientId
    rendition: Annotated[Literal["auto", "main", "sub"] | None, Field(description="the stream of the camera")] = None
    width: Annotated[
        int | None, Field(ge=1, le=16_384, description="device pixels at which the video is shown, for `auto`")
    ] = None
    height: Annotated[int | None, Field(ge=1, le=16_384)] = None


class IceCandidate(Inbound):
    """RTCIceCandidateInit, as ``candidate.toJSON()`` returns it."""

    candidate: Annotated[str, Field(max_length=4096)]
    sdpMid: str | None = None  # noqa: N815  (the name in W3C WebRTC)
    sdpMLineIndex: int | None = None  # noqa: N815
    usernameFragment: str | None = None  # noqa: N815


class WebRtcCandidate(Inbound):
    """An ICE candidate. ``null`` or an empty string: there are no more candidates."""

    client_id: ClientId
    candidate: IceCandidate | Annotated[str, Field(max_length=4096)] | None = None


class WebRtcClose(Inbound):
    """End the client's WebRTC connection."""

    client_id: ClientId


class FramesSubscribe(CameraRequest):
    """Subscribe to JPEG frames of a camera. A second subscription replaces the first.

    The defaults are the settings ``FRAME_RATE`` and ``FRAME_WIDTH``.
    """

    frame_rate: Annotated[float, Field(gt=0, le=60, description="frames per second, at most")] | None = None
    width: Annotated[int, Field(ge=16, le=7680, description="pixels, at most")] | None = None


class FramesUnsubscribe(CameraRequest):
    """End the subscription to a camera's frames."""


class EventCreateRequest(CameraRequest, EventFields):
    """Something happened on a camera, or happens from now on. Without ``end`` and ``duration_s`` it is open.

    A repeated request with the same ``idempotency_key`` gets the first one's event.
    """

    client_id: ClientId | None = None
    idempotency_key: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(check_text)] | None = None


class EventUpdateRequest(Inbound, EventPatchFields):
    """Change an event; what is left out stays."""

    event_id: Annotated[str, Field(min_length=1, max_length=64)]
    client_id: ClientId | None = None


class EventListRequest(Inbound):
    """Events that overlap a time range, newest first; without ``camera_id``, of all cameras."""

    client_id: ClientId | None = None
    camera_id: Annotated[CameraId, AfterValidator(check_text)] | None = None
    start: Moment | None = None
    end: Moment | None = None
    labels: Annotated[list[Text], Field(max_length=32)] = []
    sources: Annotated[list[Text], Field(max_length=32)] = []
    text: Text | None = None
    reviewed: bool | None = None
    order: Literal["newest", "oldest"] = "newest"
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT
    cursor: Annotated[str, Field(max_length=200)] | None = None


class Outbound(BaseModel):
    """Outgoing data."""

    model_config = ConfigDict(frozen=True)

    def wire(self) -> dict[str, Any]:
        """The data as it is sent."""
        return self.model_dump(exclude_none=True)


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
    warnings: list[str] | None = Field(default=None, description="fields of the command that do not exist")

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


class WebRtcRendition(Outbound):
    """What a WebRTC viewer gets, and why."""

    client_id: str
    camera_id: str
    rendition: Literal["main", "sub"] = Field(description="the stream that it gets")
    requested: Literal["auto", "main", "sub"]
    pending: Literal["main", "sub"] | None = Field(
        default=None, description="the stream that it gets with that stream's next keyframe"
    )
    available: list[Literal["main", "sub"]] = Field(description="the streams that the camera has")
    codec: str
    reason: str = Field(description="why it gets this one, as a clause")


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


class EventResponse(Outbound):
    """The answer to a command about events: one event, or a list with ``next_cursor``, or why it was refused."""

    client_id: str | None = None
    event: EventModel | None = None
    events: list[EventModel] | None = None
    next_cursor: str | None = None
    error: str | None = Field(default=None, description="error code, if the command was refused")
    message: str | None = None

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


class Refusal(Outbound):
    """Why a command was refused; the same fields as an error over HTTP."""

    error: str
    message: str


class Done(Outbound):
    """A command succeeded, and has no other result."""

    ok: bool = True


class Direction(StrEnum):
    """The direction, from the gateway's point of view."""

    IN = "in"
    OUT = "out"


class Endpoint(Flag):
    """The connections on which an event is used."""

    EMS = auto()
    BROWSER = auto()


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the table. ``ack`` is the model of the acknowledgement of a command that succeeds."""

    name: str
    direction: Direction
    model: type[BaseModel]
    endpoints: Endpoint
    summary: str
    ack: type[BaseModel] | None = None


_BOTH = Endpoint.EMS | Endpoint.BROWSER
_IN, _OUT = Direction.IN, Direction.OUT

EVENTS: tuple[Event, ...] = (
    Event("capture_start_request", _IN, CaptureRequest, _BOTH, "Start the capture of a camera", CaptureStatusResponse),
    Event("capture_stop_request", _IN, CaptureRequest, _BOTH, "Withdraw a start of the capture", CaptureStatusResponse),
    Event(
        "capture_status_request", _IN, CaptureStatusRequest, _BOTH, "Request a camera's status", CaptureStatusResponse
    ),
    Event("webrtc_offer", _IN, WebRtcOffer, _BOTH, "Join as a WebRTC viewer", WebRtcAnswer),
    Event(
        "webrtc_rendition_request",
        _IN,
        WebRtcRenditionRequest,
        _BOTH,
        "Ask for another stream, or tell the size of the video",
        WebRtcRendition,
    ),
    Event("webrtc_ice_candidate", _IN, WebRtcCandidate, _BOTH, "Add an ICE candidate of the viewer", Done),
    Event("webrtc_close", _IN, WebRtcClose, _BOTH, "End a WebRTC connection", Done),
    Event("frames_subscribe", _IN, FramesSubscribe, Endpoint.BROWSER, "Subscribe to JPEG frames", FramesSubscribed),
    Event("frames_unsubscribe", _IN, FramesUnsubscribe, Endpoint.BROWSER, "End a subscription to JPEG frames", Done),
    Event("event_create_request", _IN, EventCreateRequest, _BOTH, "Create an event", EventResponse),
    Event("event_update_request", _IN, EventUpdateRequest, _BOTH, "Change an event", EventResponse),
    Event("event_list_request", _IN, EventListRequest, _BOTH, "List events", EventResponse),
    Event("event_response", _OUT, EventResponse, _BOTH, "The answer to a command about events"),
    Event("event_changed", _OUT, EventChanged, _BOTH, "An event was created, changed or deleted"),
    Event(
        "capture_status_response",
        _OUT,
        CaptureStatusResponse,
        _BOTH,
        "A camera's status, as an answer and after a change",
    ),
    Event("video_frame_from_service", _OUT, VideoFrame, _BOTH, "A JPEG frame, always the newest"),
    Event("webrtc_answer", _OUT, WebRtcAnswer, _BOTH, "The answer to an offer"),
    Event("webrtc_rendition", _OUT, WebRtcRendition, _BOTH, "Which stream a viewer gets, and why"),
    Event("webrtc_ice_candidate", _OUT, WebRtcCandidate, _BOTH, "An ICE candidate of the gateway"),
    Event("access_ended", _OUT, AccessEnded, Endpoint.BROWSER, "The client's access ended, and why"),
    Event("webrtc_error", _OUT, WebRtcError, _BOTH, "Why there is no WebRTC connection"),
)

COMMANDS: Mapping[str, Event] = {event.name: event for event in EVENTS if event.direction is Direction.IN}
"""Events that the gateway accepts, by name."""

_Model = TypeVar("_Model", bound=BaseModel)


def camera_named(payload: object) -> str | None:
    """The camera that data names, valid or not, so that its refusal can name it; ``None`` if none or several."""
    if not isinstance(payload, dict):
        return None
    metadata = payload.get("metadata")
    places = (payload.get("camera_id"), metadata.get("camera_id") if isinstance(metadata, dict) else None)
    named = {name for name in places if isinstance(name, str) and 0 < len(name) <= 64 and name.isprintable()}
    return named.pop() if len(named) == 1 else None


def names_camera(payload: object) -> bool:
    """Whether data tries to name a camera."""
    return isinstance(payload, dict) and any(
        isinstance(place, dict) and place.get("camera_id") is not None for place in (payload, payload.get("metadata"))
    )


def warnings_of(model: type[BaseModel], payload: object) -> list[str]:
    """A sentence for each field (five at most) that the model does not have. These are ignored (rule 2)."""
    fields = payload.keys() - model.model_fields.keys() if isinstance(payload, dict) else ()
    return [f"there is no field {str(field)[:64]!r}; it is ignored" for field in sorted(fields, key=str)[:5]]


def parse(event: str, model: type[_Model], payload: object) -> _Model:
    """``payload`` as ``model``. Raises :class:`~gateway.errors.BadRequestError`, which lists the mistakes."""
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        mistakes = []
        # The message does not repeat values: they may be large, or secret.
        for item in error.errors(include_input=False, include_url=False)[:5]:
            where = ".".join(str(part) for part in item["loc"])
            mistakes.append(f"{where}: {describe(item)}" if where else f"the data {describe(item)}")
        raise BadRequestError(f"{event} is not valid: {'; '.join(mistakes)}"[:1000]) from None
    except RecursionError:
        raise BadRequestError(f"{event} is not valid: its data is nested too deeply") from None
