"""The page /publish/{camera} in a real Chromium: its camera and microphone are a camera of the gateway."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from playwright.async_api import Page, async_playwright

from tests.support.browser import CHROMIUM, FLAGS, assert_moving_picture, look
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess

Gateways = Callable[..., GatewayProcess]

DEVICES = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


async def text(page: Page) -> str:
    return await page.inner_text("[role=status]")


async def test_a_browser_publishes_a_camera_and_another_one_watches_it(gateways: Gateways, tmp_path: Path) -> None:
    (tmp_path / "liveedge.toml").write_text('[cameras.phone]\nurl = "whip:"\nrecord = "never"\n')
    gateway = gateways()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *DEVICES])
        page = await browser.new_page(viewport={"width": 900, "height": 900})
        await page.goto(f"{gateway.url}/publish/phone?lang=en")
        assert await page.title() == "Publish phone"
        await page.wait_for_selector("#microphone option:nth-child(2)", state="attached")
        await page.click("button.primary")

        async def is_live() -> bool:
            return (await text(page)).startswith("Live, ")

        async with asyncio.timeout(60):
            while not await is_live():
                await asyncio.sleep(0.05)
        viewer = await browser.new_page()
        await viewer.goto(f"{gateway.url}/#/phone")
        assert_moving_picture(await look(viewer, frames=3))
        status = gateway.camera("phone")
        assert (status["state"], status["codec"], status["audio_codec"]) == ("live", "h264", "opus")
        await page.click("button")
        assert await text(page) == "Not published"
        await eventually(lambda: gateway.camera("phone")["state"] != "live", "it has ended")
        await browser.close()
