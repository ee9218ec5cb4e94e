"""The settings of how a camera is captured, and how a lost connection is opened again."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BeforeValidator

from gateway.config.field import Applies, SettingsGroup, setting


class EngineName(StrEnum):
    """The CaptureEngine that pulls a camera."""

    AUTO = "auto"
    RTSP = "rtsp"
    PYAV = "pyav"
    OPENCV = "opencv"
    FAKE = "fake"


def _check_engine(value: object) -> object:
    if isinstance(value, str) and (value in tuple(EngineName) or re.fullmatch(r"[\w.]+:\w+", value)):
        return value
    raise ValueError("name auto, rtsp, pyav, opencv, fake, or your own engine as package.module:Class")


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
