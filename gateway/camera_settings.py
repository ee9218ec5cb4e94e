"""The settings of one camera.

:class:`CameraDefaults` are the settings that can be set for all cameras and, in a table ``[cameras.ID]``, for one.
:class:`CameraSettings` are those of one camera, complete.
"""

import re
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, SecretStr

from gateway.capture.url import parse
from gateway.config.field import Applies, OptionalSecret, SettingsGroup, setting
from gateway.errors import CaptureError, redact_url

CAMERA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""A camera's id is part of URLs, file names and metrics. These characters need no escaping in any of them."""


class EngineName(StrEnum):
    """The CaptureEngine that pulls a camera."""

    AUTO = "auto"
    RTSP = "rtsp"
    PYAV = "pyav"
    OPENCV = "opencv"
    FAKE = "fake"


class RecordMode(StrEnum):
    """When a camera is recorded. ``always`` keeps it captured too."""

    ALWAYS = "always"
    CAPTURE = "capture"
    NEVER = "never"


class RecordSubMode(StrEnum):
    """Whether a sub stream is recorded. ``always`` keeps it captured too."""

    ALWAYS = "always"
    NEVER = "never"


class TranscodeMode(StrEnum):
    """Whether a camera is transcoded for viewers that decode nothing that it sends."""

    AUTO = "auto"
    NEVER = "never"


class RenditionName(StrEnum):
    """A stream of a camera: the main stream, or the smaller one of the same picture."""

    MAIN = "main"
    SUB = "sub"


class StartMode(StrEnum):
    """Whether a camera is captured from the start of the process, or only while it has viewers or clients."""

    ALWAYS = "always"
    ON_DEMAND = "on-demand"


def _check_engine(value: object) -> object:
    if isinstance(value, str) and (value in tuple(EngineName) or re.fullmatch(r"[\w.]+:\w+", value)):
        return value
    raise ValueError("name auto, rtsp, pyav, opencv, fake, or your own engine as package.module:Class")


_START_HELP = "whether a camera is captured all the time, or only while it has viewers or clients"


class CaptureSettings(SettingsGroup):
    """How a camera is captured."""

    title: ClassVar[str] = "Capture"

    capture_engine: Annotated[str, BeforeValidator(_check_engine)] = setting(
        EngineName.AUTO,
        help="the engine that pulls the camera: `auto` (`rtsp` for RTSP, otherwise `pyav`), `rtsp`, `pyav`, `opencv`,"
        " `fake`, or your own as `package.module:Class`."
        " In a camera's table the name `engine` is also accepted",
        applies=Applies.RUN,
    )
    capture_timeout: int = setting(
        5000,
        ge=100,
        le=600_000,
        unit="ms",
        help="how long opening a camera may take, and how long a camera may be silent before it counts as lost",
        applies=Applies.RUN,
    )
    capture_buffer_size: int = setting(
        1,
        ge=1,
        le=64,
        unit="frames",
        help="decoded frames that an engine which decodes (`opencv`) may hold back; more frames mean a longer delay",
        applies=Applies.RUN,
    )
    capture_tls_verify: bool = setting(
        False,
        help="whether a camera on `rtsps://` has to prove its name with a certificate",
        applies=Applies.RUN,
    )
    capture_tls_ca_file: Path | None = setting(
        None,
        unset="the system's authorities",
        example="/etc/liveedge/cameras.pem",
        help="PEM file of the authorities that sign the cameras' certificates; cannot be set through the API",
        applies=Applies.RUN,
    )
    capture_linger: float = setting(
        10.0,
        ge=0,
        le=3600,
        unit="s",
        help="how long a camera stays captured after its last viewer left; a stop command stops it at once",
        applies=Applies.LIVE,
    )


class RetrySettings(SettingsGroup):
    """How a lost connection is opened again."""

    title: ClassVar[str] = "Lost connections"

    connection_retry_attempts: int = setting(
        3,
        ge=0,
        le=1000,
        unit="attempts",
        help="how often to reconnect before a lost camera has failed, and before the log reports an event service that"
        " cannot be reached",
        applies=Applies.LIVE,
    )
    connection_retry_delay: float = setting(
        2.0,
        ge=0.05,
        le=3600,
        unit="s",
        help="time between attempts to reconnect, to cameras and to the event service; a wait that has begun keeps its"
        " length",
        applies=Applies.LIVE,
    )


