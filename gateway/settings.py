"""The settings of this package: cameras, capture, JPEG and WebRTC.

:func:`load_settings` here loads these settings alone, for use as a library. The settings of the whole program are
composed in :mod:`web.settings`. How a setting is defined is in :mod:`gateway.config.field`, and where its value comes
from in :mod:`gateway.config.loader`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ValidationError, model_validator

from gateway.camera_settings import CameraDefaults, CameraSettings, RecordMode, StartMode
from gateway.camera_table import TABLE_ONLY, Given, check_camera_id, check_table, check_tls, check_url
from gateway.capture_settings import EngineName
from gateway.config.field import Applies, CommaList, OptionalSecret, SettingsGroup, setting
from gateway.config.file import SettingsFile
from gateway.config.loader import LoadedSettings, load, place_outside
from gateway.config.messages import Fault, InvalidSettingsError, contradiction, explain
from gateway.config.place import NOWHERE, Place, Where, nowhere

DEFAULT_CAMERA = "default"
DEMO_CAMERA = "demo"

DEMO_TABLES: Mapping[str, Mapping[str, Any]] = {DEMO_CAMERA: {"url": "fake://demo", "engine": EngineName.FAKE.value}}
"""The cameras where none is configured."""


def _check_tables(tables: object) -> object:
    """Refuse the settings of a camera where its table is expected."""
    names = (*TABLE_ONLY, *CameraSettings.model_fields)
    written = (name for name in names if isinstance(tables, Mapping) and not isinstance(tables.get(name, {}), Mapping))
    if (name := next(written, None)) is not None:
        raise ValueError(f"{name} is a setting of one camera: write it below [cameras.ID], as in [cameras.door]")
    return tables


class WebRtcSettings(SettingsGroup):
    """The WebRTC server."""

    title: ClassVar[str] = "WebRTC"

    webrtc_udp_port: int = setting(
        8189,
        ge=0,
        le=65_535,
        help="the one port for media, UDP and TCP; `0` takes a free port",
        applies=Applies.RESTART,
    )
    webrtc_hosts: CommaList = setting(
        [],
        example=["192.0.2.10"],
        help="addresses or names to offer in addition to the machine's own. While `HOST` is a loopback address and this"
        " is empty, media stays on this machine too",
        applies=Applies.RESTART,
    )
    ice_servers: CommaList = setting(
        [],
        example=["stun:stun.example:3478"],
        help="STUN and TURN servers for the browsers",
        applies=Applies.LIVE,
    )


class RtspServerSettings(SettingsGroup):
    """The RTSP server."""

    title: ClassVar[str] = "RTSP server"

    rtsp_server: bool = setting(True, help="whether cameras can be read over [RTSP](rtsp.md)", applies=Applies.RESTART)
    rtsp_port: int = setting(
        8554,
        ge=0,
        le=65_535,
        help="port for RTSP, on the address `HOST`; `0` takes a free port. If this is not set and 8554 is in use, there"
        " is no RTSP server",
        applies=Applies.RESTART,
    )


class TranscodeSettings(SettingsGroup):
    """Transcoding for viewers that decode nothing that a camera sends."""

    title: ClassVar[str] = "Transcoding"

    transcode_max: int | None = setting(
        None,
        ge=0,
        le=64,
        unit="cameras",
        unset="half of the machine's processors",
        example=2,
        help="how many cameras are transcoded at a time; each takes up to one processor, at low priority",
        applies=Applies.RESTART,
    )


class GatewaySettings(CameraDefaults, WebRtcSettings, RtspServerSettings, TranscodeSettings, LoadedSettings):
    """All settings of this package."""

    title: ClassVar[str] = "Cameras"
    camera_model: ClassVar[type[CameraSettings]] = CameraSettings
    """The settings of one camera. A composed class adds those of other packages."""

    rtsp_url: OptionalSecret = setting(
        None,
        example="rtsp://user:password@192.0.2.6/stream1",
        help="URL of the camera `default`: `rtsp://user:password@…`; user and password may contain any characters",
        applies=Applies.RUN,
    )
    cameras: Annotated[dict[str, dict[str, Any]], BeforeValidator(_check_tables)] = setting(
        {},
        help="the tables `[cameras.ID]`, see below; without `RTSP_URL` and any table there is the camera `demo`",
        applies=Applies.LIVE,
    )

    @property
    def default_start(self) -> StartMode:
        """How a camera starts where nothing says it."""
        return StartMode.ALWAYS

    @model_validator(mode="after")
    def _check_record_and_start(self) -> "GatewaySettings":
        if self.record is RecordMode.ALWAYS and self.start is StartMode.ON_DEMAND:
            raise contradiction(
                "RECORD = always keeps cameras captured, which contradicts START = on-demand: set RECORD = capture to"
                " record only while they are captured, or remove START",
                "start",
                "record",
            )
        return self

    def check_file(self, file: SettingsFile) -> None:
        default = file.values.get("cameras", {}).get(DEFAULT_CAMERA, {})
        if "rtsp_url" in file.values and isinstance(default, Mapping) and "url" in default:
            message = "rtsp_url is the url of [cameras.default], which has one too: remove one of them"
            raise InvalidSettingsError(Fault(file.where("rtsp_url"), "rtsp_url", message))
        for camera_id, table in (self.camera_tables() or DEMO_TABLES).items():

            def where(*keys: str, camera_id: str = camera_id) -> Place:
                if keys == ("url",) and camera_id == DEFAULT_CAMERA and self.rtsp_url is not None:
                    return place_outside("rtsp_url") or file.where("rtsp_url")
                # A value that is not in the table is the one for all cameras.
                here = file.where("cameras", camera_id, *keys)
                return here if here or not keys else place_outside(keys[0]) or file.where(*keys)

            self.camera(camera_id, table, where)

    def camera_tables(self) -> dict[str, dict[str, Any]]:
        """The tables of all cameras that the file and ``RTSP_URL`` configure."""
        tables = {camera_id: self._known(table) for camera_id, table in self.cameras.items()}
        if self.rtsp_url is not None:
            tables[DEFAULT_CAMERA] = {**tables.get(DEFAULT_CAMERA, {}), "url": self.rtsp_url.get_secret_value()}
        return tables

    def is_configured(self, camera_id: str) -> bool:
        """Whether :meth:`camera_tables` has a camera."""
        return camera_id in self.cameras or (camera_id == DEFAULT_CAMERA and self.rtsp_url is not None)

    def camera_settings(self) -> Mapping[str, CameraSettings]:
        """Every camera with its defaults filled in; the camera ``demo`` where none is configured.

        Raises :class:`~gateway.errors.SettingsError`.
        """
        tables = self.camera_tables() or DEMO_TABLES
        return {camera_id: self.camera(camera_id, table) for camera_id, table in tables.items()}

    def camera(
        self, camera_id: str, table: Mapping[str, Any], where: Where = nowhere, given: Given = Given.SETTING
    ) -> CameraSettings:
        """One camera's table over the defaults. ``where`` finds a key of the table, for the message; ``given`` is how
        its reader gave it.

        Raises :class:`~gateway.errors.SettingsError`.
        """
        check_camera_id(camera_id, where)
        check_table(camera_id, table, self.camera_model, type(self).model_fields, where)
        names = [name for name in self.camera_model.model_fields if name in type(self).model_fields]
        values: dict[str, Any] = {name: getattr(self, name) for name in names}
        values["start"] = self.start
        values.update(table)
        # What happened before an event is known only of a camera that is captured.
        by_default = StartMode.ALWAYS if values["record"] == RecordMode.EVENTS else self.default_start
        values["start"] = values["start"] or by_default
        if "engine" in values:
            values["capture_engine"] = values.pop("engine")

        def where_written(*keys: str) -> Place:
            return where(*keys) or (where("engine") if keys[:1] == ("capture_engine",) else NOWHERE)

        try:
            camera = self.camera_model(**values)
        except ValidationError as error:
            raise explain(error, where_written, self.camera_model, given.subject(camera_id)) from None
        check_url(camera_id, camera, where, given)
        check_tls(camera_id, camera, where, given)
        return camera

    def _known(self, table: dict[str, Any]) -> dict[str, Any]:
        """A camera's table without the settings of other packages, where these settings are not complete."""
        if self.is_complete:
            return table
        known = (*TABLE_ONLY, *self.camera_model.model_fields)
        return {name: value for name, value in table.items() if name in known}


def load_settings(**overrides: Any) -> GatewaySettings:
    """This package's settings; ``overrides`` win over everything. Raises :class:`~gateway.errors.SettingsError`."""
    return load(GatewaySettings, overrides)
