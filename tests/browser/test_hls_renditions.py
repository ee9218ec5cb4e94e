"""hls.js switches between the main and the sub stream of a camera, and back, and goes on playing."""

from typing import Any

from gateway.camera_settings import CameraSettings
from tests.support.browser import headless_shell
from tests.support.eventually import eventually
from tests.support.hls_server import hls_server
from tests.support.rtsp import RtspServer

MAIN, SUB = (640, 480), (320, 240)


async def test_hls_js_switches_between_main_and_sub_stream(rtsp_server: RtspServer) -> None:
    urls = {"url": rtsp_server.url("/large"), "sub_url": rtsp_server.url("/gop1")}
    cameras = {"door": CameraSettings.model_validate({**urls, "record": "never"})}
    async with hls_server(cameras) as server, headless_shell() as browser:
        page = await browser.new_page()
        await page.goto(f"{server.url}/player?src=/hls/door/index.m3u8")

        async def frames() -> Any:
            return await page.evaluate("video.getVideoPlaybackQuality().totalVideoFrames")

        async def shows(size: tuple[int, int], more_than: int) -> bool:
            shown = await page.evaluate("[video.videoWidth, video.videoHeight]")
            return tuple(shown) == size and await frames() > more_than

        async def plays(size: tuple[int, int]) -> None:
            await eventually(lambda: shows(size, 0), f"the picture is {size}")
            before = await frames()
            await eventually(lambda: shows(size, before + 25), "it goes on")

        await eventually(lambda: page.evaluate("hls.levels.length == 2"), "there are two levels")
        heights = await page.evaluate("hls.levels.map((level) => level.height)")
        sub = server.service.camera("door").sub
        assert sub is not None
        for size in (SUB, MAIN):
            await page.evaluate(f"void (hls.currentLevel = {heights.index(size[1])})")
            await plays(size)
        assert [fault for fault in await page.evaluate("faults") if fault["fatal"]] == []
        # Both are of one clock: the live edge of one is that of the other.
        assert await page.evaluate("hls.latency") < 5
