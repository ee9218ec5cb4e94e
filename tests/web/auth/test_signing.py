"""Signed URLs: what they allow, for how long, and how playlists pass them on."""

import os
import re
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jwt
import pytest

from hls.live.playlist import with_query
from tests.support.auth_gateway import (
    ADMIN_TOKEN,
    JWT_SECRET,
    TABLES,
    Client,
    auth_gateway,
    authenticator,
    bearer,
)
from tests.support.manual_clock import OffsetClock
from web.auth.authenticator import AUTHENTICATOR
from web.auth.camera_marks import MARKS_MAX, CameraMarks
from web.auth.signing import AUDIENCE
from web.auth.signing_key import kept_key
from web.gateway import GATEWAY
from web.settings import load_settings

SEGMENT = "/archive/ghost/segment_20261122T185000Z"


async def sign(client: Client, path: str, token: str = ADMIN_TOKEN, **more: Any) -> dict[str, Any]:
    async with client.post("/api/sign", json={"path": path, **more}, headers=bearer(token)) as answer:
        assert answer.status == 201, await answer.text()
        signed: dict[str, Any] = await answer.json()
        return signed


async def status_of(client: Client, url: str, method: str = "GET") -> int:
    async with client.request(method, url) as answer:
        return answer.status


async def test_the_token_of_a_file_is_valid_for_that_url_only(auth_client: Client) -> None:
    for path in (f"{SEGMENT}.mp4", f"{SEGMENT}.jpg", "/snapshot/ghost.jpg?width=640", "/mjpeg/ghost"):
        signed = await sign(auth_client, path)
        assert await status_of(auth_client, signed["url"]) == 404, "accepted, and there is no camera ghost"
        assert await status_of(auth_client, signed["url"], "HEAD") == 404
        other = f"{SEGMENT.replace('1850', '1900')}.mp4?token={signed['token']}"
        assert await status_of(auth_client, other) == 401
        assert await status_of(auth_client, signed["url"] + "&width=1280") == 401
    clip = await sign(auth_client, "/api/cameras/ghost/clip.mp4?start=1&end=2")
    assert await status_of(auth_client, clip["url"]) not in (401, 403)
    assert await status_of(auth_client, clip["url"].replace("end=2", "end=2000")) == 401


async def test_the_token_of_a_playlist_is_valid_for_its_media_only(auth_client: Client) -> None:
    live = (await sign(auth_client, "/hls/ghost/index.m3u8", "may-view-the-door"))["token"]
    for path in ("/hls/ghost/index.m3u8", "/hls/ghost/live.m3u8", "/hls/ghost/part-1.m4s"):
        assert await status_of(auth_client, f"{path}?token={live}&_HLS_msn=7") == 404, path
    for path in (
        *(f"{SEGMENT}.mp4", "/hls/ghost/dvr.m3u8", "/hls/door/index.m3u8"),
        *("/mjpeg/ghost?at=1", "/mjpeg/ghost", "/snapshot/ghost.jpg"),
    ):
        separator = "&" if "?" in path else "?"
        assert await status_of(auth_client, f"{path}{separator}token={live}") == 403, path
    dvr = (await sign(auth_client, "/hls/ghost/dvr.m3u8?start=1", "may-rewind-the-door"))["token"]
    for path in ("/hls/ghost/dvr.m3u8", f"{SEGMENT}.mp4"):
        assert await status_of(auth_client, f"{path}?token={dvr}") == 404, path
    for path in ("/hls/ghost/live.m3u8", f"{SEGMENT}.jpg"):
        assert await status_of(auth_client, f"{path}?token={dvr}") == 403, path


async def test_a_signed_token_only_reads(auth_client: Client) -> None:
    token = (await sign(auth_client, "/hls/door/index.m3u8"))["token"]
    for method, path in (
        ("GET", "/api/cameras"),
        ("GET", "/api/cameras/door"),
        ("POST", "/whep/door"),
        ("POST", "/api/sign"),
        ("DELETE", "/api/cameras/door"),
    ):
        assert await status_of(auth_client, f"{path}?token={token}", method) == 401, path
    async with auth_client.get("/api/cameras", headers=bearer(token)) as answer:
        assert answer.status == 401, "it is not a bearer token"


