"""Every setting, its default and its unit.

A value is taken from the first place that has it: the process environment; ``.env.<ENVIRONMENT>`` and then ``.env`` in
the working directory; ``liveedge.toml`` there (``LIVEEDGE_CONFIG`` names another). Names are upper case in the
environment and lower case in the file. Cameras beyond the one of ``RTSP_URL`` are tables ``[cameras.ID]`` of the file.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from gateway.errors import SettingsError, redact

CAMERA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""A camera's id stands in URLs, file names and metrics, and so is kept to what is plain in all of them."""

DEFAULT_CAMERA = "default"
DEMO_CAMERA = "demo"


class EngineName(StrEnum):
    """Which CaptureEngine pulls a camera."""

    PYAV = "pyav"
    OPENCV = "opencv"
    FAKE = "fake"


class RecordMode(StrEnum):
    """When a camera is recorded. ``always`` keeps it captured for good."""

    ALWAYS = "always"
    CAPTURE = "capture"
    NEVER = "never"


class StartMode(StrEnum):
    """Whether a camera is captured from start-up on, or only while somebody wants it."""

    ALWAYS = "always"
    ON_DEMAND = "on-demand"


class FsyncMode(StrEnum):
    """When recorded fragments are forced to the disk."""

    ALWAYS = "always"
    INTERVAL = "interval"
    NEVER = "never"


