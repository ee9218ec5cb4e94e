"""The settings of the HTTP server and the log, and :class:`Settings`: those of the whole program.

Each package defines its own settings; this module puts the groups together. :func:`load_settings` loads them.
"""

import re
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, IPvAnyNetwork, model_validator
from pydantic_settings import NoDecode

from gateway.camera_settings import CameraSettings, StartMode
from gateway.config.field import Applies, CommaList, SettingsGroup, setting, split_commas
from gateway.config.loader import load
from gateway.config.messages import contradiction
from gateway.settings import GatewaySettings
from hls.settings import ArchiveSettings, RecordedCameraSettings
from signaling.settings import MessagingSettings
from web.auth.settings import AuthSettings
from web.cluster.settings import ClusterSettings
from web.mqtt.settings import MqttSettings
from web.push.settings import PushSettings
from web.webhooks.settings import WebhookSettings


def _networks(value: object) -> object:
    """A list of networks, or text with commas. A number would be an address for pydantic: ``false`` is 0.0.0.0."""
    networks = split_commas(value)
    if isinstance(networks, list) and any(isinstance(network, int) for network in networks):
        raise ValueError("an address or a network is text, such as '192.0.2.0/24'")
    return networks


def _check_origins(origins: list[str]) -> list[str]:
    """Refuse what no browser sends as ``Origin`` (RFC 6454 §6.2): an origin has a scheme, and no path."""
    for origin in origins:
        if origin not in ("*", "null") and not _ORIGIN.fullmatch(origin):
            raise ValueError(
                "each is an origin as browsers send it, with its scheme and without a path, as in"
                " https://wall.example.org or http://127.0.0.1:5173; * is all"
            )
    return origins


Networks = Annotated[list[IPvAnyNetwork], NoDecode, BeforeValidator(_networks)]


PORT_MAX = 65_535
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@]+/?")


class LogFormat(StrEnum):
    """A line of the log: text for people, or one JSON object."""

    CONSOLE = "console"
    JSON = "json"


class ServerSettings(SettingsGroup):
    """The HTTP server."""

    title: ClassVar[str] = "HTTP server"

    host: str = setting(
        "127.0.0.1",
        help="address to serve HTTP on; `0.0.0.0` serves on every address. Beyond loopback,"
        " [authentication](security.md) is required",
        applies=Applies.RESTART,
    )
    port: int = setting(8000, ge=0, le=65_535, help="port for HTTP; `0` takes a free port", applies=Applies.RESTART)
    cors_origins: Annotated[CommaList, AfterValidator(_check_origins)] = setting(
        [],
        example=["https://intranet.example"],
        help="origins of other pages that may use the gateway: scheme, host and port; `*` is all",
        applies=Applies.LIVE,
    )
    allowed_hosts: CommaList = setting(
        [],
        example=["liveedge.example"],
        help="host names that the gateway is reached by while authentication is off",
        applies=Applies.LIVE,
    )
    trusted_proxies: Networks = setting(
        [],
        example=["127.0.0.1"],
        help="addresses and networks of proxies whose `X-Forwarded-…` headers are trusted",
        applies=Applies.LIVE,
    )
    connections_per_address: int = setting(
        1024,
        ge=4,
        le=65_536,
        unit="connections",
        help="connections, and open requests, that one address may have at a time; see [security](security.md#limits)",
        applies=Applies.LIVE,
    )
    connections_max: int | None = setting(
        None,
        ge=8,
        le=1_000_000,
        unit="connections",
        unset="half of the descriptors that cameras and recordings leave",
        example=2000,
        help="connections of all clients together; never more than the limit of open files allows",
        applies=Applies.LIVE,
    )
    allow_metadata_addresses: bool = setting(
        False,
        help="whether the API may add cameras at link-local and cloud metadata addresses",
        applies=Applies.LIVE,
    )


