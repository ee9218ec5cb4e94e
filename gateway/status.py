"""CaptureStatus: the status of one camera.

:class:`CaptureStatus` and :class:`LiveEdge` are the only models of a camera's status. HTTP (``GET /api/cameras``),
Socket.IO (``capture_status_response``), both API documents and the player's TypeScript types are made from them.
"""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from gateway.session import SessionState


class LiveEdge(BaseModel):
    """Current live position, for every protocol that a client can resume on."""

    model_config = ConfigDict(frozen=True)

    time: str = Field(
        description="capture time of the newest frame, RFC 3339 UTC", json_schema_extra={"format": "date-time"}
    )
    media_sequence: int | None = Field(default=None, description="LL-HLS: media sequence number of the newest segment")
    part: int | None = Field(default=None, description="LL-HLS: index of the newest part in that segment")
    segment: str | None = Field(default=None, description="archive: the segment that is being recorded")
    offset_s: float | None = Field(default=None, description="archive: seconds recorded in that segment")


class StreamStatus(BaseModel):
    """State and viewers of one stream of a camera. Rates are measured, not declared; ``null`` is not known (yet)."""

    model_config = ConfigDict(frozen=True)

    state: SessionState
    is_active: bool = Field(description="whether the camera is captured, or an attempt to do so goes on")
    rtsp_url: str = Field(description="without user and password")
    error_message: str | None = Field(default=None, description="why there is no video, as a sentence")
    error_code: str | None = Field(
        default=None, description="the same for programs: the code of an error, or a reason that is more exact"
    )
    down_since: str | None = Field(
        default=None,
        description="since when there is no video that should be there, RFC 3339 UTC",
        json_schema_extra={"format": "date-time"},
    )
    viewers: dict[str, int] = Field(default_factory=dict, description="number of viewers by transport")
    codec: str | None = None
    width: int | None = None
    height: int | None = None
    audio_codec: str | None = None
    fps: float | None = None
    bitrate_bps: int | None = None
    keyframe_age_s: float | None = None
    keyframe_interval_s: float | None = None
    reconnects: int = Field(default=0, description="times that the camera was lost after a frame")
    packets_dropped: int = 0


class TranscodeState(StrEnum):
    """What a transcode does."""

    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    RETRYING = "retrying"


class TranscodeStatus(BaseModel):
    """The H.264 stream that is made of a camera's main stream, for WebRTC viewers that decode nothing that it sends."""

    model_config = ConfigDict(frozen=True)

    state: TranscodeState
    encoder: str | None = Field(default=None, description="FFmpeg's name of the encoder")
    hardware_refused: str | None = Field(
        default=None, description="which hardware encoders of its libav it does not use, and why"
    )
    width: int | None = None
    height: int | None = None
    error_message: str | None = Field(default=None, description="why the process that transcodes has ended last")
    viewers: dict[str, int] = Field(default_factory=dict, description="number of its viewers by transport")
    crashes: int = Field(default=0, description="times that the process has ended by itself")
    packets_dropped: int = Field(default=0, description="packets of the camera that it had no time for")


class CaptureStatus(StreamStatus):
    """State, stream and viewers of one camera. Rates are measured, not declared; ``null`` is not known (yet)."""

    camera_id: str
    name: str | None = Field(default=None, description="what people call the camera; null: its id")
    clients: int = Field(default=0, description="clients that asked for the capture by command")
    sub: StreamStatus | None = Field(
        default=None,
        description="the camera's sub stream; null where it has none. `viewers` above are those of both streams, and"
        " everything else there is of the main stream",
    )
    transcode: TranscodeStatus | None = Field(default=None, description="null while the camera is not transcoded")
    live_edge: LiveEdge | None = None
