"""The past of a camera on the page, in a real Chromium: seeking, speeds, pictures one by one, clips, the keyboard."""

import asyncio
import time
from pathlib import Path

from playwright.async_api import Page

from tests.support.ffprobe import ffprobe
from tests.support.gateway_process import GatewayProcess
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


async def test_two_hours_with_a_gap(two_hours: tuple[GatewayProcess, int], page: Page, tmp_path: Path) -> None:
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
    shown = await page.evaluate("document.querySelector('live-edge-player').captureTime / 1000")
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


async def test_the_archive_is_listed_and_protected(two_hours: tuple[GatewayProcess, int], page: Page) -> None:
    gateway, _ = two_hours
    await page.goto(f"{gateway.url}/#/camera/door")
    rows = page.locator(".recordings li")
    await rows.first.wait_for(timeout=PATIENCE_MS)
    lock = rows.first.get_by_role("button", name="Protect")
    await lock.click()
    await rows.first.get_by_role("button", name="Remove protection").wait_for(timeout=PATIENCE_MS)
    assert [s for s in gateway.json("/api/cameras/door/segments?limit=100")["segments"] if s["protected"]]
    async with page.expect_download() as download:
        await rows.first.get_by_role("button", name="Download").click()
    assert (await download.value).suggested_filename.startswith("door_")


async def test_by_keyboard_alone(two_hours: tuple[GatewayProcess, int], page: Page) -> None:
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


NUMBER = """
(player) => {
  // Frame n is a grey of 20 + n mod 200, in the range of television; the screen has the full one.
  const canvas = new OffscreenCanvas(16, 16);
  const context = canvas.getContext("2d");
  context.drawImage(player.surface, 0, 0, 16, 16);
  return Math.round(context.getImageData(8, 8, 1, 1).data[0] * 219 / 255 + 16 - 20);
}
"""

RATE = """
async (player, seconds) => {
  // Once it moves: how much of the recording passes in a second of ours.
  const { surface } = player;
  const begin = surface.currentTime;
  while (surface.currentTime < begin + 0.5) await new Promise((resolve) => setTimeout(resolve, 20));
  const [wall, media] = [performance.now(), surface.currentTime];
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  return (surface.currentTime - media) / ((performance.now() - wall) / 1000);
}
"""


async def test_speeds(two_hours: tuple[GatewayProcess, int], page: Page) -> None:
    gateway, start_s = two_hours
    await page.goto(f"{gateway.url}/#/camera/door")
    player = page.locator("live-edge-player")
    speed = page.get_by_label("Speed")
    await plays(page, "webrtc")
    assert await speed.is_disabled(), "live has one speed"
    await seek(page, start_s + 600)
    await page.get_by_role("button", name="Play", exact=True).click()
    for rate in (0.5, 2, 4, 8):
        await speed.select_option(str(rate))
        seen = await player.evaluate(RATE, 2)
        assert 0.6 * rate < seen < 1.4 * rate, rate
    # It outlives a seek out of what is loaded, and ends with the return to live.
    await player.evaluate("(player, time) => player.seek(time * 1000)", start_s + 2 * HOUR_S + 600)
    await page.wait_for_function(
        "(time) => document.querySelector('live-edge-player').captureTime > time",
        arg=(start_s + 2 * HOUR_S + 602) * 1000,
        timeout=PATIENCE_MS,
    )
    assert await player.evaluate("(player) => player.playbackRate") == 8
    await page.get_by_role("button", name="Live", exact=True).click()
    await plays(page, "webrtc")
    await seek(page, start_s + 600)
    assert await player.evaluate("(player) => player.playbackRate") == 1
    assert await speed.input_value() == "1"


async def test_picture_by_picture(two_hours: tuple[GatewayProcess, int], page: Page) -> None:
    gateway, start_s = two_hours
    await page.goto(f"{gateway.url}/#/camera/door")
    player = page.locator("live-edge-player")
    await plays(page, "webrtc")
    await seek(page, start_s + 100.1)
    shown = await player.evaluate(NUMBER)

    async def expect(number: int) -> None:
        await page.wait_for_function(
            f"(number) => ({NUMBER})(document.querySelector('live-edge-player')) === number",
            arg=number % 200,
            timeout=PATIENCE_MS,
        )

    await page.get_by_role("button", name="Next frame").click()
    await expect(shown + 1)
    await page.get_by_role("button", name="Previous frame").click()
    await expect(shown)
    # By keyboard, over a keyframe (every 8 pictures) and back, quicker than pictures come.
    for _ in range(9):
        await page.keyboard.press(".")
    await expect(shown + 9)
    for _ in range(10):
        await page.keyboard.press(",")
    await expect(shown - 1)
    assert await player.evaluate("(player) => player.paused")


async def test_dragging_hovering_and_a_clip_by_hand(two_hours: tuple[GatewayProcess, int], page: Page) -> None:
    gateway, start_s = two_hours
    await page.goto(f"{gateway.url}/#/camera/door")
    player = page.locator("live-edge-player")
    await plays(page, "webrtc")
    slider = page.get_by_role("slider")
    box = await slider.bounding_box()
    assert box is not None
    await page.locator(".recordings li").first.wait_for(timeout=PATIENCE_MS)
    await seek(page, start_s + 2 * HOUR_S + 1800)
    await page.get_by_role("button", name="Select a clip").click()
    await page.get_by_text("1 min selected").wait_for()
    await page.get_by_role("button", name="Clear selection").click()

    # Marked with Shift, then made longer at its end.
    x, y = box["width"] / 2, box["y"] + 60
    marked = page.locator(".toolbar.foot .muted")
    await page.keyboard.down("Shift")
    await page.mouse.move(box["x"] + x - 100, y)
    await page.mouse.down()
    await page.mouse.move(box["x"] + x, y, steps=4)
    await page.mouse.up()
    await page.keyboard.up("Shift")
    await page.get_by_role("button", name="Save clip").wait_for()
    short = await marked.inner_text()
    await page.mouse.down()
    await page.mouse.move(box["x"] + x + 100, y, steps=4)
    await page.mouse.up()
    assert await marked.inner_text() != short
    assert await player.evaluate("(player) => player.state.mode") == "recording"

    # A thumbnail on hover, then a drag along the strip to another picture.
    preview = page.locator(".preview img")
    await page.mouse.move(box["x"] + x - 150, box["y"] + 50)
    await preview.wait_for(state="visible", timeout=PATIENCE_MS)
    await page.wait_for_function("() => document.querySelector('.preview img').naturalWidth > 0", timeout=PATIENCE_MS)
    before = await player.evaluate("(player) => player.captureTime")
    await page.mouse.down()
    await page.mouse.move(box["x"] + x - 300, box["y"] + 50, steps=8)
    await page.mouse.up()
    await page.wait_for_function(
        "(before) => Math.abs(document.querySelector('live-edge-player').captureTime - before) > 10_000",
        arg=before,
        timeout=PATIENCE_MS,
    )