async def test_signing_needs_the_scope_of_the_url(auth_client: Client) -> None:
    for path, token in (
        (f"{SEGMENT}.mp4", "may-view-the-door"),
        ("/hls/ghost/index.m3u8", "may-rewind-the-door"),
        ("/hls/yard/index.m3u8", "may-view-the-door"),
        ("/mjpeg/door?at=2026-11-22T18:50:00Z", "may-view-the-door"),
    ):
        async with auth_client.post("/api/sign", json={"path": path}, headers=bearer(token)) as answer:
            assert answer.status == 403, path


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"path": ""}, 400),
        ({"path": "//evil.example.org/hls/door/index.m3u8"}, 400),
        ({"path": "/\\evil.example.org"}, 400),
        ({"path": "https://evil.example.org/hls/door/index.m3u8"}, 400),
        ({"path": "/hls/door/index.m3u8", "expires_s": 0}, 400),
        ({"path": "/hls/door/index.m3u8", "expires_s": "1"}, 400),
        ({"path": "/hls/door/index.m3u8", "scope": "admin"}, 400),
        ([], 400),
        ({"path": "/api/cameras"}, 404),
        ({"path": "/metrics"}, 404),
        ({"path": "/static/player.js"}, 404),
        ({"path": "/nowhere"}, 404),
        ({"path": "/whep/door"}, 404),
        ({"path": "/hls/../api/cameras"}, 404),
    ],
)
async def test_invalid_sign_requests_are_refused(auth_client: Client, body: object, status: int) -> None:
    async with auth_client.post("/api/sign", json=body, headers=bearer(ADMIN_TOKEN)) as answer:
        assert answer.status == status, await answer.text()
        assert (await answer.json())["message"]


async def test_a_signed_url_expires(tmp_path: Path) -> None:
    clock = OffsetClock()
    async with auth_gateway(tmp_path, clock, auth_jwt_secret=JWT_SECRET, auth_url_lifetime=300) as client:
        short = (await sign(client, "/snapshot/ghost.jpg", expires_s=60))["url"]
        longest = (await sign(client, "/snapshot/ghost.jpg", expires_s=10**9))["url"]
        ends_s = time.time() + 100
        bearer_token = jwt.encode({"exp": ends_s, "scope": "view"}, JWT_SECRET, "HS256")
        derived = (await sign(client, "/snapshot/ghost.jpg", bearer_token))["url"]
        for ahead_s, good in ((0, {short, longest, derived}), (61, {longest, derived}), (140, {longest}), (301, set())):
            clock.ahead_s = ahead_s
            for url in (short, longest, derived):
                assert await status_of(client, url) == (404 if url in good else 401), (ahead_s, url)


async def test_a_signed_url_ends_with_the_token_that_made_it(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path) as client:
        assert client.app is not None
        url = (await sign(client, "/snapshot/ghost.jpg", "may-view-the-door"))["url"]
        other = (await sign(client, "/snapshot/ghost.jpg", "may-view-everything"))["url"]
        tables = {name: table for name, table in TABLES.items() if name != "door-view"}
        client.app[AUTHENTICATOR].reload(load_settings(auth_token=ADMIN_TOKEN, auth={"tokens": tables}))
        assert await status_of(client, url) == 401
        assert await status_of(client, other) == 404
        # Another token under the same name is another token.
        tables["all-view"] = tables["all-view"] | {"token": "may-view-everything-too"}
        client.app[AUTHENTICATOR].reload(load_settings(auth_token=ADMIN_TOKEN, auth={"tokens": tables}))
        assert await status_of(client, other) == 401


async def test_a_signed_url_of_a_jwt_ends_when_the_jwt_settings_change(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path, auth_jwt_secret=JWT_SECRET) as client:
        assert client.app is not None
        token = jwt.encode({"exp": time.time() + 100, "scope": "view"}, JWT_SECRET, "HS256")
        url = (await sign(client, "/snapshot/ghost.jpg", token))["url"]
        admins = (await sign(client, "/snapshot/ghost.jpg"))["url"]
        for secret, status in ((JWT_SECRET, 404), (JWT_SECRET + "!", 401)):
            client.app[AUTHENTICATOR].reload(load_settings(auth_token=ADMIN_TOKEN, auth_jwt_secret=secret))
            assert await status_of(client, url) == status
            assert await status_of(client, admins) == 404


# --- the key


