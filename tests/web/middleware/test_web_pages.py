"""Host names, origins, proxies, limits and headers: what protects a gateway from web pages."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio
from hypothesis import given
from hypothesis import strategies as st
from socketio.exceptions import ConnectionError as Refused
from yarl import URL

from tests.support.auth_gateway import ADMIN_TOKEN, OFF, Client, auth_gateway, bearer, close_failed
from web.auth.policy import ROUTES
from web.middleware.host_check import host_name
from web.middleware.security_headers import PAGE_POLICY

EVIL = "https://evil.example.org"


async def answer_of(
    client: Client, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], dict[str, Any]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.request(method, path, headers=named) as answer:
        body = await answer.json() if answer.content_type == "application/json" else {}
        return answer.status, dict(answer.headers), body


# --- host names


HOSTS = {
    "127.0.0.1:8000": True,
    "localhost": True,
    "LOCALHOST:1": True,
    "[::1]:8000": True,
    "192.168.1.5": True,
    "nvr:8000": True,
    "nvr.local": True,
    "cameras.example.org": True,
    "CAMERAS.example.org.:443": True,
    "evil.example.org": False,
    "evil.example.org:8000": False,
    "127.0.0.1.evil.example.org": False,
    "localhost.evil.example.org": False,
    "cameras.example.org.evil.example.org": False,
    "evil.example.org@127.0.0.1": False,
    "[": False,
    "": False,
}


async def test_unknown_host_names_are_refused(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path, **OFF, allowed_hosts="cameras.example.org, nvr.example.org") as client:
        for host, is_known in HOSTS.items():
            for path in ("/api/cameras", "/", "/socket.io/?EIO=4&transport=polling"):
                status, _, body = await answer_of(client, path, Host=host)
                if is_known:
                    assert status == 200, (host, path)
                else:
                    assert status == 400 or (status, body["error"]) == (403, "forbidden_host"), (host, path)


async def test_with_auth_on_every_host_name_is_accepted(auth_client: Client) -> None:
    status, _, _ = await answer_of(auth_client, "/api/cameras", Host="evil.example.org", **bearer(ADMIN_TOKEN))
    assert status == 200


@given(st.text(max_size=60))
def test_any_host_header_is_parsed(host: str) -> None:
    assert isinstance(host_name(host), str)


# --- pages of other origins


PAGES: list[tuple[dict[str, str], bool]] = [
    ({}, False),
    ({"Origin": "http://HOST"}, False),
    ({"Origin": "https://HOST"}, False),
    ({"Origin": EVIL}, True),
    ({"Origin": "null"}, True),
    ({"Origin": "http://127.0.0.1"}, True),
    ({"Origin": "garbage"}, True),
    ({"Origin": "http://[::1"}, True),
    ({"Sec-Fetch-Site": "same-origin"}, False),
    ({"Sec-Fetch-Site": "none"}, False),
    ({"Sec-Fetch-Site": "cross-site"}, True),
    ({"Sec-Fetch-Site": "same-site"}, True),
    ({"Sec-Fetch-Site": "cross-site", "Referer": f"{EVIL}/page"}, True),
]
"""The headers of browsers that name the page, and whether the page is of another site."""


async def test_foreign_pages_can_neither_control_nor_watch_a_gateway_without_auth(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path, **OFF) as client:
        for headers, is_foreign in PAGES:
            host = f"{client.host}:{client.port}"
            sent = {name: value.replace("HOST", host) for name, value in headers.items()}
            for method, path in (
                ("POST", "/api/cameras/door/capture/start"),
                ("DELETE", "/api/cameras/ghost"),
                ("POST", "/whep/ghost"),
                ("GET", "/api/cameras"),
                ("GET", "/snapshot/ghost.jpg"),
                ("GET", "/hls/ghost/index.m3u8"),
                ("GET", "/metrics"),
                ("GET", "/socket.io/?EIO=4&transport=polling"),
            ):
                status, _, body = await answer_of(client, path, method, **sent)
                assert (body.get("error") == "forbidden_origin") == is_foreign, (method, path, status, body)
            for path in ("/static/player.js", "/health"):
                assert (await answer_of(client, path, **sent))[0] in (200, 404), "public routes"


async def test_a_link_from_another_site_is_allowed(tmp_path: Path) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    async with auth_gateway(tmp_path, **OFF) as client:
        assert (await answer_of(client, "/api/cameras", **link))[0] == 200
        assert (await answer_of(client, "/", **link))[0] == 200
        frame = {**link, "Sec-Fetch-Dest": "iframe"}
        assert (await answer_of(client, "/api/cameras", **frame))[0] == 403
        assert (await answer_of(client, "/api/cameras/ghost", "DELETE", **link))[0] == 403


async def test_with_auth_on_foreign_pages_may_show_signed_urls_but_change_nothing(auth_client: Client) -> None:
    async with auth_client.post(
        "/api/sign", json={"path": "/snapshot/ghost.jpg"}, headers=bearer(ADMIN_TOKEN)
    ) as answer:
        url = (await answer.json())["url"]
    status, headers, _ = await answer_of(auth_client, url, **{"Sec-Fetch-Site": "cross-site"})
    assert status == 404
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    status, _, body = await answer_of(auth_client, "/api/cameras/ghost", "DELETE", Origin=EVIL, **bearer(ADMIN_TOKEN))
    assert (status, body["error"]) == (403, "forbidden_origin")


@pytest.mark.parametrize("origins", ["https://wall.example.org, http://127.0.0.1:3000/", "*"])
async def test_listed_origins_may_do_what_their_user_may(tmp_path: Path, origins: str) -> None:
    async with auth_gateway(tmp_path, **OFF, cors_origins=origins) as client:
        for origin in ("https://wall.example.org", "http://127.0.0.1:3000"):
            status, headers, _ = await answer_of(client, "/api/cameras", Origin=origin)
            assert status == 200
            assert headers["Access-Control-Allow-Origin"] == origin
            assert "Origin" in headers["Vary"]
            status, headers, _ = await answer_of(
                client,
                "/whep/ghost",
                "OPTIONS",
                Origin=origin,
                **{
                    "Access-Control-Request-Method": "PATCH",
                    "Access-Control-Request-Headers": "authorization,if-match",
                },
            )
            assert status == 204
            assert headers["Access-Control-Allow-Origin"] == origin
            assert "PATCH" in headers["Access-Control-Allow-Methods"]
            assert "If-Match" in headers["Access-Control-Allow-Headers"]
            referred = {"Sec-Fetch-Site": "cross-site", "Referer": f"{origin}/page?x=1"}
            assert (await answer_of(client, "/api/cameras", **referred))[0] == 200
        status, headers, _ = await answer_of(client, "/api/cameras", Origin=EVIL)
        assert status == (200 if origins == "*" else 403)
        assert ("Access-Control-Allow-Origin" in headers) == (origins == "*")


async def test_only_static_files_allow_every_origin(tmp_path: Path) -> None:
    for settings in (OFF, {}):
        async with auth_gateway(tmp_path, **settings) as client:
            for method, path in ROUTES:
                concrete = path.replace("{camera}", "ghost").replace("{", "").replace("}", "")
                for how in (method, "OPTIONS"):
                    asks = {"Access-Control-Request-Method": method} if how == "OPTIONS" else {}
                    _, headers, _ = await answer_of(client, concrete, how, Origin=EVIL, **asks)
                    is_static = path.startswith("/static/")
                    assert headers.get("Access-Control-Allow-Origin") == ("*" if is_static else None), (how, path)
                    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_socketio_from_foreign_pages(tmp_path: Path, transport: str) -> None:
    async with auth_gateway(tmp_path, **OFF, cors_origins="https://wall.example.org") as client:
        url = str(client.make_url("/"))
        for origin, is_accepted in ((EVIL, False), ("https://wall.example.org", True), (url.rstrip("/"), True)):
            sio = socketio.AsyncClient(reconnection=False, handle_sigint=False)
            try:
                await sio.connect(url, headers={"Origin": origin}, transports=[transport])
                assert is_accepted, origin
            except Refused:
                assert not is_accepted, origin
                await close_failed(sio)
            finally:
                await sio.disconnect()


# --- proxies


@pytest.mark.parametrize(
    ("proxies", "forwarded", "client_address"),
    [
        ("", "198.51.100.7", "127.0.0.1"),
        ("10.0.0.0/8", "198.51.100.7", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.0/8", "203.0.113.1, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1,10.0.0.0/8", "198.51.100.7, 10.1.1.1, 10.2.2.2", "198.51.100.7"),
        ("127.0.0.1", "not an address", "127.0.0.1"),
        ("127.0.0.1", "2001:db8::7", "2001:db8::7"),
        ("127.0.0.1", "203.0.113.1, 198.51.100.7:4711", "198.51.100.7"),
        ("127.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("127.0.0.1,10.0.0.0/8", "198.51.100.7:80, 10.1.1.1:81", "198.51.100.7"),
    ],
)
async def test_only_trusted_proxies_are_believed(
    tmp_path: Path, proxies: str, forwarded: str, client_address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with auth_gateway(tmp_path, trusted_proxies=proxies) as client:
        headers = {"X-Forwarded-For": forwarded, "Authorization": "Bearer a-wrong-guess-of-a-token"}
        assert (await answer_of(client, "/api/cameras", **headers))[0] == 401
    assert f"wrong token from {client_address}\n" in caplog.text


async def test_a_trusted_proxy_forwards_host_and_scheme(tmp_path: Path) -> None:
    async with auth_gateway(
        tmp_path, **OFF, trusted_proxies="127.0.0.1", allowed_hosts="cameras.example.org"
    ) as client:
        asked = {"X-Forwarded-Host": "cameras.example.org", "X-Forwarded-Proto": "https"}
        own = {**asked, "Origin": "https://cameras.example.org"}
        assert (await answer_of(client, "/api/cameras/ghost", "DELETE", **own))[0] == 404
        assert (await answer_of(client, "/api/cameras", **{"X-Forwarded-Host": "evil.example.org"}))[0] == 403
    async with auth_gateway(tmp_path, **OFF) as client:
        assert (await answer_of(client, "/api/cameras/ghost", "DELETE", **own))[0] == 403


# --- limits


async def test_open_requests_of_one_address_are_limited(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path, **OFF, connections_per_address=4) as client:
        waiting = [asyncio.create_task(answer_of(client, "/hls/door/index.m3u8")) for _ in range(4)]
        for _ in range(400):
            status, headers, body = await answer_of(client, "/health")
            if status == 429:
                break
            await asyncio.sleep(0.01)
        assert (status, body["error"]) == (429, "too_many")
        assert int(headers["Retry-After"]) > 0
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_bodies_are_bounded(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path, **OFF) as client:
        for path in ("/api/cameras", "/api/sign", "/api/cameras/door/capture/start"):
            headers = {"Content-Type": "application/json"}
            async with client.post(path, data=b'{"a":"' + b"x" * (1 << 19), headers=headers) as answer:
                assert answer.status in (400, 413), path


async def test_headers_are_bounded(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path, **OFF) as client:
        assert (await answer_of(client, "/health", X_Long="x" * 10_000))[0] == 400
        many = {f"X-{number}": "x" for number in range(100)}
        assert (await answer_of(client, "/health", **many))[0] == 200


# --- headers of every answer


async def test_every_answer_has_the_security_headers(auth_client: Client) -> None:
    for path in ("/", "/health", "/static/player.js", "/nowhere", "/api/cameras", "/hls/door/index.m3u8"):
        _, headers, _ = await answer_of(auth_client, path)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Server"] == "liveedge"
        assert "frame-ancestors 'self'" in headers["Content-Security-Policy"]
    _, headers, _ = await answer_of(auth_client, "/")
    assert headers["Content-Security-Policy"] == PAGE_POLICY
    assert "unsafe" not in PAGE_POLICY
    _, headers, _ = await answer_of(auth_client, "/static/player.js")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"


@pytest.mark.integration
async def test_a_shared_cache_may_keep_nothing_that_needed_a_token(tmp_path: Path) -> None:
    demo = {"url": "fake://demo?width=320&height=180&gop=5", "engine": "fake", "record": "never"}
    async with auth_gateway(tmp_path, cameras={"demo": demo}) as client:
        headers = bearer(ADMIN_TOKEN)
        assert (await answer_of(client, "/hls/demo/index.m3u8", **headers))[0] == 200
        async with client.get("/hls/demo/live.m3u8", headers=headers) as answer:
            name = next(line for line in (await answer.text()).splitlines() if line.endswith(".m4s"))
        async with client.get(f"/hls/demo/{name}", headers=headers) as answer:
            assert answer.status == 200
            assert "private" in answer.headers["Cache-Control"]
            assert "public" not in answer.headers["Cache-Control"]
            assert "Authorization" in answer.headers["Vary"]


# --- paths


async def test_paths_cannot_leave_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_text("of the gateway")
    async with auth_gateway(tmp_path, **OFF) as client:
        base = str(client.make_url("/")).rstrip("/")
        async with aiohttp.ClientSession() as session:
            for path in (
                "/archive/door/../../secret.mp4",
                "/archive/..%2f..%2fsecret/x.mp4",
                "/archive/door/..%2f..%2fsecret.mp4",
                "/archive/%2e%2e/secret.mp4",
                "/archive/..%5c../secret.mp4",
                "/static/..%2f..%2fcli.py",
                "/static/%2e%2e%2fapp.py",
                "/static/.%00.js",
                "/archive/door/segment_20261122T185000Z%00.mp4",
            ):
                async with session.get(URL(base + path, encoded=True)) as answer:
                    assert answer.status in (400, 404), path
                    assert "of the gateway" not in await answer.text()
