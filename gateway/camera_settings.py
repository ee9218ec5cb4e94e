"""The settings of one camera.

:class:`CameraDefaults` are the settings that can be set for all cameras and, in a table ``[cameras.ID]``, for one.
:class:`CameraSettings` are those of one camera, complete.
"""

import re
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, ConfigDict, SecretStr

from gateway.capture.url import parse
from gateway.capture_settings import CaptureSettings, RetrySettings
from gateway.config.field import Applies, CommaList, OptionalSecret, setting
from gateway.errors import CaptureError, redact_url
from gateway.forward.target import check_targets
from gateway.picture_settings import DetectorSettings, JpegSettings
from gateway.printable import is_printable

CAMERA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""A camera's id is part of URLs, file names and metrics. These characters need no escaping in any of them."""


class RecordMode(StrEnum):
    """When a camera is recorded. ``always`` keeps it captured too."""

    ALWAYS = "always"
    CAPTURE = "capture"
    EVENTS = "events"
    NEVER = "never"


class RecordSubMode(StrEnum):
    """When a sub stream is recorded. ``always`` and ``events`` keep it captured too."""

    ALWAYS = "always"
    EVENTS = "events"
    NEVER = "never"


class TranscodeMode(StrEnum):
    """Whether a camera is transcoded for viewers that decode nothing that it sends."""

    AUTO = "auto"
    NEVER = "never"


class TalkMode(StrEnum):
    """Whether people may talk to a camera that has a back channel."""

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


_START_HELP = "whether a camera is captured all the time, or only while it has viewers or clients"


NAME_MAX = 100


def _check_onvif_url(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        # The message does not show the URL: it may have a password.
        try:
            is_http = parse(value.get_secret_value()).scheme in ("http", "https")
        except CaptureError:
            is_http = False
        if not is_http:
            raise ValueError("must be as in http://user:password@192.0.2.7/onvif/device_service")
    return value


def _check_name(value: str | None) -> str | None:
    name = " ".join(value.split()) if value is not None else ""
    if len(name) > NAME_MAX or not is_printable(name):
        raise ValueError(f"must be at most {NAME_MAX} characters that can be printed")
    return name or None


def _check_forward(value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    check_targets(each.get_secret_value() for each in value)
    return value


class CameraDefaults(DetectorSettings, CaptureSettings, JpegSettings, RetrySettings):
    """Settings for all cameras. A camera's table sets them for that camera."""

    title: ClassVar[str] = "Cameras"

    record: RecordMode = setting(
        RecordMode.CAPTURE,
        help="when a camera is recorded; `capture` records while it is captured, `always` keeps it captured too,"
        " `events` records what events cover, with `PRE_ROLL` and `POST_ROLL`."
        " A change finishes the file that is being written",
        applies=Applies.LIVE,
    )
    record_sub: RecordSubMode = setting(
        RecordSubMode.NEVER,
        help="whether the sub stream is recorded too: `always`, or when `events` say so, with `PRE_ROLL` and"
        " `POST_ROLL`. Both keep it captured as long as the gateway runs. It has no effect on a camera without"
        " `sub_url`",
        applies=Applies.LIVE,
    )
    start: StartMode | None = setting(
        None,
        unset="`always`; with an event service `on-demand`, except where `record` is `events`",
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

    talk: TalkMode = setting(
        TalkMode.AUTO,
        help="whether people [may talk to the camera](talk.md): `auto`, if it has an ONVIF back channel, or `never`",
        applies=Applies.LIVE,
    )
    talk_max: float = setting(
        120.0,
        ge=5,
        le=3600,
        unit="s",
        help="how long one person may talk to a camera without a pause, so that nobody keeps the others out",
        applies=Applies.LIVE,
    )


class CameraSettings(CameraDefaults):
    """One camera, all defaults filled in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: SecretStr = setting(
        help="where the camera is: `rtsp://user:password@host/path`; user and password may contain any characters."
        " `whip:` (or `publish:`) is for one that is [published](cameras.md#a-camera-that-is-published) to the gateway",
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
    sites: CommaList = setting(
        [],
        example=["warehouse"],
        help="in a [cluster](cluster.md): only a node with one of these `NODE_SITES` captures the camera. Without it,"
        " every node may",
        applies=Applies.LIVE,
    )
    paused: bool = setting(
        False,
        help="whether the camera is [paused](cameras.md#pause-a-camera): neither pulled nor recorded, also while"
        " viewers or clients want it; its settings and recordings stay",
        applies=Applies.RUN,
    )
    sub_url: OptionalSecret = setting(
        None,
        unset="the camera has no sub stream",
        example="rtsp://user:password@192.0.2.7/stream2",
        help="where the camera's sub stream is: the same picture, smaller. It is pulled only while a viewer uses it, or"
        " always where `record_sub` says so",
        applies=Applies.RUN,
    )

    onvif_url: Annotated[OptionalSecret, AfterValidator(_check_onvif_url)] = setting(
        None,
        unset="the camera's ONVIF is not used",
        example="http://user:password@192.0.2.7/onvif/device_service",
        help="where the camera's [ONVIF](onvif.md) device service is; without a user, that of `url` is used",
        applies=Applies.LIVE,
    )
    onvif_sync_point: bool = setting(
        False,
        help="whether the camera is asked by ONVIF for a keyframe where one is missing"
        " ([SetSynchronizationPoint](onvif.md#keyframes-on-request)), where `onvif_url` is set",
        applies=Applies.LIVE,
    )
    onvif_events: bool = setting(
        True,
        help="whether what the camera detects becomes [events](onvif.md#events), where `onvif_url` is set",
        applies=Applies.LIVE,
    )
    talk_url: OptionalSecret = setting(
        None,
        unset="`url`",
        example="rtsp://user:password@192.0.2.7/onvif/media1",
        help="where the camera takes [a voice](talk.md), if not at `url`: the `rtsp://` URL of the stream that its"
        " ONVIF names",
        applies=Applies.LIVE,
    )
    forward: Annotated[tuple[SecretStr, ...], AfterValidator(_check_forward)] = setting(
        (),
        example=["rtmp://a.rtmp.example.com/live2/stream-key"],
        help="servers that the camera is [pushed to](cameras.md#push-a-camera-to-other-servers), as long as the gateway"
        " runs: `rtmp://`, `rtmps://`, `rtsp://`, `rtsps://` or `whip:https://` URLs, at most 8",
        applies=Applies.LIVE,
    )

    def rendition(self, name: RenditionName) -> Self | None:
        """The settings of one stream alone; ``None`` where the camera has no such stream."""
        if name is RenditionName.MAIN:
            return self.model_copy(update={"sub_url": None})
        if self.sub_url is None:
            return None
        record = RecordMode(self.record_sub)
        # What was before an event has to be in memory.
        start = StartMode.ALWAYS if record is RecordMode.EVENTS else StartMode.ON_DEMAND
        return self.model_copy(update={"url": self.sub_url, "sub_url": None, "start": start, "record": record})

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
