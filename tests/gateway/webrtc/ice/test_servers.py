"""ICE servers as viewers get them."""

import base64
import hashlib
import hmac

import pytest

from gateway.clock import CLOCK_RATE
from gateway.errors import SettingsError
from gateway.webrtc.ice.servers import CREDENTIALS_LIFETIME_S, IceServers

NOW_90K = 1_000_000 * CLOCK_RATE


def test_stun_and_turn_with_fixed_credentials() -> None:
    stun, turn = IceServers(["stun:stun.example:3478", "turn:user:p%40ss@turn.example?transport=tcp"]).offers(NOW_90K)
    assert stun.link() == '<stun:stun.example:3478>; rel="ice-server"'
    assert stun.as_dict() == {"urls": "stun:stun.example:3478"}
    assert turn.as_dict() == {"urls": "turn:turn.example?transport=tcp", "username": "user", "credential": "p@ss"}
    assert 'username="user"; credential="p@ss"; credential-type="password"' in turn.link()


def test_a_shared_secret_gives_each_viewer_credentials_for_a_time() -> None:
    (server,) = IceServers(["turns:s3cret@turn.example:5349"]).offers(NOW_90K)
    assert server.username == f"{1_000_000 + CREDENTIALS_LIFETIME_S}:liveedge"
    expected = hmac.new(b"s3cret", server.username.encode(), hashlib.sha1).digest()
    assert server.credential == base64.b64encode(expected).decode()
    assert server.url == "turns:turn.example:5349"


def test_quotes_do_not_break_the_header() -> None:
    (server,) = IceServers(['turn:us"er:p\\w@turn.example']).offers(NOW_90K)
    assert 'username="us\\"er"; credential="p\\\\w"' in server.link()


@pytest.mark.parametrize("entry", ["", "turn.example", "http://turn.example", "stun:", "turn:turn.example:3478"])
def test_an_invalid_entry_is_a_settings_error(entry: str) -> None:
    with pytest.raises(SettingsError, match="ICE_SERVERS"):
        IceServers([entry])


def test_a_secret_is_not_repeated_in_an_error() -> None:
    with pytest.raises(SettingsError) as caught:
        IceServers(["trun:user:hunter2@turn.example"])
    assert "hunter2" not in str(caught.value)