class JpegSettings(SettingsGroup):
    """JPEG frames: MJPEG, Socket.IO and the frame callback."""

    title: ClassVar[str] = "JPEG"

    frame_rate: float = setting(
        10.0,
        gt=0,
        le=60,
        unit="frames/s",
        help="most JPEG frames per second; open streams keep the rate that they began with",
        applies=Applies.LIVE,
    )
    frame_width: int | None = setting(
        None,
        ge=16,
        le=7680,
        unit="px",
        unset="the camera's width",
        example=640,
        help="width of JPEG frames; open streams keep the width that they began with",
        applies=Applies.LIVE,
    )


NAME_MAX = 100


def _check_name(value: str | None) -> str | None:
    name = " ".join(value.split()) if value is not None else ""
    if len(name) > NAME_MAX or not name.isprintable():
        raise ValueError(f"must be at most {NAME_MAX} characters that can be printed")
    return name or None


class CameraDefaults(CaptureSettings, JpegSettings, RetrySettings):
    """Settings for all cameras. A camera's table sets them for that camera."""

    title: ClassVar[str] = "Cameras"

    record: RecordMode = setting(
        RecordMode.CAPTURE,
        help="when a camera is recorded; `capture` records while it is captured, `always` keeps it captured too."
        " A change finishes the file that is being written",
        applies=Applies.LIVE,
    )
    record_sub: RecordSubMode = setting(
        RecordSubMode.NEVER,
        help="whether the sub stream is recorded too: `always` keeps it captured as long as the gateway runs. It has no"
        " effect on a camera without `sub_url`",
        applies=Applies.LIVE,
    )
    start: StartMode | None = setting(
        None,
        unset="`always`, or `on-demand` with an event service",
        example=StartMode.ON_DEMAND,
        help=_START_HELP,
        applies=Applies.LIVE,
    )

    transcode: TranscodeMode = setting(
        TranscodeMode.AUTO,
        help="whether the camera is transcoded to H.264 for WebRTC viewers that decode nothing that it sends (`auto`),"
        " or not (`never`); viewers that are watching keep what they have",
        applies=Applies.LIVE,
    )


class CameraSettings(CameraDefaults):
    """One camera, all defaults filled in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: SecretStr = setting(
        help="where the camera is: `rtsp://user:password@host/path`; user and password may contain any characters",
        example="rtsp://user:password@192.0.2.7/stream1",
        applies=Applies.RUN,
    )
    start: StartMode = setting(
        StartMode.ALWAYS,
        help=_START_HELP,
        applies=Applies.LIVE,
    )

    name: Annotated[str | None, AfterValidator(_check_name)] = setting(
        None,
        unset="the camera's id",
        example="Front door",
        help="what people call the camera, in any language: at most 100 characters",
        applies=Applies.LIVE,
    )
    sub_url: OptionalSecret = setting(
        None,
        unset="the camera has no sub stream",
        example="rtsp://user:password@192.0.2.7/stream2",
        help="where the camera's sub stream is: the same picture, smaller. It is pulled only while a viewer uses it, or"
        " always where `record_sub` says so",
        applies=Applies.RUN,
    )

    def rendition(self, name: RenditionName) -> Self | None:
        """The settings of one stream alone; ``None`` where the camera has no such stream."""
        if name is RenditionName.MAIN:
            return self.model_copy(update={"sub_url": None})
        if self.sub_url is None:
            return None
        record = RecordMode.ALWAYS if self.record_sub is RecordSubMode.ALWAYS else RecordMode.NEVER
        return self.model_copy(
            update={"url": self.sub_url, "sub_url": None, "start": StartMode.ON_DEMAND, "record": record}
        )

    @property
    def public_url(self) -> str:
        """The URL without user and password: for people, and for the network."""
        url = self.url.get_secret_value()
        try:
            return redact_url(replace(parse(url), userinfo=""))
        except CaptureError:
            # It is not known where the password ends.
            return redact_url(f"{url.partition('://')[0]}://@") if "://" in url else ""

    @property
    def timeout_s(self) -> float:
        return self.capture_timeout / 1000
