"""Tokens as passwords of RTSP clients: Digest and Basic, names, cameras, guesses, and tokens that end."""

import hashlib
from base64 import b64encode
from pathlib import Path

import pytest

from gateway.errors import ForbiddenError, LiveedgeError, UnauthorizedError
from gateway.rtsp.auth import Authenticator as Client
from gateway.rtsp.auth import Credentials, parse_challenges
from gateway.rtsp.messages import Headers, Request
from gateway.rtsp_server.authentication import ClientAuthentication
from tests.support.manual_clock import ManualClock
from web.auth.authenticator import Authenticator
from web.auth.rtsp_access import RtspAccess
from web.settings import Settings, load_settings

TOKEN, GUARD, HASHED = "admins-own-long-secret", "the-guards-long-secret", "known-by-its-hash-only"
URI = "rtsp://127.0.0.1/door"


def settings(tmp_path: Path, **more: object) -> Settings:
    tokens = {"guard": {"token": GUARD, "scopes": ["view"], "cameras": ["door"]}}
    values = {"data_dir": tmp_path, "auth_token": TOKEN, "auth": {"tokens": tokens}, **more}
    return load_settings(**values)


class Site:
    def __init__(self, configured: Settings) -> None:
        self.authenticator = Authenticator(configured, ManualClock())
        self.authenticator.rate_limiter._delay_max_s = 0.01
        self.access = RtspAccess(self.authenticator, configured)

    async def open(self, user: str, password: str, scheme: str = "digest") -> object:
        """What a client gets that answers the challenges of its connection."""
        connection = ClientAuthentication(self.access, "192.0.2.1")
        request = Request("DESCRIBE", URI, Headers())
        with pytest.raises(UnauthorizedError):
            await connection.verify(request)
        challenges = parse_challenges([value for _, value in connection.challenges])
        client = Client(Credentials(user, password))
        assert client.accept([each for each in challenges if each.scheme == scheme] or challenges)
        header = client.authorization("DESCRIBE", URI)
        assert header is not None
        found = await connection.verify(Request("DESCRIBE", URI, Headers([("Authorization", header)])))
        assert await connection.verify(request) is found, "the connection keeps it"
        return found


@pytest.mark.parametrize("scheme", ["digest", "basic"])
@pytest.mark.parametrize(("user", "token"), [("admin", TOKEN), ("guard", GUARD), ("somebody", GUARD)])
async def test_the_password_is_a_token(tmp_path: Path, scheme: str, user: str, token: str) -> None:
    access = await Site(settings(tmp_path)).open(user, token, scheme)
    access.require_view("door")  # type: ignore[attr-defined]
    if token == GUARD:
        with pytest.raises(ForbiddenError):
            access.require_view("yard")  # type: ignore[attr-defined]


@pytest.mark.parametrize("scheme", ["digest", "basic"])
@pytest.mark.parametrize(("user", "password"), [("guard", TOKEN + "x"), ("admin", "guess"), ("", "x")])
async def test_another_password_is_refused_and_counted(tmp_path: Path, scheme: str, user: str, password: str) -> None:
    site = Site(settings(tmp_path))
    with pytest.raises(UnauthorizedError):
        await site.open(user, password, scheme)
    assert site.authenticator.rate_limiter.failures == 1


async def test_a_named_token_is_no_password_of_another_name_by_digest(tmp_path: Path) -> None:
    with pytest.raises(UnauthorizedError):
        await Site(settings(tmp_path)).open("guard", TOKEN)


async def test_guesses_by_digest_are_held_up_as_others_are(tmp_path: Path) -> None:
    site = Site(settings(tmp_path))
    refused = []
    for number in range(20):
        try:
            await site.open("guard", f"guess {number}")
        except LiveedgeError as error:
            refused.append(error.code)
    assert "too_many" in refused, "the clock stands still, so no delay is over"


async def test_where_only_a_hash_is_known_basic_alone_is_offered(tmp_path: Path) -> None:
    digest = hashlib.sha256(HASHED.encode()).hexdigest()
    tokens = {"guard": {"token_sha256": digest, "scopes": ["view"]}}
    site = Site(settings(tmp_path, auth_token=None, auth={"tokens": tokens}))
    connection = ClientAuthentication(site.access, "192.0.2.1")
    assert [value for _, value in connection.challenges] == ['Basic realm="liveedge"']
    header = "Basic " + b64encode(f"x:{HASHED}".encode()).decode()
    await connection.verify(Request("DESCRIBE", URI, Headers([("Authorization", header)])))


async def test_without_authentication_credentials_are_not_looked_at(tmp_path: Path) -> None:
    site = Site(load_settings(data_dir=tmp_path))
    connection = ClientAuthentication(site.access, "192.0.2.1")
    found = await connection.verify(Request("DESCRIBE", URI, Headers([("Authorization", "Digest nonsense")])))
    found.require_view("door")


async def test_a_token_that_is_removed_ends_what_it_opened(tmp_path: Path) -> None:
    site = Site(settings(tmp_path))
    access = await site.open("guard", GUARD)
    told: list[LiveedgeError] = []
    access.on_revoke(told.append, "door")  # type: ignore[attr-defined]
    changed = settings(tmp_path, auth={"tokens": {}})
    site.authenticator.reload(changed)
    site.access.reload(changed)
    await site.authenticator.sessions.check()
    assert [error.code for error in told] == ["unauthorized"]
    with pytest.raises(UnauthorizedError):
        await site.open("guard", GUARD)
