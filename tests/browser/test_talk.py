"""Push to talk in a real Chromium: its microphone, the gateway, and a camera that writes down what it hears."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import BrowserContext, Page, async_playwright

from tests.support.browser import CHROMIUM, FLAGS
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.player import embed, plays
from tests.support.talk import RATE_HZ, TRIES, TalkCamera, is_heard

Gateways = Callable[..., GatewayProcess]

FAKE_DEVICE = "--use-fake-device-for-media-stream"
"""Beeps, two a second."""

ALLOWED = (FAKE_DEVICE, "--use-fake-ui-for-media-stream")

BUTTON = "live-edge-player[talk] button[aria-label^=Talk]"


@pytest.fixture(scope="module")
def talk_camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TalkCamera]:
    with TalkCamera(tmp_path_factory.mktemp("heard")) as camera:
        yield camera


@pytest.fixture
def gateway(gateways: Gateways, talk_camera: TalkCamera, tmp_path: Path) -> GatewayProcess:
    tables = [
        f'[cameras.{name}]\nurl = "{talk_camera.guarded_url(name)}"\nstart = "on-demand"\nrecord = "never"\n'
        for name in ("pcmu", "aac", "deaf")
    ]
    (tmp_path / "liveedge.toml").write_text("\n".join(tables))
    return gateways()


@asynccontextmanager
async def browser(*flags: str) -> AsyncIterator[BrowserContext]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        yield await chromium.new_context()
        await chromium.close()


async def talking(page: Page, text: str = "Speak now") -> None:
    await page.wait_for_function(
        "([selector, text]) => document.querySelector('live-edge-player')"
        ".shadowRoot.querySelector(selector)?.textContent.includes(text)",
        arg=[".talk-message", text],
    )


def beeps(talk_camera: TalkCamera, name: str) -> float:
    """For how many seconds the camera has heard something."""
    samples, size = talk_camera.heard(name), RATE_HZ // 100
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    return float(np.count_nonzero(np.abs(frames).max(axis=1, initial=0) > 0.02)) / 100


async def is_muted(page: Page) -> bool:
    found: bool = await page.eval_on_selector("live-edge-player", "(player) => player.surface.muted")
    return found


@pytest.mark.parametrize("name", ["pcmu", "aac"])
async def test_a_camera_hears_the_button_that_is_held(
    gateway: GatewayProcess, talk_camera: TalkCamera, name: str
) -> None:
    async with browser(*ALLOWED) as context:
        page = await context.new_page()
        await embed(page, gateway.url, 'talk controls muted="false"', name)
        await plays(page)
        await page.hover(BUTTON)
        assert await page.get_attribute(BUTTON, "aria-pressed") == "false"
        for _ in range(TRIES):
            await page.mouse.down()
            await talking(page)
            if await is_heard(lambda: beeps(talk_camera, name) > 0.05):
                break
            await page.mouse.up()
        assert await page.get_attribute(BUTTON, "aria-pressed") == "true"
        assert await is_muted(page), "the player is silent while it talks"
        assert beeps(talk_camera, name) > 0.05
        assert gateway.camera(name)["talker"] == "anonymous"

        other = await context.new_page()
        await embed(other, gateway.url, "talk controls", name)
        await other.wait_for_selector(BUTTON)
        await other.focus(BUTTON)
        await other.keyboard.down("Enter")
        await talking(other, "Somebody else is talking")
        await other.keyboard.up("Enter")

        await page.bring_to_front()
        await page.mouse.up()
        await eventually(lambda: gateway.camera(name)["talker"] is None, "the floor is free")
        assert not await is_muted(page)
        await other.bring_to_front()
        await other.keyboard.down(" ")
        await talking(other)
        await other.close()
        await eventually(lambda: gateway.camera(name)["talker"] is None, "a page that is closed gives the floor back")


async def test_a_camera_without_a_loudspeaker_has_no_button(gateway: GatewayProcess) -> None:
    async with browser(*ALLOWED) as context:
        page = await context.new_page()
        await page.goto(f"{gateway.url}/#/camera/pcmu")
        await page.wait_for_selector(BUTTON)
        async with page.expect_response("**/talk/deaf") as answer:
            await page.goto(f"{gateway.url}/#/camera/deaf")
        assert "POST" not in (await answer.value).headers["allow"]
        await page.wait_for_selector("live-edge-player[camera=deaf]")
        assert not await page.is_visible(BUTTON)


async def test_why_there_is_no_microphone_is_told(gateway: GatewayProcess) -> None:
    async with browser(FAKE_DEVICE, "--deny-permission-prompts") as context:
        page = await context.new_page()
        await embed(page, gateway.url, "talk", "pcmu")
        await page.wait_for_selector(BUTTON)
        await page.focus(BUTTON)
        await page.keyboard.down("Enter")
        await talking(page, "Allow the microphone")
        await page.keyboard.up("Enter")
        # As on a page over HTTP that is not of this machine.
        await page.evaluate("() => Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
        await page.keyboard.down("Enter")
        await talking(page, "HTTPS")
        await page.keyboard.up("Enter")
    assert gateway.camera("pcmu")["talker"] is None
