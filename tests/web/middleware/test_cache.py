"""Live HLS from a cache: nginx with the recipe of the documentation, in front of a gateway with tokens."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import m3u8
import pytest

from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.oidc import OidcServer, through_the_forms
from tests.support.reverse_proxies import NAME, NginxCache

pytestmark = pytest.mark.integration

PLAYERS = 24
ADMIN, CACHE, VIEWER, UNKNOWN = (f"{name}-0123456789abcdef" for name in ("admin", "cache", "viewer", "unknown"))

TOKENS = f"""
[auth.tokens.admin]
token = "{ADMIN}"
scopes = ["admin"]
[auth.tokens.cache]
token = "{CACHE}"
scopes = ["view"]
"""
VIEWERS = f"""
[auth.tokens.viewer]
token = "{VIEWER}"
scopes = ["view"]
cameras = ["demo"]
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("cached")
    (folder / "liveedge.toml").write_text(TOKENS + VIEWERS)
    page = "https://page.example"
    with GatewayProcess(folder, TRUSTED_PROXIES="127.0.0.1", ALLOWED_HOSTS=NAME, CORS_ORIGINS=page) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def cache(gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxCache]:
    with NginxCache(tmp_path_factory.mktemp("cache"), gateway.url.removeprefix("http://"), CACHE) as cache:
        yield cache


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def text_of(session: aiohttp.ClientSession, path: str, headers: dict[str, str] | None = None) -> str:
    async with session.get(path, headers=headers) as reply:
        assert reply.status == 200, (path, await reply.text())
        return await reply.text(errors="replace")


async def play(
    session: aiohttp.ClientSession, path: str, parts: int, headers: dict[str, str] | None = None
) -> list[bytes]:
    """Request as much as hls.js from the media playlist at ``path``: each reload waits for the next part."""
    playlist = m3u8.loads(await text_of(session, path, headers=headers))
    folder = path.rpartition("/")[0]
    media = []
    for _ in range(parts):
        whole = [each for each in playlist.segments if each.uri]
        open_parts = [each for each in playlist.segments if not each.uri for each in each.parts]
        msn, part = playlist.media_sequence + len(whole), len(open_parts)
        query = f"{'&' if '?' in path else '?'}_HLS_msn={msn}&_HLS_part={part}"
        playlist = m3u8.loads(await text_of(session, path + query, headers=headers))
        newest = [each for segment in playlist.segments for each in segment.parts][-1]
        async with session.get(f"{folder}/{newest.uri}", headers=headers) as reply:
            assert reply.status == 200, newest.uri
            media.append(await reply.read())
    return media


async def test_the_origin_sends_each_playlist_and_part_once(cache: NginxCache) -> None:
    async with cache.session() as session:
        variant = m3u8.loads(await text_of(session, "/hls/demo/index.m3u8", headers=bearer(VIEWER))).playlists[0].uri
        before = len(cache.log.read_text().splitlines())
        played = await asyncio.gather(
            *(play(session, f"/hls/demo/{variant}", 3, headers=bearer(VIEWER)) for _ in range(PLAYERS))
        )
    assert all(len(media) == 3 and all(media) for media in played)
    lines = [line.split() for line in cache.log.read_text().splitlines()[before:]]
    waited = [(address, how) for address, how, _ in lines if "_HLS_msn" in address or ".m4s" in address]
    missed = Counter(address for address, how in waited if how == "MISS")
    assert len(waited) == PLAYERS * 6
    assert {how for _, how in waited} == {"MISS", "HIT"}
    assert set(missed.values()) == {1}


async def test_each_player_needs_a_token_of_its_own(cache: NginxCache, gateway: GatewayProcess) -> None:
    async with cache.session() as session:
        page = {**bearer(VIEWER), "Origin": "https://page.example"}
        async with session.get("/hls/demo/live.m3u8", headers=page) as reply:
            assert reply.headers["Access-Control-Allow-Origin"] == "https://page.example"
            part = [each for segment in m3u8.loads(await reply.text()).segments for each in segment.parts][-1].uri
        async with session.get(f"/hls/demo/{part}", headers=bearer(VIEWER)) as reply:
            assert reply.status == 200
        for headers in ({}, bearer(UNKNOWN)):
            for path in ("/hls/demo/live.m3u8", f"/hls/demo/{part}", f"/hls/demo/{part}?token={UNKNOWN}"):
                async with session.get(path, headers=headers) as reply:
                    assert reply.status == 401, path
        async with session.get("/hls/other/live.m3u8", headers=bearer(VIEWER)) as reply:
            assert reply.status == 403
        async with session.get("/hls/demo/part-1-1.m4s", headers=bearer(VIEWER)) as reply:
            assert reply.status == 404
        assert VIEWER not in await asyncio.to_thread(keys, cache.folder / "hls")


async def test_a_signed_playlist_plays_from_the_cache(cache: NginxCache, gateway: GatewayProcess) -> None:
    async with cache.session() as session:
        async with session.post("/api/sign", json={"path": "/hls/demo/index.m3u8"}, headers=bearer(VIEWER)) as reply:
            signed = (await reply.json())["url"]
        variant = m3u8.loads(await text_of(session, signed)).playlists[0].uri
        assert len(await play(session, f"/hls/demo/{variant}", 2)) == 2
        token = signed.partition("?token=")[2]
        assert token not in await asyncio.to_thread(keys, cache.folder / "hls")


async def test_a_token_that_is_taken_back_ends_within_seconds(cache: NginxCache, gateway: GatewayProcess) -> None:
    async with cache.session() as session:
        await text_of(session, "/hls/demo/live.m3u8", headers=bearer(VIEWER))
        (gateway.folder / "liveedge.toml").write_text(TOKENS)

        async def is_refused() -> bool:
            async with session.get("/hls/demo/live.m3u8", headers=bearer(VIEWER)) as reply:
                return reply.status == 401

        await eventually(is_refused, "the token is refused")


async def test_a_sign_in_opens_the_cache_for_its_own_browser_alone(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("gateway", "cache")]
    for folder in folders:
        folder.mkdir()
    (folders[0] / "liveedge.toml").write_text(TOKENS)
    async with OidcServer() as provider:
        oidc = {name.upper(): value for name, value in provider.settings.items()}
        with (
            GatewayProcess(folders[0], TRUSTED_PROXIES="127.0.0.1", ALLOWED_HOSTS=NAME, **oidc) as gateway,
            NginxCache(folders[1], gateway.url.removeprefix("http://"), CACHE) as cache,
        ):
            await provider.accept(f"{cache.url}/")
            async with cache.session() as olga, cache.session() as nobody:
                callback = await through_the_forms(olga, f"{cache.url}/auth/login", "olga")
                async with olga.get(callback, allow_redirects=False) as answer:
                    assert answer.status == 303
                playlist = await text_of(olga, "/hls/demo/live.m3u8")
                part = [each for segment in m3u8.loads(playlist).segments for each in segment.parts][-1].uri
                for path in ("/hls/demo/live.m3u8", f"/hls/demo/{part}"):
                    await text_of(olga, path)
                    async with nobody.get(path) as reply:
                        assert reply.status == 401, path


def keys(folder: Path) -> str:
    """The keys of all that is kept."""
    heads = [path.read_bytes()[:4096] for path in folder.rglob("*") if path.is_file()]
    return "\n".join(head.partition(b"KEY: ")[2].partition(b"\n")[0].decode() for head in heads)
