"""Every Socket.IO event: its name, its direction, the connections that it is used on, and the model of its data.

The table :data:`EVENTS` is the only definition. Incoming data is validated with it, and ``/asyncapi.json`` is generated
from it. The models are in :mod:`signaling.requests` and :mod:`signaling.answers`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Flag, StrEnum, auto

from pydantic import BaseModel

from signaling.answers import (
    AccessEnded,
    CaptureStatusResponse,
    Done,
    EventChanged,
    EventResponse,
    FramesSubscribed,
    PtzResponse,
    SegmentAtResponse,
    SegmentsResponse,
    ServiceHeartbeat,
    SnapshotResponse,
    VideoFrame,
    WebRtcAnswer,
    WebRtcError,
    WebRtcRendition,
)
from signaling.requests import (
    CaptureRequest,
    CaptureStatusRequest,
    EventCreateRequest,
    EventListRequest,
    EventUpdateRequest,
    FramesSubscribe,
    FramesUnsubscribe,
    PtzRequest,
    SegmentAtRequest,
    SegmentsListRequest,
    SnapshotRequest,
    WebRtcCandidate,
    WebRtcClose,
    WebRtcOffer,
    WebRtcRenditionRequest,
)

EVENTS_VERSION = "1.2.0"
"""Of this interface (semver): another first number where a program that uses it has to change, the second for an event
or a field that is new, the third for a text."""


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
    """A row of the table. ``ack`` is the model of the acknowledgement of a command that succeeds.

    A command that ``is_query`` changes nothing, and may take long: it delays no other command and no other answer.
    """

    name: str
    direction: Direction
    model: type[BaseModel]
    endpoints: Endpoint
    summary: str
    ack: type[BaseModel] | None = None
    is_query: bool = False


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
    Event("ptz_request", _IN, PtzRequest, _BOTH, "Move a camera", PtzResponse),
    Event("snapshot_request", _IN, SnapshotRequest, _BOTH, "Get one picture", SnapshotResponse, is_query=True),
    Event(
        "segments_list_request",
        _IN,
        SegmentsListRequest,
        _BOTH,
        "List recorded segments",
        SegmentsResponse,
        is_query=True,
    ),
    Event(
        "segment_at_request",
        _IN,
        SegmentAtRequest,
        _BOTH,
        "Find the recorded segment of a moment",
        SegmentAtResponse,
        is_query=True,
    ),
    Event("service_heartbeat", _OUT, ServiceHeartbeat, Endpoint.EMS, "The gateway runs, and how its cameras are"),
    Event("ptz_response", _OUT, PtzResponse, _BOTH, "The answer to a request to move a camera"),
    Event("snapshot_response", _OUT, SnapshotResponse, _BOTH, "The answer to a request for a picture"),
    Event("segments_response", _OUT, SegmentsResponse, _BOTH, "The answer to a request for a list of segments"),
    Event("segment_at_response", _OUT, SegmentAtResponse, _BOTH, "The answer to a request for a moment"),
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
