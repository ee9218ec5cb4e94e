"""Every setting, its default and its unit.

A value is taken from the first place that has it: the process environment; ``.env.<ENVIRONMENT>`` and then ``.env`` in
the working directory; ``liveedge.toml`` there (``LIVEEDGE_CONFIG`` names another). Names are upper case in the
environment and lower case in the file. Cameras beyond the one of ``RTSP_URL`` are tables ``[cameras.ID]`` of the file.

What cannot be meant is refused: a name that is no setting, a value out of its range, two settings that contradict each
other; with its line, where it is in the file. The environment is everybody's, so a name in it that only looks like one
of ours is told (:func:`misspelt`) and not refused.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from dotenv import dotenv_values
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from gateway.access import AccessSettings, CommaList
from gateway.capture.url import parse
from gateway.errors import CaptureError, SettingsError, redact_url
from gateway.settings_file import SettingsFile, suggestion

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


class LogFormat(StrEnum):
    """How a line of the log looks: for people, or one JSON object."""

    CONSOLE = "console"
    JSON = "json"


class FsyncMode(StrEnum):
    """When recorded fragments are forced to the disk."""

    ALWAYS = "always"
    INTERVAL = "interval"
    NEVER = "never"


def _engine(value: object) -> object:
    if isinstance(value, str) and (value in tuple(EngineName) or re.fullmatch(r"[\w.]+:\w+", value)):
        return value
    raise ValueError("name pyav, opencv, fake, or an engine of your own as package.module:Class")


class CaptureDefaults(BaseModel):
    """What may be set for all cameras, and for one camera over that."""

    capture_engine: Annotated[str, BeforeValidator(_engine)] = EngineName.PYAV
    capture_buffer_size: int = Field(1, ge=1, le=64, description="decoded frames that may wait; more is older")
    capture_timeout: int = Field(5000, ge=100, le=600_000, description="ms, for opening and for silence")
    connection_retry_attempts: int = Field(3, ge=0, le=1000)
    connection_retry_delay: float = Field(2.0, ge=0.05, le=3600, description="s")
    capture_tls_verify: bool = Field(False, description="whether a camera on rtsps:// has to prove its name")
    capture_tls_ca_file: Path | None = Field(None, description="PEM of who vouches for cameras; None: the system's")
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
        url = self.url.get_secret_value()
        try:
            return redact_url(replace(parse(url), userinfo=""))
        except CaptureError:
            # Nobody can tell where the password ends.
            return redact_url(f"{url.partition('://')[0]}://@") if "://" in url else ""

    @property
    def timeout_s(self) -> float:
        return self.capture_timeout / 1000


class Settings(CaptureDefaults, AccessSettings, BaseSettings):
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
    log_format: LogFormat = LogFormat.CONSOLE
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
        return (
            init_settings,
            EnvSettingsSource(settings_cls, env_ignore_empty=True),
            DotEnvSettingsSource(settings_cls, env_file=env_files(), env_ignore_empty=True),
            InitSettingsSource(settings_cls, dict(SettingsFile.read(config_file()).values)),
        )

    def camera_tables(self) -> dict[str, dict[str, Any]]:
        """The tables of all cameras that the file and ``RTSP_URL`` configure, as they stand."""
        tables = dict(self.cameras)
        if self.rtsp_url is not None:
            tables[DEFAULT_CAMERA] = {**tables.get(DEFAULT_CAMERA, {}), "url": self.rtsp_url.get_secret_value()}
        return tables

    def camera_settings(self) -> Mapping[str, CameraSettings]:
        """Every camera with its defaults filled in; camera ``demo`` where none is configured.

        Raises :class:`~gateway.errors.SettingsError`.
        """
        tables = self.camera_tables() or DEMO_TABLES
        return {camera_id: self.camera(camera_id, table) for camera_id, table in tables.items()}

    def camera(self, camera_id: str, table: Mapping[str, Any], where: "Where | None" = None) -> CameraSettings:
        """One camera's table over the defaults. ``where`` tells where a key of the table is written, for the message.

        Raises :class:`~gateway.errors.SettingsError`.
        """
        if not CAMERA_ID.fullmatch(camera_id):
            raise SettingsError(
                f"camera id {camera_id!r} cannot be used: take letters, digits, '-' and '_', 64 at most, a letter or"
                " digit first"
            )
        values: dict[str, Any] = {name: getattr(self, name) for name in CaptureDefaults.model_fields}
        # With an EMS that starts and stops captures, capturing unasked would take the reins out of its hands.
        values["start"] = self.start or (StartMode.ON_DEMAND if self.socketio_server_url else StartMode.ALWAYS)
        values["record"] = self.record or RecordMode.CAPTURE
        _check_table(camera_id, table, where)
        given = dict(table)
        if "engine" in given:
            given["capture_engine"] = given.pop("engine")
        try:
            camera = CameraSettings(**{**values, **given})
        except ValidationError as error:
            raise SettingsError(_sentence(error, where, f"camera {camera_id}: ")) from None
        _check_url(camera_id, camera)
        _check_tls(camera_id, camera, where)
        if camera.archive_max_age is not None and camera.archive_max_age < camera.archive_segment_seconds:
            at = (where("archive_max_age") or where("archive_segment_seconds")) if where else ""
            raise SettingsError(
                f"{at}camera {camera_id}: ARCHIVE_MAX_AGE ({camera.archive_max_age:g} s) is shorter than"
                f" ARCHIVE_SEGMENT_SECONDS ({camera.archive_segment_seconds} s), so that a recording would go as soon"
                " as it is finished: raise the first or lower the second"
            )
        return camera


DEMO_TABLES: Mapping[str, Mapping[str, Any]] = {DEMO_CAMERA: {"url": "fake://demo", "engine": EngineName.FAKE.value}}
"""What there is to see where no camera is configured."""

CAMERA_ONLY = ("url", "engine")
"""What only a camera's table has; the rest of it is also a default for all."""

