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
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from gateway.errors import BadRequestError
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


class CaptureRequest(Inbound):
    """``metadata.camera_id`` selects the camera; without it, the default one. Metadata is kept and echoed."""

    client_id: ClientId
    metadata: Metadata | None = None

    @property
    def camera_id(self) -> str | None:
        camera_id = (self.metadata or {}).get("camera_id")
        return camera_id if isinstance(camera_id, str) else None


class CaptureStatusRequest(Inbound):
    """``camera_id`` selects the camera; without it, the default one."""

    requesting_client: ClientId
    camera_id: CameraId | None = None


class WebRtcOffer(Inbound):
    """A viewer's SDP offer. A second offer of a client replaces its connection."""

    client_id: ClientId
    camera_id: CameraId | None = None
    sdp: Annotated[str, Field(min_length=1, max_length=SDP_MAX_CHARS)]


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


class FramesSubscribe(Inbound):
    """Subscribe to JPEG frames of a camera. A second subscription replaces the first.

    The defaults are the settings ``FRAME_RATE`` and ``FRAME_WIDTH``.
    """

    camera_id: CameraId | None = None
    frame_rate: Annotated[float, Field(gt=0, le=60, description="frames per second, at most")] | None = None
    width: Annotated[int, Field(ge=16, le=7680, description="pixels, at most")] | None = None


class FramesUnsubscribe(Inbound):
    """End the subscription to a camera's frames."""

    camera_id: CameraId | None = None


class Outbound(BaseModel):
    """Outgoing data."""

    model_config = ConfigDict(frozen=True)

    def wire(self) -> dict[str, Any]:
        """The data as it is sent."""
        return self.model_dump(exclude_none=True)


class CaptureStatusResponse(CaptureStatus):
    """A camera's status, as an answer to a command or after a change.

    In an answer, ``client_id`` and ``metadata`` are those of the client.
    """

    camera_id: str | None = None  # type: ignore[assignment]  # a refused command may have no camera
    state: SessionState = SessionState.STOPPED
    error: str | None = Field(default=None, description="error code, if a command was refused")
    client_id: str | None = None
    metadata: dict[str, Any] | None = None

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


class WebRtcError(Outbound):
    """Why there is no connection. ``transports`` lists the transports that would work."""

    client_id: str | None = None
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
    Event("webrtc_ice_candidate", _IN, WebRtcCandidate, _BOTH, "Add an ICE candidate of the viewer", Done),
    Event("webrtc_close", _IN, WebRtcClose, _BOTH, "End a WebRTC connection", Done),
    Event("frames_subscribe", _IN, FramesSubscribe, Endpoint.BROWSER, "Subscribe to JPEG frames", FramesSubscribed),
    Event("frames_unsubscribe", _IN, FramesUnsubscribe, Endpoint.BROWSER, "End a subscription to JPEG frames", Done),
    Event(
        "capture_status_response",
        _OUT,
        CaptureStatusResponse,
        _BOTH,
        "A camera's status, as an answer and after a change",
    ),
    Event("video_frame_from_service", _OUT, VideoFrame, _BOTH, "A JPEG frame, always the newest"),
    Event("webrtc_answer", _OUT, WebRtcAnswer, _BOTH, "The answer to an offer"),
    Event("webrtc_ice_candidate", _OUT, WebRtcCandidate, _BOTH, "An ICE candidate of the gateway"),
    Event("access_ended", _OUT, AccessEnded, Endpoint.BROWSER, "The client's access ended, and why"),
    Event("webrtc_error", _OUT, WebRtcError, _BOTH, "Why there is no WebRTC connection"),
)

COMMANDS: Mapping[str, Event] = {event.name: event for event in EVENTS if event.direction is Direction.IN}
"""Events that the gateway accepts, by name."""

_Model = TypeVar("_Model", bound=BaseModel)


def parse(event: str, model: type[_Model], payload: object) -> _Model:
    """``payload`` as ``model``. Raises :class:`~gateway.errors.BadRequestError`, which lists the mistakes."""
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        mistakes = []
        # The message does not repeat values: they may be large, or secret.
        for item in error.errors(include_input=False, include_url=False, include_context=False)[:5]:
            where = ".".join(str(part) for part in item["loc"])
            mistakes.append(f"{where}: {item['msg']}" if where else item["msg"])
        raise BadRequestError(f"{event} is not valid: {'; '.join(mistakes)}"[:1000]) from None
    except RecursionError:
        raise BadRequestError(f"{event} is not valid: its data is nested too deeply") from None
