"""HLS players of the web play live in low-latency mode, with and without sound, and go on after losses.

They also play a camera that they start, and one with long GOPs.
"""

from collections.abc import Iterable
from functools import partial

from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from gateway.camera import Camera
from tests.support.browser import chromium
from tests.support.eventually import LIMIT_S, eventually
from tests.support.hls_server import hls_server, source_camera
from tests.support.sources.engine import SourceEngine

PLAYERS = ("hls.js", "shaka", "video.js")

CAMERAS = {"silent": "packets://gop=15", "loud": "packets://gop=15,audio=aac"}

LATER = {"first": "packets://gop=15,audio=aac", "long": "packets://gop=90,audio=aac"}
"""One whose first players they are, with a playlist of one segment, and one with a GOP of six seconds.

Without video.js, which gives up now and then on a busy machine where a GOP is long: see docs/clients.md.
"""

SEGMENTS = 4
"""So many are in the playlist when the players come to the others."""

REFUSED_S = 1.0
"""Without a server. hls.js ends after three seconds of it, with its default policies; shaka and video.js do not end."""

SHOWN = "(players) => Object.fromEntries(players.map((id) => [id, frames_of(id)]))"

ARE_SHOWN = "(wanted) => Object.entries(wanted).every(([id, count]) => frames_of(id) >= count)"

FRAMES = 30
"""Two seconds of video: more than one segment."""


async def test_players_play_with_and_without_sound_and_go_on_after_losses() -> None:
    cameras = {name: source_camera(url, record="always") for name, url in CAMERAS.items()}
    cameras["first"] = source_camera(LATER["first"], start="on-demand")
    cameras["long"] = source_camera(LATER["long"])
    async with hls_server(cameras) as server, chromium() as browser:
        for name in CAMERAS:
            await server.live.multivariant_playlist(name)
        page = await browser.new_page()
        await page.goto(f"{server.url}/players")

        async def is_long(camera: str) -> bool:
            answer = await page.request.get(f"{server.url}/hls/{camera}/live.m3u8")
            return (await answer.text()).count("#EXTINF") >= SEGMENTS

        for name in CAMERAS:
            await eventually(partial(is_long, name), "the playlist has segments enough")
        players: list[str] = []

        async def begin(names: Iterable[str], with_players: Iterable[str] = PLAYERS) -> None:
            for each in [f"{player} {camera}" for player in with_players for camera in names]:
                players.append(each)
                await page.evaluate("([player, camera]) => void play(player, camera)", each.split())

        await begin(CAMERAS)

        async def frames() -> dict[str, int]:
            shown: dict[str, int] = await page.evaluate(SHOWN, players)
            return shown

        async def all_show(wanted: dict[str, int], what: str) -> None:
            try:
                await page.wait_for_function(ARE_SHOWN, arg=wanted, polling=100, timeout=1000 * LIMIT_S)
            except PlaywrightTimeoutError:
                missing = {each: wanted[each] - count for each, count in (await frames()).items()}
                late = {each: await page.evaluate("state_of", each) for each, count in missing.items() if count > 0}
                raise AssertionError(f"not {what}: {missing=}, {late=}, {await page.evaluate('fatal')}") from None

        await all_show(dict.fromkeys(players, FRAMES), "all players play")
        SourceEngine.hung_up |= set(CAMERAS.values())
        try:
            for name in CAMERAS:
                camera = server.service.camera(name)
                await eventually(partial(_is_lost, camera), "the camera is lost")
        finally:
            SourceEngine.hung_up -= set(CAMERAS.values())

        async def all_play_on(count: int) -> None:
            await all_show({each: shown + count for each, shown in (await frames()).items()}, "all players play on")
            # shaka reports a refused connection (1002, HTTP_ERROR) as critical, and tries again.
            assert {why for why in (await page.evaluate("fatal")).values() if why != "1002"} == set()

        await all_play_on(3 * FRAMES)
        await server.stop()
        await server.refuse(REFUSED_S)
        await server.start()
        await all_play_on(2 * FRAMES)
        await page.reload()
        players.clear()
        await begin(LATER, PLAYERS[:2])
        await all_play_on(2 * FRAMES)


def _is_lost(camera: Camera) -> bool:
    return camera.session.reconnects > 0
