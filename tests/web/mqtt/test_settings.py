"""The address of the broker, and the other settings of MQTT."""

from pathlib import Path

import pytest

from gateway.errors import SettingsError
from web.mqtt.settings import BrokerAddress, parse_broker
from web.settings import load_settings

pytestmark = pytest.mark.usefixtures("place")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://broker", BrokerAddress("broker", 1883, False, None, None)),
        ("mqtts://broker/", BrokerAddress("broker", 8883, True, None, None)),
        ("MQTT://user@broker:99", BrokerAddress("broker", 99, False, "user", None)),
        ("mqtt://user:p@ss/w:rd#?@192.0.2.1:1884", BrokerAddress("192.0.2.1", 1884, False, "user", "p@ss/w:rd#?")),
        ("mqtt://us%40er:p%25@[2001:db8::1]", BrokerAddress("2001:db8::1", 1883, False, "us@er", "p%")),
    ],
)
def test_an_address(url: str, address: BrokerAddress) -> None:
    assert parse_broker(url) == address
    assert "@" not in address.public
    assert parse_broker(address.public) == BrokerAddress(address.host, address.port, address.is_tls, None, None)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('mqtt_url = "broker"', "mqtt_url: must be like mqtt://"),
        ('mqtt_url = "http://s3cret@broker"', "mqtt_url: must be like mqtt://"),
        ('mqtt_url = "mqtt://s3cret@"', "mqtt_url: must be like mqtt://"),
        ('mqtt_url = "mqtt://broker:99999"', "mqtt_url: must be like mqtt://"),
        ('mqtt_url = "mqtt://broker/topic"', "mqtt_url: must be like mqtt://"),
        ('mqtt_ca_file = "/no/such.pem"', "mqtt_ca_file: has no certificates"),
        ('mqtt_topic = "a/+/b"', "mqtt_topic: must be as in liveedge"),
        ('mqtt_topic = ""', "mqtt_topic: must be as in liveedge"),
        ('mqtt_topic = "a/"', "mqtt_topic: must be as in liveedge"),
    ],
)
def test_a_wrong_value_says_where_it_is(place: Path, line: str, text: str) -> None:
    (place / "liveedge.toml").write_text(line)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(refused.value).startswith(f"liveedge.toml, line 1: {text}")
    assert "s3cret" not in str(refused.value)


def test_discovery_can_be_switched_off(place: Path) -> None:
    (place / "liveedge.toml").write_text('mqtt_discovery_prefix = ""\nmqtt_topic = "home/cams"')
    assert load_settings().mqtt_discovery_prefix == ""
