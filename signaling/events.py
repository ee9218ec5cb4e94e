"""Every Socket.IO event: its name, its direction, who may send it, and the model of its data.

The table :data:`EVENTS` is the single source: both ends validate by it, and ``/asyncapi.json`` is made from it.
Models of what comes in are strict and bounded, since their senders are strangers; fields that they do not know are
ignored, so that a newer sender can talk to an older gateway. Fields whose value is ``None`` are left out of what goes
out.
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
"""Metadata is kept for as long as the wish, and echoed: room for a form's worth of fields, not for files."""

SDP_MAX_CHARS = 128 * 1024
"""A browser's offer for a whole conference is smaller."""


def _plain_and_small(metadata: dict[str, Any]) -> dict[str, Any]:
    # Python reads and writes NaN, which ends a JavaScript client; what is echoed must be JSON for everybody.
    if len(json.dumps(metadata, allow_nan=False)) > METADATA_MAX_BYTES:
        raise ValueError(f"more than {METADATA_MAX_BYTES} bytes")
    if not isinstance(metadata.get("camera_id"), str | None):
        raise ValueError("camera_id is not a string")  # noqa: TRY004  (pydantic listens to ValueError)
    return metadata


ClientId = Annotated[str, Field(min_length=1, max_length=128)]
CameraId = Annotated[str, Field(min_length=1, max_length=64)]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(_plain_and_small)]


class Inbound(BaseModel):
    """What comes in."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class CaptureRequest(Inbound):
    """``metadata.camera_id`` picks the camera, else it is the default one. Metadata is kept and echoed."""

    client_id: ClientId
    metadata: Metadata | None = None

    @property
    def camera_id(self) -> str | None:
        camera_id = (self.metadata or {}).get("camera_id")
        return camera_id if isinstance(camera_id, str) else None


class CaptureStatusRequest(Inbound):
    """Without ``camera_id`` the default camera is meant."""

    requesting_client: ClientId
    camera_id: CameraId | None = None


class WebRtcOffer(Inbound):
    """A viewer's SDP offer. An offer of a client that has a connection replaces that connection."""

    client_id: ClientId
    camera_id: CameraId | None = None
    sdp: Annotated[str, Field(min_length=1, max_length=SDP_MAX_CHARS)]


class IceCandidate(Inbound):
    """RTCIceCandidateInit, as ``candidate.toJSON()`` gives it."""

    candidate: Annotated[str, Field(max_length=4096)]
    sdpMid: str | None = None  # noqa: N815  (the browser's name)
    sdpMLineIndex: int | None = None  # noqa: N815
    usernameFragment: str | None = None  # noqa: N815


class WebRtcCandidate(Inbound):
    """One of the viewer's candidates; ``null`` or an empty string ends them."""

    client_id: ClientId
    candidate: IceCandidate | Annotated[str, Field(max_length=4096)] | None = None


class WebRtcClose(Inbound):
    """The viewer leaves."""

    client_id: ClientId


class FramesSubscribe(Inbound):
    """Ask for JPEG frames of a camera; a second one replaces the first. Defaults: ``FRAME_RATE``, ``FRAME_WIDTH``."""

    camera_id: CameraId | None = None
    frame_rate: Annotated[float, Field(gt=0, le=60, description="frames a second, at most")] | None = None
    width: Annotated[int, Field(ge=16, le=7680, description="px, at most")] | None = None


class FramesUnsubscribe(Inbound):
    """End the frames of a camera."""

    camera_id: CameraId | None = None


class Outbound(BaseModel):
    """What goes out."""

    model_config = ConfigDict(frozen=True)

    def wire(self) -> dict[str, Any]:
        """As it travels."""
        return self.model_dump(exclude_none=True)


class CaptureStatusResponse(CaptureStatus):
    """A camera's status: an answer, or a change. ``client_id`` and ``metadata`` are those of the client it answers."""

    camera_id: str | None = None  # type: ignore[assignment]  # a refused command may concern no camera
    state: SessionState = SessionState.STOPPED
    error: str | None = Field(default=None, description="error code, when a command was refused")
    client_id: str | None = None
    metadata: dict[str, Any] | None = None

    def wire(self) -> dict[str, Any]:
        """As it is sent."""
        return self.model_dump(mode="json", exclude_none=True)


class FrameMetadata(Outbound):
    """``timestamp`` is when the camera made the picture. A gap in ``sequence`` is frames that were passed over for this
    receiver; ``skipped`` counts the camera's pictures that it did not get right before this one."""

    camera_id: str
    timestamp: str
    width: int
    height: int
    sequence: int
    skipped: int