ENVIRONMENT_ONLY = ("environment", "liveedge_config")
"""What says which files are read, and so cannot stand in one."""

Where = Callable[..., str]
"""Gives the beginning of a sentence that says where a key is written: ``liveedge.toml, line 7: ``, or nothing."""


def load_settings(**overrides: Any) -> Settings:
    """Settings of this process; ``overrides`` win over everything. Raises :class:`~gateway.errors.SettingsError`."""
    file = SettingsFile.read(config_file())
    if os.environ.get("LIVEEDGE_CONFIG") and not file.path.exists():
        raise SettingsError(f"LIVEEDGE_CONFIG names {file.path}, which is not there")
    _check_names(file)
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(_sentence(error, lambda *keys: "" if _is_outside(keys[0]) else file.where(*keys))) from None
    except OSError as error:
        raise SettingsError(f"{error.filename} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"a settings file is not UTF-8: {error.reason}") from None
    _check_together(settings, file)
    for camera_id, table in settings.camera_tables().items():
        settings.camera(camera_id, table, lambda *keys, at=camera_id: file.where("cameras", at, *keys))
    return settings


def config_file() -> Path:
    """Where ``liveedge.toml`` is, if it is."""
    return Path(os.environ.get("LIVEEDGE_CONFIG") or "liveedge.toml")


def env_files() -> tuple[str, ...]:
    """The ``.env`` files that are read, the last one first in rank."""
    environment = os.environ.get("ENVIRONMENT")
    return (".env", f".env.{environment}") if environment else (".env",)


OUR_PREFIXES = (
    "capture_",
    "archive_",
    "webrtc_",
    "socketio_",
    "connection_retry_",
    "liveedge_",
    "rtsp_",
    "auth_",
    "cors_",
)
"""Names that begin so are ours, or are meant to be."""

ENV_CUTOFF = 0.86
"""Likeness from which a name of the environment is taken for a slip: it holds many names that are not ours."""


def misspelt() -> list[str]:
    """A sentence for every name in the environment and the ``.env`` files that looks like a setting and is none."""
    known = {*Settings.model_fields, *ENVIRONMENT_ONLY} - {"cameras"}
    places = [("the environment", os.environ.keys()), *((file, dotenv_values(file).keys()) for file in env_files())]
    told = []
    for place, names in places:
        for name in sorted(names):
            if name.lower() in known:
                continue
            is_ours = name.lower().startswith(OUR_PREFIXES)
            meant = suggestion(name, known, 0.6 if is_ours else ENV_CUTOFF) if len(name) > 4 else None
            if meant is not None:
                told.append(f"{name} in {place} is not a setting and does nothing: did you mean {meant.upper()}?")
            elif is_ours:
                told.append(f"{name} in {place} is not a setting and does nothing")
    return told


# --- what is refused


def _is_outside(name: str) -> bool:
    """Whether a setting comes from the environment or a ``.env`` file, which win over the file."""
    names: set[str] = set(os.environ)
    for file in env_files():
        names.update(dotenv_values(file))
    return name.lower() in {each.lower() for each in names}


def _check_names(file: SettingsFile) -> None:
    known = Settings.model_fields.keys()
    for name in file.values:
        if name not in known:
            raise SettingsError(f"{file.where(name)}{_unknown(name, known)}")


def _check_table(camera_id: str, table: Mapping[str, Any], where: "Where | None") -> None:
    if not isinstance(table, Mapping):
        raise SettingsError(f"cameras.{camera_id} is not a table: write [cameras.{camera_id}], and url below it")
    known = (*CAMERA_ONLY, *CameraSettings.model_fields)
    for name in table:
        if name in known:
            continue
        before = (where(name) if where else "") + f"camera {camera_id}: "
        if name in Settings.model_fields:
            raise SettingsError(
                f"{before}{name} is a setting of the whole gateway: put it above the first [table] of the file"
            )
        raise SettingsError(f"{before}{_unknown(name, known)}")
    if "engine" in table and "capture_engine" in table:
        at = where("capture_engine") if where else ""
        raise SettingsError(f"{at}camera {camera_id}: engine and capture_engine are the same setting: leave one out")
    if table.get("record") == RecordMode.ALWAYS and table.get("start") == StartMode.ON_DEMAND:
        at = where("start") if where else ""
        raise SettingsError(
            f'{at}camera {camera_id}: record = "always" keeps it captured, which start = "on-demand" contradicts: take'
            ' record = "capture" to record only while somebody watches, or leave start out'
        )


def _check_together(settings: Settings, file: SettingsFile) -> None:
    def where(*names: str) -> str:
        return next((place for name in names if not _is_outside(name) and (place := file.where(name))), "")

    if settings.port and settings.port == settings.webrtc_udp_port:
        raise SettingsError(
            f"{where('port', 'webrtc_udp_port')}PORT and WEBRTC_UDP_PORT are both {settings.port}, and WebRTC takes its"
            " port for TCP too: set one of them to another"
        )
    if settings.record is RecordMode.ALWAYS and settings.start is StartMode.ON_DEMAND:
        raise SettingsError(
            f"{where('start', 'record')}RECORD = always keeps cameras captured, which START = on-demand contradicts:"
            " take RECORD = capture to record only while somebody watches, or leave START out"
        )
    default = file.values.get("cameras", {}).get(DEFAULT_CAMERA, {})
    if "rtsp_url" in file.values and isinstance(default, Mapping) and "url" in default:
        raise SettingsError(
            f"{file.where('rtsp_url')}rtsp_url is the url of [cameras.default], which has one too: leave one out"
        )


def _unknown(name: str, known: Iterable[str]) -> str:
    meant = suggestion(name, known)
    return f"{name} is not a setting" + (
        f": did you mean {meant}?" if meant else "; docs/configuration.md has them all"
    )


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


def _check_tls(camera_id: str, camera: CameraSettings, where: "Where | None") -> None:
    if not camera.url.get_secret_value().lower().startswith("rtsps://"):
        return
    at = (where("capture_tls_verify") or where("capture_tls_ca_file") or where("engine")) if where else ""
    if camera.capture_tls_verify and camera.capture_engine == EngineName.OPENCV:
        raise SettingsError(
            f"{at}camera {camera_id}: the engine opencv cannot verify certificates (CAPTURE_TLS_VERIFY): take pyav"
        )
    if camera.capture_tls_ca_file is not None and not camera.capture_tls_verify:
        raise SettingsError(
            f"{at}camera {camera_id}: CAPTURE_TLS_CA_FILE does nothing without CAPTURE_TLS_VERIFY=true: set both"
        )


def _sentence(error: ValidationError, where: "Where | None" = None, before: str = "") -> str:
    """One sentence for all mistakes, with each setting's name as its user wrote it, and no value (secrets)."""
    parts = []
    for item in error.errors(include_input=False, include_url=False):
        keys = [str(part) for part in item["loc"]] or ["settings"]
        place = where(*keys) if where else ""
        if not place and keys[0] == "capture_engine" and where:
            place = where("engine")
        name = ".".join(keys).upper()
        if item["type"] == "extra_forbidden":
            parts.append(f"{place}{before}{name.lower()} is not a setting; docs/configuration.md has them all")
        else:
            parts.append(f"{place}{before}{name}: {item['msg'][:1].lower()}{item['msg'][1:]}")
    return "; ".join(parts)
