"""Which messaging adapter the settings make."""

import pytest

from gateway.errors import SettingsError
from gateway.service import CaptureService
from signaling.factory import create_messaging
from signaling.messaging import NoMessaging
from web.settings import load_settings


def test_without_an_ems_there_is_no_messaging() -> None:
    service = CaptureService({})
    assert isinstance(create_messaging(load_settings(), service), NoMessaging)
    configured = load_settings(messaging="none", socketio_server_url="http://127.0.0.1:1")
    assert isinstance(create_messaging(configured, service), NoMessaging)


class BrokenAdapter(NoMessaging):
    def __init__(self, *_: object) -> None:
        raise KeyError("broker")


def test_an_adapter_that_cannot_be_made_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match=r"cannot be created: .*broker"):
        create_messaging(load_settings(messaging=f"{__name__}:BrokenAdapter"), CaptureService({}))


@pytest.mark.parametrize(
    "name", ["mqtt", "no.such.module:Adapter", "signaling.messaging:Nothing", "signaling.events:Event"]
)
def test_an_adapter_that_cannot_be_imported_is_a_settings_error(name: str) -> None:
    with pytest.raises(SettingsError, match="MESSAGING"):
        create_messaging(load_settings(messaging=name), CaptureService({}))