class VideoFrame(Outbound):
    """One JPEG. A browser acknowledges it to get the next; an EMS that does gets fresher ones on a slow line."""

    frame_data: bytes = Field(description="JPEG")
    metadata: FrameMetadata


class WebRtcAnswer(Outbound):
    """The gateway's SDP answer. Its candidates are in it."""

    client_id: str
    camera_id: str
    sdp: str


class WebRtcError(Outbound):
    """Why there is no connection; ``transports`` names what would work instead."""

    client_id: str | None = None
    error: str
    message: str
    transports: list[str] | None = None


class AccessEnded(Outbound):
    """The token is over, or does not reach ``camera_id`` any more; without a camera, the connection ends."""

    camera_id: str | None = None
    error: str
    message: str


class FramesSubscribed(Outbound):
    """What frames will come."""

    camera_id: str
    frame_rate: float
    width: int | None = None


class Refusal(Outbound):
    """Why a command was not obeyed; the same as an error over HTTP."""

    error: str
    message: str


class Done(Outbound):
    """A command was obeyed and there is nothing more to say."""

    ok: bool = True


class Direction(StrEnum):
    """Seen from the gateway."""

    IN = "in"
    OUT = "out"


class Endpoint(Flag):
    """Which connection an event travels on."""

    EMS = auto()
    BROWSER = auto()


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the table. ``ack`` is the model of its acknowledgement on the gateway's own server, errors apart."""

    name: str
    direction: Direction
    model: type[BaseModel]
    endpoints: Endpoint
    summary: str
    ack: type[BaseModel] | None = None


_BOTH = Endpoint.EMS | Endpoint.BROWSER
_IN, _OUT = Direction.IN, Direction.OUT

EVENTS: tuple[Event, ...] = (
    Event("capture_start_request", _IN, CaptureRequest, _BOTH, "Capture a camera", CaptureStatusResponse),
    Event("capture_stop_request", _IN, CaptureRequest, _BOTH, "Take that wish back", CaptureStatusResponse),
    Event("capture_status_request", _IN, CaptureStatusRequest, _BOTH, "Ask how it is", CaptureStatusResponse),
    Event("webrtc_offer", _IN, WebRtcOffer, _BOTH, "Watch over WebRTC", WebRtcAnswer),
    Event("webrtc_ice_candidate", _IN, WebRtcCandidate, _BOTH, "One more way to reach the viewer", Done),
    Event("webrtc_close", _IN, WebRtcClose, _BOTH, "Watch no more", Done),
    Event("frames_subscribe", _IN, FramesSubscribe, Endpoint.BROWSER, "Get JPEG frames", FramesSubscribed),
    Event("frames_unsubscribe", _IN, FramesUnsubscribe, Endpoint.BROWSER, "Get no more JPEG frames", Done),
    Event("capture_status_response", _OUT, CaptureStatusResponse, _BOTH, "A camera's state, as answer and as news"),
    Event("video_frame_from_service", _OUT, VideoFrame, _BOTH, "The newest JPEG frame"),
    Event("webrtc_answer", _OUT, WebRtcAnswer, _BOTH, "The answer to an offer"),
    Event("webrtc_ice_candidate", _OUT, WebRtcCandidate, _BOTH, "One more way to reach the gateway"),
    Event("access_ended", _OUT, AccessEnded, Endpoint.BROWSER, "What the client has no right to any more, and why"),
    Event("webrtc_error", _OUT, WebRtcError, _BOTH, "Why there is no WebRTC connection"),
)

COMMANDS: Mapping[str, Event] = {event.name: event for event in EVENTS if event.direction is Direction.IN}
"""What may be sent to the gateway, by name."""

_Model = TypeVar("_Model", bound=BaseModel)


def parse(event: str, model: type[_Model], payload: object) -> _Model:
    """``payload`` as ``model``. Raises :class:`~gateway.errors.BadRequestError` with one sentence for all mistakes."""
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        mistakes = []
        # The values are not repeated: they may be huge, or secret.
        for item in error.errors(include_input=False, include_url=False, include_context=False)[:5]:
            where = ".".join(str(part) for part in item["loc"])
            mistakes.append(f"{where}: {item['msg']}" if where else item["msg"])
        raise BadRequestError(f"{event} is not understood: {'; '.join(mistakes)}"[:1000]) from None
    except RecursionError:
        raise BadRequestError(f"{event} is not understood: its data is nested too deeply") from None
