"""The settings of MQTT."""

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, SecretStr

from gateway.config.field import Applies, CommaList, OptionalSecret, SettingsGroup, setting

PORTS = {"mqtt": 1883, "mqtts": 8883}

_TOPIC = r"^[^/+#\s\x00](?:[^+#\s\x00]{0,62}[^/+#\s\x00])?$"


@dataclass(frozen=True)
class BrokerAddress:
    """Where a broker is. The user and the password may be missing."""

    host: str
    port: int
    is_tls: bool
    user: str | None
    password: str | None

    @property
    def public(self) -> str:
        """The address without the user and the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.is_tls else 'mqtt'}://{host}:{self.port}"


def parse_broker(url: str) -> BrokerAddress:
    """``mqtt://user:password@host:1883``, or ``mqtts://`` with TLS. Raises ``ValueError``."""
    # A password may have any character: the last "@" ends it.
    scheme, separator, rest = url.strip().partition("://")
    userinfo, _, place = rest.rpartition("@")
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not separator or scheme.lower() not in PORTS or not host or port == 0 or parts.path.strip("/") or parts.query:
        raise ValueError("must be like mqtt://user:password@host:1883, or mqtts:// for TLS")
    user, has_password, password = userinfo.partition(":")
    return BrokerAddress(
        host,
        port or PORTS[scheme.lower()],
        scheme.lower() == "mqtts",
        unquote(user) if userinfo else None,
        unquote(password) if has_password else None,
    )


def _check_url(url: SecretStr | None) -> SecretStr | None:
    if url is not None:
        parse_broker(url.get_secret_value())
    return url


def _check_ca_file(path: Path) -> Path:
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"has no certificates that can be read ({error.strerror}); it must be in PEM format") from None
    return path


class MqttSettings(SettingsGroup):
    """A broker that gets the cameras and their events."""

    title: ClassVar[str] = "MQTT"

    mqtt_url: Annotated[OptionalSecret, AfterValidator(_check_url)] = setting(
        None,
        example="mqtt://user:password@broker.example",
        help="broker that gets the cameras and their events, see [Home Assistant](homeassistant.md); `mqtts://` for"
        " TLS",
        applies=Applies.RESTART,
    )
    mqtt_ca_file: Annotated[Path, AfterValidator(_check_ca_file)] | None = setting(
        None,
        example="/etc/liveedge/broker-ca.pem",
        help="certificates (PEM) of a private authority that has signed the broker's certificate, beside those of the"
        " system",
        applies=Applies.RESTART,
    )
    mqtt_topic: Annotated[str, Field(pattern=_TOPIC)] = setting(
        "liveedge",
        help="first part of every topic. Two gateways at one broker need two of them",
        applies=Applies.RESTART,
    )
    mqtt_discovery_prefix: Annotated[str, Field(pattern=f"(?:{_TOPIC})|^$")] = setting(
        "homeassistant",
        help="discovery prefix of Home Assistant; empty: cameras are not announced to it",
        applies=Applies.RESTART,
    )
    mqtt_motion_labels: CommaList = setting(
        ["motion", "person", "vehicle", "animal"],
        help="labels of events that switch a camera's motion sensor on",
        applies=Applies.RESTART,
    )


def identifier(topic: str) -> str:
    """A topic as an identifier of Home Assistant."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", topic)
