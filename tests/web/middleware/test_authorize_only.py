"""What a cache learns of its clients: whether they may have what they ask for. Nothing else happens."""

import asyncio
from pathlib import Path

import pytest

from tests.support.auth_gateway import OFF, auth_gateway, bearer
from web.gateway import GATEWAY

ASK = {"Authorize-Only": "yes"}


QUESTIONS = [
    ("/hls/door/live.m3u8", "may-view-the-door", 204),
    ("/hls/door/live.m3u8?_HLS_msn=9999999999", "may-view-the-door", 204),
    ("/hls/yard/live.m3u8", "may-view-the-door", 403),
    ("/hls/door/live.m3u8", "may-rewind-the-door", 403),
    ("/archive/door/1.mp4", "may-rewind-the-door", 204),
    ("/health", "", 204),
    ("/hls/door/live.m3u8", "", 401),
    ("/hls/door/live.m3u8", "wrong", 401),
    ("/nowhere", "may-view-the-door", 404),
]


async def test_a_cache_asks_for_its_clients(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path) as client:
        for path, token, status in QUESTIONS:
            async with client.get(path, headers=ASK | (bearer(token) if token else {})) as reply:
                assert reply.status == status, (path, token)
                assert await reply.text() == "" or status != 204
        assert client.app is not None
        assert not client.app[GATEWAY].service.camera("door").main.session.is_active


async def test_signed_urls_and_pages_of_other_sites(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path) as client:
        path = {"path": "/hls/door/index.m3u8"}
        async with client.post("/api/sign", json=path, headers=bearer("may-view-the-door")) as reply:
            token = (await reply.json())["token"]
        for camera, status in (("door", 204), ("yard", 403)):
            async with client.get(f"/hls/{camera}/live.m3u8?token={token}", headers=ASK) as reply:
                assert reply.status == status
        # A change is authorised as a request would be, and does not happen.
        async with client.delete("/api/cameras/door", headers=ASK | bearer("the-token-of-the-admin")) as reply:
            assert reply.status == 204
        async with client.get("/api/cameras/door", headers=bearer("may-view-the-door")) as reply:
            assert reply.status == 200
    foreign = ASK | {"Origin": "https://evil.example"}
    async with auth_gateway(tmp_path, **OFF) as client, client.get("/hls/door/live.m3u8", headers=foreign) as reply:
        assert reply.status == 403


async def test_too_many_wrong_tokens_are_401_for_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.auth.rate_limiter.DELAYED_PER_NETWORK_MAX", 1)

    async def ask(token: str, headers: dict[str, str]) -> int:
        async with client.get("/hls/door/live.m3u8", headers=headers | bearer(token)) as reply:
            return reply.status

    async with auth_gateway(tmp_path) as client:
        assert sorted(await asyncio.gather(*(ask(f"wrong-{number}", {}) for number in range(3)))) == [401, 429, 429]
        assert await asyncio.gather(*(ask(f"bad-{number}", ASK) for number in range(3))) == [401, 401, 401]