@pytest.mark.parametrize("key", ["k" * 32, None])
async def test_a_signed_url_survives_a_restart(tmp_path: Path, key: str | None) -> None:
    async with auth_gateway(tmp_path, auth_signing_key=key) as client:
        url = (await sign(client, "/snapshot/ghost.jpg"))["url"]
    file = tmp_path / "data" / "signing.key"
    assert file.exists() == (key is None)
    async with auth_gateway(tmp_path, auth_signing_key=key) as client:
        assert await status_of(client, url) == 404
        assert await status_of(client, url.replace("ghost", "door")) == 401
    if key is None:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        file.unlink()
        async with auth_gateway(tmp_path) as client:
            assert await status_of(client, url) == 401, "deleting the key ends all signed URLs"


@pytest.mark.usefixtures("empty_place")
def test_no_key_file_while_auth_is_off(tmp_path: Path) -> None:
    authenticator(data_dir=tmp_path / "data")
    assert not (tmp_path / "data").exists()
    gateway = authenticator(data_dir=tmp_path / "data")
    gateway.reload(load_settings(auth_token=ADMIN_TOKEN))
    assert (tmp_path / "data" / "signing.key").exists()


def test_a_key_file_that_others_could_read_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "signing.key"
    key = kept_key(tmp_path)
    assert kept_key(tmp_path) == key
    assert not caplog.records

    def replaced() -> bool:
        nonlocal key
        caplog.clear()
        before, key = key, kept_key(tmp_path)
        told = "signing.key is replaced" in caplog.text and before not in caplog.text and key not in caplog.text
        return told and key != before and stat.S_IMODE(file.stat().st_mode) == 0o600 and not file.is_symlink()

    for mode in (0o640, 0o604, 0o620):
        file.chmod(mode)
        assert replaced()
    for text in ("", "short", key + "x", "\n" * len(key), "\udcff" * len(key)):
        file.write_text(text, errors="surrogateescape")
        assert replaced(), text
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(key)
    elsewhere.chmod(0o600)
    file.unlink()
    file.symlink_to(elsewhere)
    assert replaced()
    assert elsewhere.exists()
    file.unlink()
    os.mkfifo(file, 0o600)
    assert replaced(), "opening it does not wait for a writer"


def test_an_unwritable_data_dir_does_not_prevent_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "data").write_text("a file")
    first, second = kept_key(tmp_path / "data"), kept_key(tmp_path / "data")
    assert len(first) == len(second) == 43
    assert first != second
    assert "end with this process" in caplog.text


@pytest.mark.parametrize("kind", ["none", "other key", "bearer's claims"])
async def test_a_signed_token_cannot_be_forged(auth_client: Client, kind: str) -> None:
    claims = {"aud": AUDIENCE, "n": "admin", "s": "admin", "c": "door", "exp": time.time() + 60}
    token = jwt.encode(claims, "" if kind == "none" else "k" * 32, "none" if kind == "none" else "HS256")
    assert await status_of(auth_client, f"/snapshot/door.jpg?token={token}") == 401


async def test_with_auth_off_a_url_is_returned_unsigned(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path, auth_token=None, auth={}) as client:
        async with client.post("/api/sign", json={"path": "/hls/door/index.m3u8"}) as answer:
            assert await answer.json() == {"url": "/hls/door/index.m3u8", "token": None, "expires": None, "id": None}
        async with client.get("/api/access") as answer:
            body = await answer.json()
            assert (body["auth"], body["cameras"]) == (False, None)
            assert body["scopes"] == ["admin", "archive", "control", "ptz", "publish", "talk", "view"]


PLAYLIST = """#EXTM3U
#EXT-X-VERSION:9
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES
#EXT-X-MAP:URI="init-1.mp4"
#EXT-X-PART:DURATION=0.2,URI="part-1.m4s",INDEPENDENT=YES
#EXTINF:2.00000,
segment-1.m4s
#EXT-X-BYTERANGE:10@20
../../archive/door/segment_1.mp4?x=1
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="part-2.m4s?y=2"
"""


def test_every_url_of_a_playlist_gets_the_query() -> None:
    carried = with_query(PLAYLIST, "token=T")
    addresses = re.findall(r'URI="([^"]*)"', carried) + [
        line for line in carried.splitlines() if line and not line.startswith("#")
    ]
    assert sorted(addresses) == sorted(
        [
            "init-1.mp4?token=T",
            "part-1.m4s?token=T",
            "segment-1.m4s?token=T",
            "../../archive/door/segment_1.mp4?token=T&x=1",
            "part-2.m4s?token=T&y=2",
        ]
    )
    assert carried.replace("?token=T&", "?").replace("?token=T", "") == PLAYLIST
    assert with_query(PLAYLIST, "") is PLAYLIST