def _split_commas(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _engine(value: object) -> object:
    if isinstance(value, str) and (value in tuple(EngineName) or re.fullmatch(r"[\w.]+:\w+", value)):
        return value
    raise ValueError("name pyav, opencv, fake, or an engine of your own as package.module:Class")


CommaList = Annotated[list[str], NoDecode, BeforeValidator(_split_commas)]


class CaptureDefaults(BaseModel):
    """What may be set for all cameras, and for one camera over that."""

    capture_engine: Annotated[str, BeforeValidator(_engine)] = EngineName.PYAV
    capture_buffer_size: int = Field(1, ge=1, le=64, description="decoded frames that may wait; more is older")
    capture_timeout: int = Field(5000, ge=100, le=600_000, description="ms, for opening and for silence")
    connection_retry_attempts: int = Field(3, ge=0, le=1000)
    connection_retry_delay: float = Field(2.0, ge=0.05, le=3600, description="s")
    capture_linger: float = Field(10.0, ge=0, le=3600, description="s between the last viewer's leaving and the stop")
    archive_segment_seconds: int = Field(600, ge=2, le=86_400, description="s of wall clock a file")
    archive_max_age: float | None = Field(None, gt=0, description="s; None keeps for ever")
    archive_max_bytes: int | None = Field(None, gt=0)
    archive_min_free_bytes: int = Field(1 << 30, ge=0)
    archive_fsync: FsyncMode = FsyncMode.ALWAYS
    frame_rate: float = Field(10.0, gt=0, le=60, description="JPEG frames a second")
    frame_width: int | None = Field(None, ge=16, le=7680, description="px; None keeps the camera's")


class CameraSettings(CaptureDefaults):
    """One camera, all defaults filled in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: SecretStr
    record: RecordMode = RecordMode.CAPTURE
    start: StartMode = StartMode.ALWAYS

    @property
    def public_url(self) -> str:
        """The URL without user and password, for people and for the wire."""
        return redact(self.url.get_secret_value())

    @property
    def timeout_s(self) -> float:
        return self.capture_timeout / 1000


class Settings(CaptureDefaults, BaseSettings):
    """The whole process. Build it with :func:`load_settings`, which turns every mistake into a sentence."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    rtsp_url: SecretStr | None = None
    cameras: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="the file's camera tables, as they stand"
    )
    record: RecordMode | None = None
    start: StartMode | None = None

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65_535, description="0 takes a free one")
    debug: bool = False
    data_dir: Path = Path("data")
    database_url: SecretStr | None = None
    archive_metadata: str | None = Field(None, description="module:function that adds JSON to each archive segment")

    socketio_server_url: SecretStr | None = None
    socketio_auth_token: SecretStr | None = None
    messaging: str = "socketio"

    webrtc_udp_port: int = Field(8189, ge=0, le=65_535, description="0 takes a free one")
    webrtc_hosts: CommaList = Field(default_factory=list)
    ice_servers: CommaList = Field(default_factory=list)

    @field_validator("rtsp_url", "socketio_server_url", "database_url", "socketio_auth_token", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        environment = os.environ.get("ENVIRONMENT")
        files = (".env", f".env.{environment}") if environment else (".env",)
        return (
            init_settings,
            EnvSettingsSource(settings_cls, env_ignore_empty=True),
            DotEnvSettingsSource(settings_cls, env_file=files, env_ignore_empty=True),
            TomlConfigSettingsSource(settings_cls, toml_file=_config_file()),
        )

    def camera_settings(self) -> Mapping[str, CameraSettings]:
        """Every camera with its defaults filled in; camera ``demo`` where none is configured.

        Raises :class:`~gateway.errors.SettingsError`.
        """
        tables = dict(self.cameras)
        if self.rtsp_url is not None:
            tables.setdefault(DEFAULT_CAMERA, {})
            tables[DEFAULT_CAMERA] = {**tables[DEFAULT_CAMERA], "url": self.rtsp_url.get_secret_value()}
        if not tables:
            tables[DEMO_CAMERA] = {"url": "fake://demo", "engine": EngineName.FAKE}
        return {camera_id: self.camera(camera_id, table) for camera_id, table in tables.items()}

    def camera(self, camera_id: str, table: Mapping[str, Any]) -> CameraSettings:
        """One camera's table over the defaults. Raises :class:`~gateway.errors.SettingsError`."""
        if not CAMERA_ID.fullmatch(camera_id):
            raise SettingsError(
                f"camera id {camera_id!r} cannot be used: take letters, digits, '-' and '_', 64 at most, a letter or"
                " digit first"
            )
        values: dict[str, Any] = {name: getattr(self, name) for name in CaptureDefaults.model_fields}
        # With an EMS that starts and stops captures, capturing unasked would take the reins out of its hands.
        values["start"] = self.start or (StartMode.ON_DEMAND if self.socketio_server_url else StartMode.ALWAYS)
        values["record"] = self.record or RecordMode.CAPTURE
        given = dict(table)
        if "engine" in given:
            given["capture_engine"] = given.pop("engine")
        try:
            camera = CameraSettings(**{**values, **given})
        except ValidationError as error:
            raise SettingsError(_sentence(error, f"camera {camera_id}: ")) from None
        _check_url(camera_id, camera)
        return camera


def load_settings(**overrides: Any) -> Settings:
    """Settings of this process; ``overrides`` win over everything. Raises :class:`~gateway.errors.SettingsError`."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{_config_file()} is not valid TOML: {error}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"a settings file is not UTF-8: {error.reason}") from None


def _config_file() -> Path:
    return Path(os.environ.get("LIVEEDGE_CONFIG") or "liveedge.toml")


_SCHEMES = ("rtsp://", "rtsps://")


def _check_url(camera_id: str, camera: CameraSettings) -> None:
    url = camera.url.get_secret_value()
    if camera.capture_engine not in (EngineName.PYAV, EngineName.OPENCV):
        return
    if not url.lower().startswith(_SCHEMES):
        # The URL itself stays out of the sentence: without its scheme nobody can tell where the password ends.
        raise SettingsError(
            f"camera {camera_id}: its URL does not start with rtsp:// or rtsps://; set RTSP_URL or the camera's url to"
            " what its manual gives, as in rtsp://user:password@192.0.2.7/stream1"
        )


def _sentence(error: ValidationError, before: str = "") -> str:
    """One sentence for all mistakes, with each setting's name as its user wrote it, and no value (secrets)."""
    parts = []
    for item in error.errors(include_input=False, include_url=False):
        name = ".".join(str(part) for part in item["loc"]) or "settings"
        if item["type"] == "extra_forbidden":
            parts.append(f"{name} is not a setting")
        else:
            parts.append(f"{name.upper()}: {item['msg'][:1].lower()}{item['msg'][1:]}")
    return before + "; ".join(parts)
