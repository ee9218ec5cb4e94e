"""The data of every Socket.IO event that the gateway accepts, and how it is read.

Rules:

1. Models of incoming data are strict and bounded, because the gateway does not trust the sender.
2. Unknown fields are ignored, so that a newer client can talk to an older gateway. The sender is warned of them.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from gateway.config.faults import describe
from gateway.errors import BadRequestError
from gateway.event import PAGE_DEFAULT, PAGE_MAX
from gateway.event_models import EventFields, EventPatchFields, Moment, Text, check_text
from gateway.json_value import json_text
from gateway.onvif.ptz_command import PtzFields
from signaling.frame_options import FrameOptions, Quality, Width

METADATA_MAX_BYTES = 8 * 1024
"""Metadata is kept as long as the client's request, and echoed. This is enough for the fields of a form."""

SDP_MAX_CHARS = 128 * 1024
"""A browser's offer for a large conference is smaller."""


SEGMENTS_MAX = 500
"""Segments in one answer: 300 kB of JSON. An EMS may accept messages of 1 MB."""


def check_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a capture, as it is. Raises ``ValueError`` if it is too long, or names no valid camera."""
    if len(json_text(metadata).encode()) > METADATA_MAX_BYTES:
        raise ValueError(f"must be at most {METADATA_MAX_BYTES} bytes of JSON")
    if not isinstance(metadata.get("camera_id"), str | None):
        raise ValueError("has a camera_id that is not text")  # noqa: TRY004  (pydantic expects ValueError)
    return metadata


ClientId = Annotated[str, Field(min_length=1, max_length=128)]
CameraId = Annotated[str, Field(min_length=1, max_length=64)]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(check_metadata)]


class Inbound(BaseModel):
    """Incoming data."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class NamesCamera(Inbound):
    """A camera may be named by ``camera_id`` or ``metadata.camera_id``. Both at once must name the same."""

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


class CameraRequest(NamesCamera):
    """A request about one camera; about the default one, if it names none."""


class CaptureRequest(CameraRequest, FrameOptions):
    """Metadata is kept and echoed.

    ``frame_rate``, ``width`` and ``quality`` are of the JPEG frames that the EMS gets of the camera. They may be in
    ``metadata`` instead; values there that cannot be used are ignored, with a warning.
    """

    client_id: ClientId

    @property
    def frames(self) -> FrameOptions:
        """The frames that are asked for, wherever the request says it."""
        options, _ = frames_in_metadata(self.metadata)
        own = {name: value for name in FrameOptions.model_fields if (value := getattr(self, name)) is not None}
        return options.model_copy(update=own)


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


def check_candidate(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """A candidate in one of its forms. Raises ``ValueError``, in place of one error for each form."""
    try:
        return check(value)
    except ValidationError:
        raise ValueError("must be an RTCIceCandidateInit, or text of at most 4096 characters, or null") from None


class WebRtcCandidate(Inbound):
    """An ICE candidate. ``null`` or an empty string: there are no more candidates."""

    client_id: ClientId
    candidate: Annotated[
        IceCandidate | Annotated[str, Field(max_length=4096)] | None, WrapValidator(check_candidate)
    ] = None


class WebRtcClose(Inbound):
    """End the client's WebRTC connection."""

    client_id: ClientId


class FramesSubscribe(CameraRequest, FrameOptions):
    """Subscribe to JPEG frames of a camera. A second subscription replaces the first.

    The defaults are the settings ``FRAME_RATE`` and ``FRAME_WIDTH``.
    """


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


class EventListRequest(NamesCamera):
    """Events that overlap a time range, newest first; of all cameras, if it names none."""

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


class PtzRequest(CameraRequest, PtzFields):
    """Move a camera. A movement ends after ``timeout_s``, with the next command, or when its connection ends."""

    client_id: ClientId | None = None


class SnapshotRequest(CameraRequest):
    """One picture: of now, or the recorded one of a moment.

    A camera that is not captured is started for it.
    """

    client_id: ClientId | None = None
    at: Moment | None = None
    width: Width | None = None
    quality: Quality | None = None
    wait: Annotated[
        float | None, Field(ge=0, le=10, description="seconds to wait for a camera that connects; 10 without it")
    ] = None


class SegmentsListRequest(CameraRequest):
    """Recorded segments of a camera that overlap a time range, oldest first."""

    client_id: ClientId | None = None
    start: Moment | None = None
    end: Moment | None = None
    rendition: Annotated[Literal["auto", "main", "sub"] | None, Field(description="the stream; both without it")] = None
    limit: Annotated[int, Field(ge=1, le=SEGMENTS_MAX)] = 100
    cursor: Annotated[str, Field(max_length=200)] | None = None


class SegmentAtRequest(CameraRequest):
    """The recorded segment of a moment, and the offset in it."""

    client_id: ClientId | None = None
    time: Moment
    rendition: Annotated[
        Literal["auto", "main", "sub"] | None, Field(description="the stream; that which was recorded without it")
    ] = None


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
    if not isinstance(payload, dict):
        return []
    fields = sorted(payload.keys() - model.model_fields.keys(), key=str)[:5]
    warnings = [f"there is no field {str(field)[:64]!r}; it is ignored" for field in fields]
    if issubclass(model, CaptureRequest):
        warnings += frames_in_metadata(payload.get("metadata"))[1]
    return warnings


def frames_in_metadata(metadata: object) -> tuple[FrameOptions, list[str]]:
    """What metadata says about frames, and a warning for each value that cannot be used: metadata is free."""
    usable, warnings = {}, []
    for name in FrameOptions.model_fields:
        value = metadata.get(name) if isinstance(metadata, dict) else None
        if value is None:
            continue
        try:
            usable[name] = getattr(FrameOptions.model_validate({name: value}), name)
        except ValidationError as error:
            why = describe(error.errors(include_input=False, include_url=False)[0])
            warnings.append(f"metadata.{name} {why}; it is ignored")
    return FrameOptions(**usable), warnings


def parse(event: str, model: type[_Model], payload: object) -> _Model:
    """``payload`` as ``model``. Raises :class:`~gateway.errors.BadRequestError`, which lists the mistakes."""
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        mistakes = []
        # The message does not repeat values: they may be large, or secret.
        for item in error.errors(include_input=False, include_url=False)[:5]:
            where = ".".join(str(part) for part in item["loc"])
            subject = f"{where}: " if where else "" if item["type"] == "value_error" else "the data "
            mistakes.append(f"{subject}{describe(item)}")
        raise BadRequestError(f"{event} is not valid: {'; '.join(mistakes)}"[:1000]) from None
    except RecursionError:
        raise BadRequestError(f"{event} is not valid: its data is nested too deeply") from None