class LogSettings(SettingsGroup):
    """The log on standard error."""

    title: ClassVar[str] = "Log"

    debug: bool = setting(False, help="log details of frames and libraries", applies=Applies.LIVE)
    log_format: LogFormat = setting(
        LogFormat.CONSOLE, help="format of the log, see [operations](operations.md#the-log)", applies=Applies.LIVE
    )


class Settings(
    GatewaySettings,
    ArchiveSettings,
    MessagingSettings,
    WebhookSettings,
    PushSettings,
    MqttSettings,
    ClusterSettings,
    ServerSettings,
    AuthSettings,
    LogSettings,
):
    """All settings of the program. Build it with :func:`load_settings`."""

    is_complete: ClassVar[bool] = True
    camera_model: ClassVar[type[CameraSettings]] = RecordedCameraSettings

    @property
    def default_start(self) -> StartMode:
        """On demand with an EMS: it starts and stops captures."""
        return StartMode.ON_DEMAND if self.socketio_server_url else StartMode.ALWAYS

    @model_validator(mode="after")
    def _check_cameras_of_cluster(self) -> Self:
        if self.cluster_url is not None and (self.rtsp_url is not None or self.cameras):
            name = "RTSP_URL" if self.rtsp_url is not None else f"[cameras.{next(iter(self.cameras))}]"
            raise contradiction(
                f"{name} configures a camera of this gateway alone, and with CLUSTER_URL all cameras are in the"
                f" database of the cluster: remove {name}, and add the camera with POST /api/cameras at any node",
                "rtsp_url" if self.rtsp_url is not None else "cameras",
            )
        return self

    @model_validator(mode="after")
    def _check_workers(self) -> Self:
        if self.workers > 1 and self.database_url is not None:
            raise contradiction(
                "WORKERS gives each process an index of its own, and DATABASE_URL is for one process: remove"
                " DATABASE_URL, or set WORKERS=1",
                "workers",
                "database_url",
            )
        if self.webrtc_udp_port and self.webrtc_udp_port + self.workers - 1 > PORT_MAX:
            raise contradiction(
                f"WEBRTC_UDP_PORT {self.webrtc_udp_port} leaves no port for each of {self.workers} WORKERS: set a"
                " lower one",
                "webrtc_udp_port",
                "workers",
            )
        return self

    @model_validator(mode="after")
    def _check_ports(self) -> Self:
        media = range(self.webrtc_udp_port, self.webrtc_udp_port + self.workers)
        if self.port in media and self.webrtc_udp_port and self.workers > 1:
            raise contradiction(
                f"PORT {self.port} is among those that WEBRTC_UDP_PORT and WORKERS give to WebRTC,"
                f" {media[0]} to {media[-1]}: change one of them",
                "port",
                "webrtc_udp_port",
            )
        if self.port and self.port == self.webrtc_udp_port:
            raise contradiction(
                f"PORT and WEBRTC_UDP_PORT are both {self.port}, and WebRTC uses its port for TCP too: change one of"
                " them",
                "port",
                "webrtc_udp_port",
            )
        for name, port in (("PORT", self.port), ("WEBRTC_UDP_PORT", self.webrtc_udp_port)):
            if self.rtsp_server and self.rtsp_port and port == self.rtsp_port:
                raise contradiction(
                    f"{name} and RTSP_PORT are both {port}: change one of them, or set RTSP_SERVER=false",
                    name.lower(),
                    "rtsp_port",
                )
        return self


PREFIXES = (
    "archive_",
    "auth_",
    "capture_",
    "cluster_",
    "connection_retry_",
    "cors_",
    "event_",
    "events_",
    "export_",
    "liveedge_",
    "mqtt_",
    "node_",
    "oidc_",
    "push_",
    "rtsp_",
    "socketio_",
    "webrtc_",
)
"""A name of the environment that begins so is probably meant as a setting; see
:func:`~gateway.config.loader.unknown_names`."""


def load_settings(**overrides: Any) -> Settings:
    """Settings of this process; ``overrides`` win over everything. Raises :class:`~gateway.errors.SettingsError`."""
    return load(Settings, overrides)
