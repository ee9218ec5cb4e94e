"""The past of a camera on the page, in a real Chromium: seeking, speeds, pictures one by one, clips, the keyboard."""

import asyncio
import time
from pathlib import Path

from playwright.async_api import Page

from tests.support.ffprobe import ffprobe
from tests.support.gateway import Gateway
from tests.support.player import PATIENCE_MS, plays
from tests.support.two_hours import HOUR_S


async def seek(page: Page, time_s: float) -> float:
    """Seek; returns the brightness of the picture, when it is there."""
    return float(
        await page.evaluate(
            """async (time) => {
              const player = document.querySelector("live-edge-player");
              await player.seek(time * 1000);
              while (!(player.surface instanceof HTMLVideoElement && player.surface.classList.contains("shown") &&
                       !player.surface.seeking && player.surface.readyState >= 2))
                await new Promise((resolve) => setTimeout(resolve, 10));
              player.pause();
              await new Promise((resolve) => setTimeout(resolve, 200));
              const canvas = new OffscreenCanvas(16, 16);
              const context = canvas.getContext("2d");
              context.drawImage(player.surface, 0, 0, 16, 16);
              return context.getImageData(8, 8, 1, 1).data[0];
            }""",
            time_s,
        )
    )


async def test_two_hours_with_a_gap(two_hours: tuple[Gateway, int], page: Page, tmp_path: Path) -> None:
    gateway, start_s = two_hours
    await page.goto(f"{gateway.url}/#/camera/door")
    await plays(page, "webrtc")

    def grey(video: float) -> float:
        # The film's greys have the range of television, the screen's the full one.
        return (video - 16) * 255 / 219

    for offset_s, number in ((100, 200), (1000, 2000), (3300, 6600), (30, 60)):
        light = await seek(page, start_s + offset_s + 0.1)
        assert abs(light - grey(20 + number % 200)) < 4, offset_s
    # Into the gap: what comes next is shown, and the clock says which time it is.
    await seek(page, start_s + 2 * HOUR_S - 60)
    shown = await page.evaluate("document.querySelector('live-edge-player').currentTime / 1000")
    assert abs(shown - (start_s + 2 * HOUR_S)) < 2

    state = await page.evaluate("document.querySelector('live-edge-player').state")
    assert state["mode"] == "recording"
    await page.get_by_role("button", name="Live", exact=True).click()
    await plays(page, "webrtc")

    # A clip over the end of the first hour.
    slider = page.get_by_role("slider")
    await seek(page, start_s + HOUR_S - 60)
    await slider.press("[")
    await seek(page, start_s + HOUR_S - 20)
    await slider.press("]")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Save clip").click()
    clip = tmp_path / "clip.mp4"
    await (await download.value).save_as(clip)
    probed = await asyncio.to_thread(ffprobe, str(clip))
    assert abs(float(probed["format"]["duration"]) - 40) < 5
    assert probed["streams"][0]["codec_name"] == "h264"


async def test_the_archive_is_listed_and_protected(two_hours: tuple[Gateway, int], page: Page) -> None:
    gateway, _ = two_hours
    await page.goto(f"{gateway.url}/#/camera/door")
    rows = page.locator(".recordings li")
    await rows.first.wait_for(timeout=PATIENCE_MS)
    lock = rows.first.get_by_role("button", name="Protect")
    await lock.click()
    await rows.first.get_by_role("button", name="Allow deletion").wait_for(timeout=PATIENCE_MS)
    assert [s for s in gateway.json("/api/cameras/door/segments?limit=100")["segments"] if s["protected"]]
    async with page.expect_download() as download:
        await rows.first.get_by_role("button", name="Download").click()
    assert (await download.value).suggested_filename.startswith("door_")


async def test_by_keyboard_alone(two_hours: tuple[Gateway, int], page: Page) -> None:
    gateway, start_s = two_hours
    await page.goto(gateway.url)
    await page.wait_for_selector("a.open")
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.matches('a.open')"):
            break
    await page.keyboard.press("Enter")
    slider = page.get_by_role("slider")
    await slider.wait_for()
    await plays(page, "webrtc")
    for _ in range(30):
        await page.keyboard.press("Tab")
        if await slider.evaluate("(element) => element === document.activeElement"):
            break
    # Back by ten minutes a time, into what was recorded.
    now_s = time.time()
    for _ in range(int((now_s - start_s - 3 * HOUR_S) // 600) + 2):
        await page.keyboard.press("PageDown")
    await page.wait_for_function(
        "() => document.querySelector('live-edge-player').state.mode === 'recording'", timeout=PATIENCE_MS
    )
    await page.wait_for_selector('[role="slider"][aria-valuetext*="202"]')
    await page.keyboard.press("End")
    await plays(page, "webrtc")
    await page.keyboard.press("Escape")
    await page.wait_for_selector("a.open:focus")
