"""Sign-in at a real provider of OpenID Connect, without a browser: sessions, roles, CSRF, signing out, and refusals."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio
from yarl import URL

from tests.support.auth_gateway import ADMIN_TOKEN, DEMO, Client, auth_gateway, bearer, close_failed, offered
from tests.support.eventually import eventually
from tests.support.manual_clock import OffsetClock
from tests.support.oidc import OidcServer, through_the_forms
from web.gateway import GATEWAY

ROLES = {
    "operator": {"role": "operator", "cameras": ["door"]},
    "viewer": {"scopes": ["view"]},
}


@asynccontextmanager
async def site(folder: Path, clock: OffsetClock | None = None, **more: Any) -> AsyncIterator[tuple[Client, OidcServer]]:
    """A gateway where people sign in, and the provider."""
    async with OidcServer() as provider, auth_gateway(folder, clock, **{**provider.settings, **more}) as client:
        await provider.accept(str(client.make_url("/")), is_public="oidc_client_secret" in more)
        yield client, provider


@asynccontextmanager
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        yield http


async def sign_in(http: aiohttp.ClientSession, client: Client, login: str, place: str = "#/exports") -> str:
    """Sign in; returns where the page is then."""
    begin = client.make_url("/auth/login").with_query(place=place)
    callback = await through_the_forms(http, begin, login)
    async with http.get(callback, allow_redirects=False) as answer:
        assert answer.status == 303
        return answer.headers["Location"]


async def get(http: aiohttp.ClientSession, client: Client, path: str, **headers: str) -> int:
    async with http.get(client.make_url(path), headers=headers) as answer:
        return answer.status


async def test_whoever_signs_in_watches_on_every_transport_until_they_sign_out(tmp_path: Path) -> None:
    async with site(tmp_path, cameras=DEMO) as (client, provider), browser() as http, offered() as offer:
        assert client.app is not None
        async with http.get(client.make_url("/api/sign-in")) as answer:
            assert await answer.json() == {"provider": "127.0.0.1"}
        assert await get(http, client, "/api/cameras/demo") == 401
        assert await sign_in(http, client, "olga") == "../#/exports"
        async with http.get(client.make_url("/api/access")) as answer:
            access = await answer.json()
            assert (access["name"], access["signed_in"], access["cameras"]) == ("user 'olga'", True, None)
            assert access["scopes"] == ["archive", "control", "ptz", "talk", "view"]
        assert await get(http, client, "/hls/demo/index.m3u8") == 200
        assert await get(http, client, "/api/tokens") == 403
        own = {"Origin": str(client.make_url("/")).rstrip("/")}
        sdp = {"Content-Type": "application/sdp", **own}
        sio = socketio.AsyncClient(http_session=http, reconnection=False)
        gone = asyncio.Event()
        sio.on("disconnect", lambda *_: gone.set())
        async with (
            http.post(client.make_url("/whep/demo"), data=offer, headers=sdp) as whep,
            http.get(client.make_url("/mjpeg/demo")) as mjpeg,
        ):
            assert (whep.status, mjpeg.status) == (201, 200)
            await sio.connect(str(client.make_url("/")), transports=["websocket"], headers=own)
            async with http.post(client.make_url("/auth/logout"), headers=own) as answer:
                url = URL((await answer.json())["url"])
            assert (url.path, url.query["post_logout_redirect_uri"]) == ("/session/end", str(client.make_url("/")))
            async with http.get(url) as answer:
                assert (answer.status, "sign-out" in (await answer.text()).lower()) == (200, True), provider.issuer
            async with asyncio.timeout(30):
                await gone.wait()
                with pytest.raises(aiohttp.ClientError):
                    await mjpeg.read()
            webrtc = client.app[GATEWAY].webrtc
            await eventually(lambda: not webrtc.viewers, "the viewer has ended")
        assert await get(http, client, "/api/cameras/demo") == 401


async def test_a_public_client_and_roles_of_the_settings(tmp_path: Path) -> None:
    async with (
        site(tmp_path, oidc_client_secret=None, oidc={"roles": ROLES}) as (client, _),
        browser() as olga,
        browser() as vera,
        browser() as nobody,
    ):
        await sign_in(olga, client, "olga")
        await sign_in(vera, client, "vera", place="javascript:alert(1)")
        assert [await get(olga, client, f"/api/cameras/{camera}") for camera in ("door", "yard")] == [200, 403]
        assert [await get(vera, client, f"/api/cameras/{camera}") for camera in ("door", "yard")] == [200, 200]
        assert await get(vera, client, "/api/cameras/door/segments") == 403
        assert await sign_in(nobody, client, "nobody") == "../?sign-in=role"
        assert await get(nobody, client, "/api/cameras/door") == 401


async def test_another_page_cannot_use_the_cookie(tmp_path: Path) -> None:
    async with site(tmp_path) as (client, _), browser() as http:
        await sign_in(http, client, "olga")
        stop = client.make_url("/api/cameras/door/capture/stop")
        origin = str(client.make_url("/")).rstrip("/")
        for headers, status in (
            ({"Origin": origin}, 200),
            ({"Sec-Fetch-Site": "same-origin"}, 200),
            ({}, 401),  # no browser sends that: it has to say where the request comes from
            ({"Origin": "http://127.0.0.1:1"}, 403),
            ({"Sec-Fetch-Site": "same-site"}, 403),
        ):
            async with http.post(stop, json={"client_id": "page"}, headers=headers) as answer:
                assert answer.status == status, headers
        assert await get(http, client, "/api/cameras/door") == 200
        assert await get(http, client, "/api/cameras/door", **{"Sec-Fetch-Site": "same-site"}) == 401
        sio = socketio.AsyncClient(http_session=http, reconnection=False)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await sio.connect(str(client.make_url("/")), headers={"Origin": "http://127.0.0.1:1"})
        await close_failed(sio)


async def test_an_answer_that_is_not_of_this_sign_in_is_refused(tmp_path: Path) -> None:
    clock = OffsetClock()
    async with site(tmp_path, clock) as (client, provider), browser() as http, browser() as other:
        async with http.get(client.make_url("/auth/login"), allow_redirects=False) as answer:
            cookie = answer.headers["Set-Cookie"]
            assert all(word in cookie for word in ("HttpOnly", "SameSite=Lax", "Path=/auth"))
            query = URL(answer.headers["Location"], encoded=True).query
            assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
        callback = client.make_url("/auth/callback")
        good = {"state": query["state"], "iss": provider.issuer, "code": "made-up"}

        async def told(browser: aiohttp.ClientSession, **changed: str | None) -> str:
            values = {name: value for name, value in {**good, **changed}.items() if value is not None}
            async with browser.get(callback.with_query(values), allow_redirects=False) as answer:
                assert (answer.status, "session" in answer.headers.get("Set-Cookie", "")) == (303, False)
                return answer.headers["Location"].rpartition("=")[2]

        async def fresh(**changed: str | None) -> str:
            async with http.get(client.make_url("/auth/login"), allow_redirects=False) as answer:
                good["state"] = URL(answer.headers["Location"], encoded=True).query["state"]
            return await told(http, **changed)

        assert await told(other) == "expired", "another browser began it"
        assert await fresh(state="another") == "expired"
        assert await fresh(iss="https://evil.example") == "provider"
        assert await fresh(iss=None) == "provider"
        assert await fresh(code=None) == "provider"
        assert await fresh(code=None, error="access_denied") == "denied"
        assert await fresh() == "provider", "the code is made up"
        assert await told(http) == "expired", "an answer counts once"
        async with http.get(client.make_url("/auth/login"), allow_redirects=False) as answer:
            good["state"] = URL(answer.headers["Location"], encoded=True).query["state"]
        clock.ahead_s = 700
        assert await told(http) == "expired"


async def test_a_sign_in_ends_by_idleness_and_by_its_lifetime_and_tokens_work_beside_it(tmp_path: Path) -> None:
    clock = OffsetClock()
    async with (
        site(tmp_path, clock, oidc_session_idle=600, oidc_session_lifetime=1500) as (client, _),
        browser() as http,
    ):
        await sign_in(http, client, "vera")
        for ahead_s, status in ((500, 200), (1000, 200), (1400, 200), (1501, 401)):
            clock.ahead_s = ahead_s
            assert await get(http, client, "/api/cameras/door") == status, ahead_s
        await sign_in(http, client, "vera")
        clock.ahead_s += 601
        assert await get(http, client, "/api/cameras/door") == 401
        assert await get(http, client, "/api/cameras/door", **bearer(ADMIN_TOKEN)) == 200


async def test_a_provider_that_is_away_is_told(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"oidc_issuer": "http://127.0.0.1:1", "oidc_client_id": "liveedge"}
    async with auth_gateway(tmp_path, **settings) as client:
        async with client.get("/auth/login", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "../?sign-in=unreachable")
        async with client.get("/api/cameras", headers=bearer(ADMIN_TOKEN)) as answer:
            assert answer.status == 200
