"""The door: names, origins, proxies, limits, what every answer says, and where cameras may be."""

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

from tests.support.guarded import ADMIN_TOKEN, OFF, Client, bearer, guarded
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


# --- the name that the gateway is called by


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


async def test_a_page_cannot_make_its_own_name_lead_here(tmp_path: Path) -> None:
    async with guarded(tmp_path, **OFF, allowed_hosts="cameras.example.org, nvr.example.org") as client:
        for host, is_known in HOSTS.items():
            for path in ("/api/cameras", "/", "/socket.io/?EIO=4&transport=polling"):
                status, _, body = await answer_of(client, path, Host=host)
                if is_known:
                    assert status == 200, (host, path)
                else:
                    assert status == 400 or (status, body["error"]) == (403, "forbidden_host"), (host, path)


async def test_with_auth_on_any_name_will_do(shut: Client) -> None:
    status, _, _ = await answer_of(shut, "/api/cameras", Host="evil.example.org", **bearer(ADMIN_TOKEN))
    assert status == 200


@given(st.text(max_size=60))
def test_any_host_header_has_a_name_or_none(host: str) -> None:
    assert isinstance(host_name(host), str)


# --- pages of other sites


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
"""What browsers say of the page that asks, and whether it is another site's."""


async def test_no_web_page_steers_or_watches_a_gateway_that_is_open(tmp_path: Path) -> None:
    async with guarded(tmp_path, **OFF) as client:
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
                assert (await answer_of(client, path, **sent))[0] in (200, 404), "open to everybody"


async def test_a_link_may_lead_here(tmp_path: Path) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    async with guarded(tmp_path, **OFF) as client:
        assert (await answer_of(client, "/api/cameras", **link))[0] == 200
        assert (await answer_of(client, "/", **link))[0] == 200
        frame = {**link, "Sec-Fetch-Dest": "iframe"}
        assert (await answer_of(client, "/api/cameras", **frame))[0] == 403
        assert (await answer_of(client, "/api/cameras/ghost", "DELETE", **link))[0] == 403


async def test_with_auth_on_other_pages_may_show_what_was_signed_but_change_nothing(shut: Client) -> None:
    async with shut.post("/api/sign", json={"path": "/snapshot/ghost.jpg"}, headers=bearer(ADMIN_TOKEN)) as answer:
        url = (await answer.json())["url"]
    status, headers, _ = await answer_of(shut, url, **{"Sec-Fetch-Site": "cross-site"})
    assert status == 404
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    status, _, body = await answer_of(shut, "/api/cameras/ghost", "DELETE", Origin=EVIL, **bearer(ADMIN_TOKEN))
    assert (status, body["error"]) == (403, "forbidden_origin")


@pytest.mark.parametrize("origins", ["https://wall.example.org, http://127.0.0.1:3000/", "*"])
async def test_listed_origins_may_do_all_that_their_user_may(tmp_path: Path, origins: str) -> None:
    async with guarded(tmp_path, **OFF, cors_origins=origins) as client:
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


async def test_nothing_but_the_players_files_is_for_every_origin(tmp_path: Path) -> None:
    for settings in (OFF, {}):
        async with guarded(tmp_path, **settings) as client:
            for method, path in ROUTES:
                concrete = path.replace("{camera}", "ghost").replace("{", "").replace("}", "")
                for how in (method, "OPTIONS"):
                    asks = {"Access-Control-Request-Method": method} if how == "OPTIONS" else {}
                    _, headers, _ = await answer_of(client, concrete, how, Origin=EVIL, **asks)
                    is_static = path.startswith("/static/")
                    assert headers.get("Access-Control-Allow-Origin") == ("*" if is_static else None), (how, path)
                    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_socketio_of_other_pages(tmp_path: Path, transport: str) -> None:
    async with guarded(tmp_path, **OFF, cors_origins="https://wall.example.org") as client:
        url = str(client.make_url("/"))
        for origin, is_let_in in ((EVIL, False), ("https://wall.example.org", True), (url.rstrip("/"), True)):
            sio = socketio.AsyncClient(reconnection=False, handle_sigint=False)
            try:
                await sio.connect(url, headers={"Origin": origin}, transports=[transport])
                assert is_let_in, origin
            except Refused:
                assert not is_let_in, origin
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
    ],
)
async def test_only_proxies_that_are_named_are_believed(
    tmp_path: Path, proxies: str, forwarded: str, client_address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with guarded(tmp_path, trusted_proxies=proxies) as client:
        headers = {"X-Forwarded-For": forwarded, "Authorization": "Bearer a-wrong-guess-of-a-token"}
        assert (await answer_of(client, "/api/cameras", **headers))[0] == 401
    assert f"wrong token from {client_address}\n" in caplog.text


async def test_a_proxy_says_which_host_it_was_asked_for(tmp_path: Path) -> None:
    async with guarded(tmp_path, **OFF, trusted_proxies="127.0.0.1", allowed_hosts="cameras.example.org") as client:
        asked = {"X-Forwarded-Host": "cameras.example.org", "X-Forwarded-Proto": "https"}
        own = {**asked, "Origin": "https://cameras.example.org"}
        assert (await answer_of(client, "/api/cameras/ghost", "DELETE", **own))[0] == 404
        assert (await answer_of(client, "/api/cameras", **{"X-Forwarded-Host": "evil.example.org"}))[0] == 403
    async with guarded(tmp_path, **OFF) as client:
        assert (await answer_of(client, "/api/cameras/ghost", "DELETE", **own))[0] == 403


# --- limits


async def test_one_address_has_only_so_many_requests_open(tmp_path: Path) -> None:
    async with guarded(tmp_path, **OFF, connections_per_address=4) as client:
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
    async with guarded(tmp_path, **OFF) as client:
        for path in ("/api/cameras", "/api/sign", "/api/cameras/door/capture/start"):
            headers = {"Content-Type": "application/json"}
            async with client.post(path, data=b'{"a":"' + b"x" * (1 << 19), headers=headers) as answer:
                assert answer.status in (400, 413), path


async def test_headers_are_bounded(tmp_path: Path) -> None:
    async with guarded(tmp_path, **OFF) as client:
        assert (await answer_of(client, "/health", X_Long="x" * 10_000))[0] == 400
        many = {f"X-{number}": "x" for number in range(100)}
        assert (await answer_of(client, "/health", **many))[0] == 200


# --- what every answer says


async def test_every_answer_has_its_headers(shut: Client) -> None:
    for path in ("/", "/health", "/static/player.js", "/nowhere", "/api/cameras", "/hls/door/index.m3u8"):
        _, headers, _ = await answer_of(shut, path)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Server"] == "liveedge"
        assert "frame-ancestors 'self'" in headers["Content-Security-Policy"]
    _, headers, _ = await answer_of(shut, "/")
    assert headers["Content-Security-Policy"] == PAGE_POLICY
    assert "unsafe" not in PAGE_POLICY
    _, headers, _ = await answer_of(shut, "/static/player.js")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"


async def test_a_shared_cache_keeps_nothing_that_needed_a_token(tmp_path: Path) -> None:
    demo = {"url": "fake://demo?width=320&height=180&gop=5", "engine": "fake", "record": "never"}
    async with guarded(tmp_path, cameras={"demo": demo}) as client:
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
    async with guarded(tmp_path, **OFF) as client:
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
