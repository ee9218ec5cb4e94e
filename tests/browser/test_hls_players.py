"""HLS players of the web play live in low-latency mode, with and without sound, and go on after losses."""

from functools import partial

from gateway.camera import Camera
from tests.support.browser import chromium
from tests.support.eventually import eventually
from tests.support.hls_server import hls_server, source_camera
from tests.support.sources.engine import SourceEngine

PLAYERS = ("hls.js", "shaka", "video.js")

CAMERAS = {"silent": "packets://gop=15", "loud": "packets://gop=15,audio=aac"}

SEGMENTS = 4
"""What shaka needs to begin: in a shorter playlist it takes the address of the segment that is not complete, and that
has none."""

REFUSED_S = 1.0
"""Without a server. hls.js ends after three seconds of it, with its default policies; shaka and video.js do not end."""

FRAMES = 30
"""Two seconds of video: more than one segment."""


async def test_players_play_with_and_without_sound_and_go_on_after_losses() -> None:
    cameras = {name: source_camera(url, record="always") for name, url in CAMERAS.items()}
    async with hls_server(cameras) as server, chromium() as browser:
        for name in cameras:
            await server.live.stream(name).multivariant_playlist()
        page = await browser.new_page()
        await page.goto(f"{server.url}/players")

        async def is_long(camera: str) -> bool:
            answer = await page.request.get(f"{server.url}/hls/{camera}/live.m3u8")
            return (await answer.text()).count("#EXTINF") >= SEGMENTS

        for name in cameras:
            await eventually(partial(is_long, name), "the playlist has segments enough")
        players = [f"{player} {camera}" for player in PLAYERS for camera in CAMERAS]
        for each in players:
            await page.evaluate("([player, camera]) => void play(player, camera)", each.split())

        async def all_show(more: dict[str, int]) -> bool:
            frames = {each: await page.evaluate("frames_of", each) for each in players}
            return all(frames[each] >= more[each] for each in players)

        await eventually(lambda: all_show(dict.fromkeys(players, FRAMES)), "all players play")
        SourceEngine.hung_up |= set(CAMERAS.values())
        try:
            for name in cameras:
                camera = server.service.camera(name)
                await eventually(partial(_is_lost, camera), "the camera is lost")
        finally:
            SourceEngine.hung_up -= set(CAMERAS.values())

        async def all_play_on(frames: int) -> None:
            shown = {each: await page.evaluate("frames_of", each) for each in players}
            more = {each: shown[each] + frames for each in players}
            await eventually(lambda: all_show(more), "all players play on")
            # shaka reports a refused connection (1002, HTTP_ERROR) as critical, and tries again.
            assert {why for why in (await page.evaluate("fatal")).values() if why != "1002"} == set()

        await all_play_on(3 * FRAMES)
        await server.stop()
        await server.refuse(REFUSED_S)
        await server.start()
        await all_play_on(2 * FRAMES)


def _is_lost(camera: Camera) -> bool:
    return camera.session.reconnects > 0
