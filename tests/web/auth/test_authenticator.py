"""When authentication is on, and static tokens."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from gateway.access import Scope
from gateway.errors import SettingsError
from tests.support.auth_gateway import ADMIN_TOKEN, Client, auth_gateway, authenticator, bearer
from web.settings import load_settings

pytestmark = pytest.mark.usefixtures("empty_place")


# --- on or off


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
async def test_auth_is_off_by_default_on_loopback(host: str) -> None:
    auth = authenticator(host=host)
    assert not auth.is_enabled
    assert (await auth.authenticate(None, "127.0.0.1")).grant.may_everywhere(Scope.ADMIN)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "cameras.example.org", ""])
def test_listening_beyond_loopback_needs_a_token_or_auth_disabled(host: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SettingsError, match=r"AUTH_TOKEN.*AUTH_DISABLED=true"):
        authenticator(host=host)
    assert authenticator(host=host, auth_token="a-token-of-some-length").is_enabled
    assert not caplog.records
    assert not authenticator(host=host, auth_disabled=True).is_enabled
    assert "every client" in caplog.text


@pytest.mark.parametrize(
    "values",
    [
        {"auth_token": "short"},
        {"auth_jwt_secret": "short"},
        {"auth_token": "a-token-of-some-length", "auth_disabled": True},
        {"auth_jwks_url": "https://issuer.example.org/keys"},
        {"auth_jwks_url": "http://issuer.example.org/keys", "auth_jwt_audience": "liveedge"},
        {"auth_jwks_url": "file:///etc/passwd", "auth_jwt_audience": "liveedge"},
        {"auth": {"tokens": {"a": {"scopes": ["view"]}}}},
        {"auth": {"tokens": {"a": {"token": "a-token-of-some-length", "scopes": []}}}},
        {"auth": {"tokens": {"a": {"token": "a-token-of-some-length", "scopes": ["everything"]}}}},
        {"auth": {"tokens": {"a": {"token": "a-token-of-some-length", "token_sha256": "0" * 64, "scopes": ["view"]}}}},
        {"auth": {"tokens": {"a": {"token_sha256": "xyz", "scopes": ["view"]}}}},
        {"auth": {"tokns": {}}},
    ],
)
def test_invalid_settings_are_refused_without_the_secret_in_the_message(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        authenticator(**values)
    assert "a-token-of-some-length" not in str(caught.value)


SECRET = "the-same-secret-of-more-than-32-bytes"


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"auth_jwt_secret": SECRET, "auth_signing_key": SECRET}, "AUTH_JWT_SECRET and AUTH_SIGNING_KEY"),
        ({"auth_token": SECRET, "auth_signing_key": SECRET}, "AUTH_TOKEN and AUTH_SIGNING_KEY"),
        ({"auth_token": SECRET, "auth": {"tokens": {"a": {"token": SECRET, "scopes": ["view"]}}}}, "auth.tokens.a"),
        (
            {
                "auth": {
                    "tokens": {
                        "a": {"token": SECRET, "scopes": ["view"]},
                        "b": {"token_sha256": hashlib.sha256(SECRET.encode()).hexdigest().upper(), "scopes": ["view"]},
                    }
                }
            },
            "auth.tokens.a and auth.tokens.b",
        ),
    ],
)
def test_two_secrets_that_are_the_same_are_refused(values: dict[str, Any], names: str) -> None:
    with pytest.raises(SettingsError, match=names) as caught:
        authenticator(**values)
    assert SECRET not in str(caught.value)


async def test_a_reload_replaces_tokens_and_cannot_turn_auth_off_beyond_loopback(tmp_path: Path) -> None:
    auth = authenticator(host="192.0.2.1", auth_token="the-first-of-two-tokens")
    auth.reload(load_settings(host="192.0.2.1", auth_token="the-second-of-two-tokens"))
    assert (await auth.authenticate("the-second-of-two-tokens", "192.0.2.7")).grant.may(Scope.ADMIN)
    assert auth.tokens.find("the-first-of-two-tokens") is None
    with pytest.raises(SettingsError, match="AUTH_TOKEN"):
        auth.reload(load_settings(host="127.0.0.1"))
    assert auth.is_enabled
    assert auth.tokens.find("the-second-of-two-tokens") is not None


# --- static tokens


async def test_a_token_by_its_hash(tmp_path: Path) -> None:
    token = "only-its-hash-is-in-the-file"
    table = {"token_sha256": hashlib.sha256(token.encode()).hexdigest().upper(), "scopes": ["view"]}
    async with (
        auth_gateway(tmp_path, auth={"tokens": {"hashed": table}}) as client,
        client.get("/api/access", headers=bearer(token)) as answer,
    ):
        assert (await answer.json())["scopes"] == ["view"]


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic YTpi", f"Basic {ADMIN_TOKEN}", f"Bearer {ADMIN_TOKEN}x", ADMIN_TOKEN, "Bearer ü"],
)
async def test_an_invalid_authorization_header_is_answered_401(auth_client: Client, header: str) -> None:
    async with auth_client.get("/api/cameras", headers={"Authorization": header}) as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="liveedge"')
        assert (await answer.json())["error"] == "unauthorized"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_case_insensitive(auth_client: Client, scheme: str) -> None:
    async with auth_client.get("/api/cameras", headers={"Authorization": f"{scheme} {ADMIN_TOKEN}"}) as answer:
        assert answer.status == 200


async def test_a_bearer_token_in_the_url_is_refused(auth_client: Client) -> None:
    for path in ("/api/cameras", "/hls/door/index.m3u8", "/snapshot/door.jpg"):
        async with auth_client.get(path, params={"token": ADMIN_TOKEN}) as answer:
            assert answer.status == 401


async def test_api_access_lists_the_scopes_and_cameras_of_a_token(auth_client: Client) -> None:
    async with auth_client.get("/api/access", headers=bearer("may-rewind-the-door")) as answer:
        assert await answer.json() == {
            "auth": True,
            "name": "token door-archive",
            "scopes": ["archive"],
            "cameras": ["door", "ghost"],
            "expires": None,
            "signed_in": False,
        }
        assert answer.headers["Cache-Control"] == "no-store"