# --- another camera of the same id

LAMP = "fake://lamp?width=320&height=180&gop=5"

LIVE_URLS = (
    "/hls/lamp/index.m3u8",
    "/hls/lamp/live.m3u8",
    "/hls/lamp/init-1.mp4",
    "/mjpeg/lamp",
    "/mjpeg/lamp?at=1",
    "/snapshot/lamp.jpg?width=160",
    "/hls/lamp/dvr.m3u8?start=1",
)
RECORDED_URLS = (
    "/archive/lamp/segment_20261122T185000Z.mp4",
    "/snapshot/lamp.jpg?at=1",
    "/hls/lamp/dvr.m3u8?start=1&end=2",
    "/api/cameras/lamp/clip.mp4?start=1&end=2",
)


async def add_lamp(client: Client) -> None:
    camera = {"camera_id": "lamp", "url": LAMP, "capture_engine": "fake", "record": "never", "start": "on-demand"}
    async with client.post("/api/cameras", json=camera, headers=bearer(ADMIN_TOKEN)) as answer:
        assert answer.status == 201, await answer.text()


async def remove_lamp(client: Client) -> None:
    async with client.delete("/api/cameras/lamp", headers=bearer(ADMIN_TOKEN)) as answer:
        assert answer.status == 204, await answer.text()


async def accepted(client: Client, signed: Sequence[dict[str, Any]]) -> list[bool]:
    return [await status_of(client, each["url"], "HEAD") not in (401, 403) for each in signed]


async def test_a_live_url_does_not_open_another_camera_of_the_same_id(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path) as client:
        await add_lamp(client)
        live = [await sign(client, path) for path in LIVE_URLS]
        recorded = [await sign(client, path) for path in RECORDED_URLS]
        await remove_lamp(client)
        assert not any(await accepted(client, live))
        await add_lamp(client)
        assert not any(await accepted(client, live))
        assert all(await accepted(client, recorded)), "what these show has been recorded, whatever camera comes later"
        at_once = [await sign(client, "/hls/lamp/init-1.mp4"), await sign(client, "/hls/lamp/dvr.m3u8?start=1")]
        assert all(await accepted(client, at_once))
    async with auth_gateway(tmp_path) as client:
        assert all(await accepted(client, at_once)), "a restart ends no URL"


async def test_a_camera_that_leaves_the_configuration_ends_its_live_urls(tmp_path: Path) -> None:
    lamp = {"url": LAMP, "engine": "fake", "record": "never", "start": "on-demand"}
    async with auth_gateway(tmp_path, cameras={"lamp": lamp}) as client:
        signed = [await sign(client, "/hls/lamp/init-1.mp4")]
        assert all(await accepted(client, signed))
    async with auth_gateway(tmp_path, cameras={"door": lamp}) as client:
        assert not any(await accepted(client, signed)), "there is no such camera"
    async with auth_gateway(tmp_path, cameras={"lamp": lamp}) as client:
        assert not any(await accepted(client, signed))
        assert client.app is not None
        signed = [await sign(client, "/hls/lamp/init-1.mp4")]
        gateway = client.app[GATEWAY]
        for cameras in ({}, {"lamp": lamp}):
            await gateway.reload(gateway.settings.model_copy(update={"cameras": cameras}))
        assert not any(await accepted(client, signed))


def test_the_file_of_marks_is_bounded_and_may_be_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "camera-marks.json"
    cameras = [f"camera{number}" for number in range(MARKS_MAX + 50)]
    CameraMarks(tmp_path, cameras, is_kept=True)
    marks = CameraMarks(tmp_path, [], is_kept=True)
    assert sum(bool(marks.of(each)) for each in cameras) == MARKS_MAX
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert CameraMarks(tmp_path, cameras, is_kept=True).of(cameras[-1]) == marks.of(cameras[-1])
    for text in ("", "[]", '{"cameras": 5, "marks": {}}', '{"cameras": [], "marks": []}', "[" * 5000):
        file.write_text(text)
        assert CameraMarks(tmp_path, cameras, is_kept=True).of(cameras[-1]) == ""
        assert "camera-marks.json is replaced" in caplog.text
        caplog.clear()
    file.unlink()
    CameraMarks(tmp_path, cameras, is_kept=False)
    assert not file.exists()
