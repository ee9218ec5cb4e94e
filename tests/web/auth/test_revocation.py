"""When a token is revoked, expires or loses scopes, what it opened is closed: on every route."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.access import Scope
from tests.support.auth_gateway import (
    ADMIN_TOKEN,
    DEMO,
    JWT_SECRET,
    OFF,
    TABLES,
    Client,
    auth_gateway,
    authenticator,
    bearer,
    offered,
)
from tests.support.eventually import eventually
from tests.support.manual_clock import OffsetClock
from tests.support.partial_app import admission_of
from tests.support.recording import index_of, record
from tests.support.sources.encoded import EncoderSettings, encode
from web.auth.authenticator import AUTHENTICATOR, Authenticator
from web.auth.jwt import LEEWAY_S
from web.auth.policy import ROUTES
from web.auth.revocation import note_response_started
from web.auth.sessions import VERIFY_INTERVAL_S
from web.gateway import GATEWAY
from web.settings import load_settings

REVOKED_TOKEN = "the-token-of-a-client-who-leaves"

ALL = ["view", "control", "archive", "publish", "ptz", "talk"]

Answered = tuple[int, str]


def tables(
    scopes: list[str] | None = None, cameras: list[str] | None = None, token: str = REVOKED_TOKEN
) -> dict[str, Any]:
    """The token that tests revoke, beside the others."""
    revoked = {"token": token, "scopes": scopes or ALL, "cameras": cameras}
    return {"tokens": TABLES | {"revoked": revoked}}


def reload(gateway: Client | Authenticator, **values: Any) -> None:
    """Apply other settings."""
    if isinstance(gateway, TestClient):
        assert gateway.app is not None
        gateway = gateway.app[AUTHENTICATOR]
    gateway.reload(load_settings(**{"auth_token": ADMIN_TOKEN, "auth": {"tokens": TABLES}, **values}))


def jwt_until(ends_in_s: float, **claims: Any) -> str:
    """A JWT that expires in some seconds, leeway included."""
    return jwt.encode({"exp": time.time() + ends_in_s - LEEWAY_S, "scope": "view", **claims}, JWT_SECRET, "HS256")


# --- every route, along the table


@asynccontextmanager
async def never_answering_server(auth: Authenticator) -> AsyncIterator[tuple[Client, asyncio.Semaphore]]:
    """Every route of the table, never answered. The semaphore counts the waiting requests."""
    waiting = asyncio.Semaphore(0)

    async def wait(_: web.Request) -> web.Response:
        waiting.release()
        await asyncio.Event().wait()
        raise AssertionError

    admission = admission_of(load_settings(auth_token=ADMIN_TOKEN), auth)
    app = web.Application(middlewares=[admission.middleware], handler_args={"handler_cancellation": True})
    app.on_response_prepare.append(note_response_started)
    for (method, path), rule in ROUTES.items():
        if method == "GET" and not (rule.is_public or rule.is_for_nodes):
            app.router.add_get(path, wait)
    auth.start()
    try:
        async with TestClient(TestServer(app)) as client:
            yield client, waiting
    finally:
        await auth.close()


WAITING = [
    path
    for (method, path), rule in ROUTES.items()
    if method == "GET" and not (rule.is_public or rule.is_for_nodes) and rule.scope is not Scope.ADMIN
]
"""Without those for administrators: the token that is revoked has no right to them."""


async def asked_everywhere(client: Client, headers: Mapping[str, str]) -> dict[str, asyncio.Task[Answered]]:
    async def ask(path: str) -> Answered:
        async with client.get(path, headers=headers) as answer:
            return answer.status, (await answer.json())["error"]

    filled = {
        path: path.format(
            camera="door",
            name="part-1.m4s",
            viewer="v",
            publisher="p",
            talker="t",
            segment="s",
            init="i",
            event="e",
            export="x",
        )
        for path in WAITING
    }
    return {path: asyncio.create_task(ask(address)) for path, address in filled.items()}


TAKEN_BACK: dict[str, tuple[dict[str, Any], Answered | None]] = {
    "gone": ({}, (401, "unauthorized")),
    "another token": ({"auth": tables(token="the-client-has-another-token")}, (401, "unauthorized")),
    "no rights": ({"auth": tables(["control"])}, (403, "forbidden")),
    "another camera": ({"auth": tables(cameras=["yard"])}, (403, "forbidden")),
    "the same again": ({"auth": tables()}, None),
    "nobody is asked": ({**OFF, "host": "127.0.0.1"}, None),
}


@pytest.mark.usefixtures("empty_place")
@pytest.mark.parametrize("change", TAKEN_BACK)
async def test_every_waiting_request_is_refused_when_its_token_is_revoked(change: str) -> None:
    values, expected = TAKEN_BACK[change]
    auth = authenticator(auth_token=ADMIN_TOKEN, auth=tables())
    async with never_answering_server(auth) as (client, waiting):
        asked = await asked_everywhere(client, bearer(REVOKED_TOKEN))
        others = await asked_everywhere(client, bearer(ADMIN_TOKEN))
        for _ in (*asked, *others):
            await waiting.acquire()
        reload(auth, **values)
        await auth.sessions.check()
        if expected is not None:
            # Some routes need only a valid token; some answer with the cameras that the token has.
            lasting = {
                path
                for path in WAITING
                if (expected[0] == 403 and ROUTES["GET", path].scope is None)
                or (change == "another camera" and ROUTES["GET", path].cameras.name == "ANY")
            }
            for path, task in asked.items():
                if path not in lasting:
                    async with asyncio.timeout(60):
                        assert await task == expected, path
            assert not any(asked[path].done() for path in lasting)
        else:
            assert not any(task.done() for task in asked.values())
        assert not any(task.done() for task in others.values()), "other sessions go on"
        for task in (*asked.values(), *others.values()):
            task.cancel()
        await asyncio.gather(*asked.values(), *others.values(), return_exceptions=True)
        await eventually(lambda: not auth.sessions.active, "no session is left")


async def test_turning_auth_on_closes_streams_without_a_token(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path, **OFF, cameras=DEMO) as client, client.get("/mjpeg/demo") as stream:
        await stream.content.readany()
        reload(client)
        await drained(stream)
        async with client.get("/mjpeg/demo") as again:
            assert again.status == 401


# --- streams


async def drained(answer: aiohttp.ClientResponse) -> None:
    """Read until the gateway closes the connection before the answer is complete."""
    async with asyncio.timeout(60):
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_mjpeg_is_closed_when_its_token_or_signed_url_ends(tmp_path: Path) -> None:
    clock = OffsetClock()
    async with auth_gateway(tmp_path, clock, cameras=DEMO, auth=tables(), auth_jwt_secret=JWT_SECRET) as client:

        async def sign(token: str) -> str:
            async with client.post("/api/sign", json={"path": "/mjpeg/demo"}, headers=bearer(token)) as answer:
                return str((await answer.json())["url"])

        async with contextlib.AsyncExitStack() as stack:

            async def stream(url: str, headers: Mapping[str, str] | None = None) -> aiohttp.ClientResponse:
                answer = await stack.enter_async_context(client.get(url, headers=headers))
                assert answer.status == 200
                await answer.content.readany()
                return answer

            taken = [await stream("/mjpeg/demo", bearer(REVOKED_TOKEN)), await stream(await sign(REVOKED_TOKEN))]
            expiring = [await stream("/mjpeg/demo", bearer(jwt_until(600))), await stream(await sign(jwt_until(600)))]
            good = await stream(await sign(ADMIN_TOKEN))
            reload(client, auth_jwt_secret=JWT_SECRET)
            for each in taken:
                await drained(each)
            for each in (*expiring, good):
                assert await each.content.readany()
            clock.ahead_s = 601
            for each in expiring:
                await drained(each)
            assert await good.content.readany()
            clock.ahead_s = 3700
            await drained(good)  # AUTH_URL_LIFETIME is an hour


async def test_a_download_is_cut_by_revocation_but_not_by_expiry(tmp_path: Path) -> None:
    clock = OffsetClock()
    whole = record(tmp_path / "data", encode(EncoderSettings(seconds=2)))[0]
    index_of(tmp_path / "data", [whole]).close()
    name, size = whole[0].name, 64 << 20
    (path,) = (tmp_path / "data").rglob(f"{name}.mp4")
    with path.open("ab") as file:
        file.truncate(size)  # more than all buffers on the way
    values: dict[str, Any] = {"auth_jwt_secret": JWT_SECRET}
    async with auth_gateway(tmp_path, clock, auth=tables(), **values) as client:
        url = f"/archive/door/{name}.mp4"
        expiring = jwt_until(600, scope="archive")
        async with (
            client.get(url, headers=bearer(REVOKED_TOKEN)) as taken,
            client.get(url, headers=bearer(expiring)) as over,
        ):
            assert (taken.status, over.status) == (200, 200)
            clock.ahead_s = 601
            assert client.app is not None
            await client.app[AUTHENTICATOR].sessions.check()
            reload(client, **values)
            await client.app[AUTHENTICATOR].sessions.check()
            with pytest.raises(aiohttp.ClientError):
                await taken.read()
            assert len(await over.read()) == size
        async with client.get(url, headers=bearer(jwt_until(-1, scope="archive"))) as again:
            assert again.status == 401


# --- WebRTC


SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"}


async def test_a_viewer_ends_with_its_token_unless_its_owner_shows_a_newer_one(tmp_path: Path) -> None:
    clock = OffsetClock()
    values: dict[str, Any] = {"auth_jwt_secret": JWT_SECRET}
    async with offered() as offer, auth_gateway(tmp_path, clock, cameras=DEMO, auth=tables(), **values) as client:
        assert client.app is not None
        webrtc = client.app[GATEWAY].webrtc

        async def join(token: str) -> str:
            async with client.post("/whep/demo", data=offer, headers=SDP | bearer(token)) as answer:
                assert answer.status == 201, await answer.text()
                return answer.headers["Location"].rpartition("/")[2]

        revoked, ada, bob, admin = [
            await join(token)
            for token in (REVOKED_TOKEN, jwt_until(600, sub="ada"), jwt_until(600, sub="bob"), ADMIN_TOKEN)
        ]
        gone = webrtc.viewer(revoked)
        reload(client, auth=tables(["archive"]), **values)
        await eventually(lambda: revoked not in webrtc.viewers, "the viewer has ended")
        assert "scope view" in (gone.reason or "")
        assert set(webrtc.viewers) == {ada, bob, admin}
        newer = SDP | FRAGMENT | bearer(jwt_until(1200, sub="ada"))
        async with client.patch(f"/whep/demo/{ada}", data="a=end-of-candidates\r\n", headers=newer) as answer:
            assert answer.status == 204
        # A request of an admin does not make the admin the owner of a viewer.
        any_admin = SDP | FRAGMENT | bearer(ADMIN_TOKEN)
        async with client.patch(f"/whep/demo/{bob}", data="a=end-of-candidates\r\n", headers=any_admin) as answer:
            assert answer.status == 204
        # The clock is put forward for the tokens alone: a viewer that hears nothing for so long would end by itself.
        sessions = client.app[AUTHENTICATOR].sessions
        sessions._clock = ahead = OffsetClock()
        ahead.ahead_s = 601
        await eventually(lambda: bob not in webrtc.viewers, "the viewer has ended")
        assert set(webrtc.viewers) == {ada, admin}
        async with client.delete(f"/whep/demo/{ada}", headers=any_admin) as answer:
            assert answer.status == 200
        async with client.delete(f"/whep/demo/{admin}", headers=any_admin) as answer:
            assert answer.status == 200
        assert not sessions.active


# --- an issuer


@pytest.mark.usefixtures("empty_place")
async def test_a_key_that_the_issuer_revokes_ends_sessions_without_a_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = OffsetClock()
    auth = authenticator(clock, auth_jwt_secret=JWT_SECRET)
    session = await auth.authenticate(jwt_until(9000), "192.0.2.7")
    ended: list[str] = []
    session.on_revoke(lambda error: ended.append(error.code))
    # As if the issuer had revoked the key.
    auth.jwt._secret = "another" + JWT_SECRET
    await auth.sessions.check()
    assert not ended
    clock.ahead_s += VERIFY_INTERVAL_S + 1
    await auth.sessions.check()
    assert ended == ["unauthorized"]
    assert not auth.sessions.active


@pytest.mark.usefixtures("empty_place")
async def test_an_unreachable_issuer_revokes_nothing() -> None:
    clock = OffsetClock()
    auth = authenticator(
        clock, auth_jwks_url="http://127.0.0.1:1/keys", auth_jwt_audience="liveedge", auth_jwt_secret=JWT_SECRET
    )
    session = await auth.authenticate(jwt_until(9000, aud="liveedge"), "192.0.2.7")
    ended: list[str] = []
    session.on_revoke(lambda error: ended.append(error.code))
    unknown = jwt.encode({"exp": time.time() + 9000}, JWT_SECRET, "HS256", headers={"kid": "k"})
    head = unknown.split(".")
    head[0] = jwt.utils.base64url_encode(b'{"alg":"RS256","kid":"k"}').decode()
    session.credential = type(session.credential)(".".join(head))
    auth.sessions.tokens_changed()
    await auth.sessions.check()
    assert not ended
    clock.ahead_s += 9001
    await auth.sessions.check()
    assert ended == ["unauthorized"], "but its own expiry does"
    await auth.jwt.close()
