"""Tokens and signed links over HTTP: made, listed, kept over restarts, revoked with what they opened, and refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hls.archive.salvage import read_rows
from tests.support.auth_gateway import ADMIN_TOKEN, DEMO, OFF, Client, auth_gateway, bearer, offered
from tests.support.eventually import eventually
from tests.support.manual_clock import OffsetClock
from tests.web.auth.test_revocation import drained
from tests.web.auth.test_socket_revocation import connected
from web.auth import issued_tokens
from web.auth.authenticator import AUTHENTICATOR
from web.auth.issued_links import LINKS_MAX
from web.gateway import GATEWAY

ADMIN = bearer(ADMIN_TOKEN)


async def made(client: Client, **body: Any) -> dict[str, Any]:
    async with client.post("/api/tokens", json={"name": "guard", "role": "viewer", **body}, headers=ADMIN) as answer:
        assert answer.status == 201, await answer.text()
        token: dict[str, Any] = await answer.json()
        return token


async def listed(client: Client, kind: str = "tokens") -> list[dict[str, Any]]:
    async with client.get(f"/api/{kind}", headers=ADMIN) as answer:
        assert answer.status == 200, await answer.text()
        items: list[dict[str, Any]] = (await answer.json())[kind]
        return items


async def status_of(client: Client, url: str, token: str | None = None) -> int:
    async with client.get(url, headers=bearer(token) if token else {}) as answer:
        return answer.status


async def signed(client: Client, path: str, **more: Any) -> dict[str, Any]:
    async with client.post("/api/sign", json={"path": path, **more}, headers=ADMIN) as answer:
        assert answer.status == 201, await answer.text()
        link: dict[str, Any] = await answer.json()
        return link


async def test_a_token_is_told_once_works_at_once_and_is_kept_over_a_restart_as_a_hash(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path) as client:
        token = await made(client, name="정문 경비", role="reviewer", cameras=["door"])
        assert (token["scopes"], token["cameras"], token["created_by"]) == (["archive", "view"], ["door"], "admin")
        assert token["last_used"] is None
        assert await status_of(client, "/api/cameras/door", token["token"]) == 200
        assert await status_of(client, "/api/cameras/yard", token["token"]) == 403
        assert await status_of(client, "/api/tokens", token["token"]) == 403
        of_settings = [each for each in await listed(client) if each["source"] == "settings"]
        assert of_settings[0]["name"] == "admin"
        assert of_settings[0]["last_used"] is not None
        assert all(each["id"] is None for each in of_settings)
    files = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert token["token"].encode() not in files
    assert "정문 경비".encode() in files, "this looks at the right files"
    async with auth_gateway(tmp_path) as client:
        (again,) = [each for each in await listed(client) if each["source"] == "api"]
        assert again["last_used"] is not None
        assert again | {"last_used": None, "token": token["token"]} == token
        assert await status_of(client, "/api/cameras/door", token["token"]) == 200


async def test_a_revoked_token_ends_with_everything_that_it_opened(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path, cameras=DEMO) as client, offered() as offer:
        assert client.app is not None
        webrtc = client.app[GATEWAY].webrtc
        token = await made(client)
        text = token["token"]
        body = {"path": "/hls/demo/index.m3u8"}
        async with client.post("/api/sign", json=body, headers=bearer(text)) as answer:
            url = (await answer.json())["url"]
        assert await status_of(client, url) == 200
        headers = {"Content-Type": "application/sdp", **bearer(text)}
        async with (
            client.post("/whep/demo", data=offer, headers=headers) as whep,
            client.get("/mjpeg/demo", headers=bearer(text)) as mjpeg,
            connected(client, text) as socket,
        ):
            assert (whep.status, mjpeg.status) == (201, 200)
            async with client.delete(f"/api/tokens/{token['id']}", headers=ADMIN) as answer:
                assert answer.status == 204
            async with asyncio.timeout(30):
                assert (await socket.ended.get())["error"] == "unauthorized"
                await socket.gone.wait()
                await drained(mjpeg)
            await eventually(lambda: not webrtc.viewers, "the viewer has ended")
        for path, credential in (("/api/cameras/demo", text), ("/hls/demo/live.m3u8", text), (url, None)):
            assert await status_of(client, path, credential) == 401
        assert all(each["source"] == "settings" for each in await listed(client))
        async with client.delete(f"/api/tokens/{token['id']}", headers=ADMIN) as answer:
            assert answer.status == 404
    async with auth_gateway(tmp_path, cameras=DEMO) as client:
        assert await status_of(client, "/api/cameras/demo", text) == 401


async def test_a_token_expires(tmp_path: Path) -> None:
    clock = OffsetClock()
    async with auth_gateway(tmp_path, clock) as client:
        token = await made(client, expires=str(clock.wall_90k() // 90_000 + 600))
        assert await status_of(client, "/api/cameras/door", token["token"]) == 200
        clock.ahead_s = 601
        async with client.get("/api/cameras/door", headers=bearer(token["token"])) as answer:
            assert (answer.status, "has expired" in (await answer.json())["message"]) == (401, True)
        assert token["id"] in [each["id"] for each in await listed(client)]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"role": None}, 400, "either role or scopes"),
        ({"scopes": ["view"]}, 400, "either role or scopes"),
        ({"role": "king"}, 400, "role"),
        ({"role": None, "scopes": []}, 400, "scopes"),
        ({"role": "admin", "cameras": ["door"]}, 400, "all cameras"),
        ({"cameras": ["../door"]}, 400, "cameras"),
        ({"cameras": []}, 400, "cameras"),
        ({"name": ""}, 400, "name"),
        ({"expires": "yesterday"}, 400, "expires"),
        ({"expires": "2020-01-01T00:00:00Z"}, 400, "in the past"),
        ({"token": "of-my-own"}, 400, "token"),
        ({"name": "all-view"}, 409, "the settings have"),
        ({"name": "taken"}, 409, "already"),
    ],
)
async def test_what_cannot_be_a_token_is_refused_with_the_reason(
    auth_client: Client, body: dict[str, Any], status: int, words: str
) -> None:
    await made(auth_client, name="taken")
    whole = {"name": "guard", "role": "viewer", **body}
    async with auth_client.post("/api/tokens", json=whole, headers=ADMIN) as answer:
        assert answer.status == status
        assert words in (await answer.json())["message"]


async def test_tokens_are_bounded_and_for_administrators(auth_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await made(auth_client)
    monkeypatch.setattr(issued_tokens, "TOKENS_MAX", 1)
    body = {"name": "another", "role": "viewer"}
    async with auth_client.post("/api/tokens", json=body, headers=ADMIN) as answer:
        assert (answer.status, "the limit" in (await answer.json())["message"]) == (409, True)
    for credential, status in ((token["token"], 403), ("may-view-everything", 403), (None, 401)):
        headers = bearer(credential) if credential else {}
        async with auth_client.post("/api/tokens", json=body, headers=headers) as answer:
            assert answer.status == status
        for path in ("/api/tokens", "/api/links"):
            assert await status_of(auth_client, path, credential) == status


async def test_without_authentication_no_token_is_made(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path, **OFF) as client:
        async with client.post("/api/tokens", json={"name": "guard", "role": "viewer"}) as answer:
            assert (answer.status, "AUTH_TOKEN" in (await answer.json())["message"]) == (409, True)
        async with client.get("/api/tokens") as answer:
            assert (await answer.json()) == {"tokens": []}


async def test_a_link_is_listed_and_revoked_alone(tmp_path: Path) -> None:
    clock = OffsetClock()
    async with auth_gateway(tmp_path, clock, cameras=DEMO) as client:
        shared = await signed(client, "/mjpeg/demo?width=320", name="for the police")
        other = await signed(client, "/hls/demo/index.m3u8")
        links = await listed(client, "links")
        assert [(each["id"], each["name"], each["path"]) for each in links] == [
            (other["id"], None, "/hls/demo/index.m3u8"),
            (shared["id"], "for the police", "/mjpeg/demo?width=320"),
        ]
        assert all(each["revoked"] is None and each["created_by"] == "admin" for each in links)
        assert shared["token"] not in str(links)
        async with client.get(shared["url"]) as mjpeg:
            assert mjpeg.status == 200
            async with client.delete(f"/api/links/{shared['id']}", headers=ADMIN) as answer:
                assert answer.status == 204
            await drained(mjpeg)
        assert await status_of(client, other["url"]) == 200
        for link_id, status in ((shared["id"], 409), ("unknown", 404)):
            async with client.delete(f"/api/links/{link_id}", headers=ADMIN) as answer:
                assert answer.status == status
    async with auth_gateway(tmp_path, clock, cameras=DEMO) as client:
        assert [each["id"] for each in await listed(client, "links") if each["revoked"]] == [shared["id"]]
        async with client.get(shared["url"]) as answer:
            assert (answer.status, "was revoked" in (await answer.json())["message"]) == (401, True)
        assert await status_of(client, other["url"]) == 200
        clock.ahead_s = 3700
        assert await listed(client, "links") == []


async def test_a_list_of_links_that_is_full_forgets_the_oldest_without_a_name(auth_client: Client) -> None:
    assert auth_client.app is not None
    links = auth_client.app[AUTHENTICATOR].issued.links
    named = await signed(auth_client, "/hls/door/index.m3u8", name="for the police")
    for _ in range(3):
        await signed(auth_client, "/hls/door/index.m3u8")
    second, *_ = [each.id for each in links.links[2:]]
    (example,) = [each for each in links.links if each.id == named["id"]]
    for number in range(LINKS_MAX - len(links.links)):
        links._links[f"more-{number}"] = example
    await signed(auth_client, "/hls/door/index.m3u8")
    assert links.forgotten == 1
    assert [each.id for each in links.links[:2]] == [named["id"], second]


async def test_tokens_survive_an_index_that_is_damaged_or_replaced(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path) as client:
        assert client.app is not None
        token = await made(client)
        await signed(client, "/hls/door/index.m3u8", name="for the police")
        index = client.app[GATEWAY].archive.index
        rows = read_rows(tmp_path / "data" / "index.sqlite3")
        assert [len(rows[name]) for name in ("access_token", "signed_link")] == [1, 1]
        await index.call(lambda table: _empty(table))
        await client.app[AUTHENTICATOR].issued.index_repaired()
    async with auth_gateway(tmp_path) as client:
        assert await status_of(client, "/api/cameras/door", token["token"]) == 200
        assert len(await listed(client, "links")) == 1


def _empty(table: Any) -> None:
    with table.transaction() as connection:
        for name in ("access_token", "signed_link"):
            connection.exec_driver_sql(f"DELETE FROM {name}")
