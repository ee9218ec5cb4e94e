"""``[webhooks.NAME]``: what is accepted, and what a wrong value says."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import SettingsError
from tests.support.webhook_receiver import OTHER_SECRET, SECRET
from web.api.webhook_messages import MESSAGES
from web.settings import Settings, load_settings
from web.webhooks.settings import MESSAGE_TYPES, WebhookTable

pytestmark = pytest.mark.usefixtures("place")


def loaded(place: Path, **table: Any) -> Settings:
    values = {"url": "https://hooks.example/in/s3cret-path", "secret": SECRET} | table
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    (place / "liveedge.toml").write_text("\n".join(["[webhooks.home]", *lines]))
    return load_settings()


def test_a_table_and_what_it_selects(place: Path) -> None:
    table = loaded(place, secret=[SECRET, OTHER_SECRET], events=["camera.*", "clip.ready"], cameras=["door"]).webhooks
    home = table["home"]
    assert home.wants("camera.up", "door")
    assert home.wants("clip.ready", "door")
    assert not home.wants("camera.up", "yard")
    assert not home.wants("event.created", "door")
    assert "s3cret" not in home.public_url
    assert "s3cret" not in repr(home)
    everything = loaded(place).webhooks["home"]
    assert all(everything.wants(kind, "yard") for kind in MESSAGE_TYPES)
    assert loaded(place, cameras=["door"]).webhooks["home"].wants("disk.low", None)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"secret": "password"}, "openssl rand"),
        ({"secret": "whsec_c2hvcnQ="}, "24 to 64"),
        ({"secret": "whsec_not base64!" + "a" * 40}, "base64"),
        ({"secret": []}, "webhooks.home.secret"),
        ({"secret": [SECRET] * 5}, "webhooks.home.secret"),
        ({"url": "hooks.example"}, "https://"),
        ({"url": "file:///etc/passwd"}, "https://"),
        ({"url": "http://[::1"}, "https://"),
        ({"url": "https://host:99999/"}, "https://"),
        ({"events": ["camera.gone"]}, "camera.down"),
        ({"events": []}, "webhooks.home.events"),
        ({"events": "camera.gone"}, "camera.down"),
        ({"colour": "red"}, "colour"),
        ({"tls_ca_file": "/no/such.pem"}, "PEM"),
    ],
)
def test_a_wrong_value_says_where_it_is_and_what_to_do(place: Path, table: dict[str, Any], text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(place, **table)
    assert text in str(refused.value)
    assert str(refused.value).startswith("liveedge.toml, line ")
    assert SECRET.removeprefix("whsec_") not in str(refused.value)


def test_names_are_limited(place: Path) -> None:
    (place / "liveedge.toml").write_text(f'[webhooks."../x"]\nurl = "http://h/"\nsecret = "{SECRET}"')
    with pytest.raises(SettingsError, match=r"line 1.*letters, digits"):
        load_settings()


def test_the_types_that_can_be_selected_are_those_that_are_sent() -> None:
    assert set(MESSAGE_TYPES) == MESSAGES.keys() - {"webhook.test"}
    assert WebhookTable.model_validate({"url": "http://h/", "secret": SECRET}).events == ("*",)
