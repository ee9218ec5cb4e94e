"""HLS players of the web play live in low-latency mode, with sound and without, and after a loss of the camera."""

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

FRAMES = 30
"""Two seconds of video: more than one segment."""


async def test_players_play_with_and_without_sound_and_go_on_after_the_camera_was_lost() -> None:
    cameras = {name: source_camera(url) for name, url in CAMERAS.items()}
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
        shown = {each: await page.evaluate("frames_of", each) for each in players}
        more = {each: frames + 3 * FRAMES for each, frames in shown.items()}
        await eventually(lambda: all_show(more), "all players play on")
        assert await page.evaluate("fatal") == {}


def _is_lost(camera: Camera) -> bool:
    return camera.session.reconnects > 0
