"""Recordings on the page, in a real Chromium: seeking, playback rates, frame steps, clips and the keyboard."""

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path

from playwright.async_api import Browser, FloatRect, Page

from gateway.clock import CLOCK_RATE
from tests.support.busy import with_sizes
from tests.support.ffprobe import ffprobe
from tests.support.gateway_process import GatewayProcess
from tests.support.player import TIMEOUT_MS, cameras, plays
from tests.support.recording import index_of, record
from tests.support.sources.encoded import EncoderSettings, encode
from tests.support.two_hours import HOUR_S


async def seek(page: Page, time_s: float) -> float:
    """Seek, wait for the frame, and return its brightness."""
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
        # The greys of the video have the limited range, those of the screen the full range.
        return (video - 16) * 255 / 219

    for offset_s, number in ((100, 200), (1000, 2000), (3300, 6600), (30, 60)):
        light = await seek(page, start_s + offset_s + 0.1)
        assert abs(light - grey(20 + number % 200)) < 4, offset_s
    # Into the gap: the next recording plays, with its own capture time.
    await seek(page, start_s + 2 * HOUR_S - 60)
    shown = await page.evaluate("document.querySelector('live-edge-player').captureTime / 1000")
    assert abs(shown - (start_s + 2 * HOUR_S)) < 2

    state = await page.evaluate("document.querySelector('live-edge-player').state")
    assert state["mode"] == "recording"
    await page.get_by_role("button", name="Live", exact=True).click()
    await plays(page, "webrtc")

    # A clip in the last minute of the first hour.
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


async def test_recordings_are_listed_protected_and_downloaded(
    two_hours: tuple[GatewayProcess, int], page: Page
) -> None:
    gateway, start_s = two_hours
    await page.goto(f"{gateway.url}/#/camera/door")
    rows = page.locator(".recordings li")
    await rows.first.wait_for(timeout=TIMEOUT_MS)
    lock = rows.first.get_by_role("button", name="Protect")
    await lock.click()
    await rows.first.get_by_role("button", name="Remove protection").wait_for(timeout=TIMEOUT_MS)
    assert [s for s in gateway.json("/api/cameras/door/segments?limit=100")["segments"] if s["protected"]]
    async with page.expect_download() as download:
        await rows.first.get_by_role("button", name="Download").click()
    assert (await download.value).suggested_filename.startswith("door_")
    await events_appear_and_jump(gateway, start_s, page)


EVENTS_Y = 98
"""The middle of the row of events, px from the top of the timeline."""

LAST_EVENT_X = f"""
(canvas) => {{
  const color = getComputedStyle(canvas).getPropertyValue("--event");
  const event = color.match(/[0-9a-f]{{2}}/g).map((channel) => parseInt(channel, 16));
  const {{ data }} = canvas.getContext("2d").getImageData(0, {EVENTS_Y}, canvas.width, 1);
  for (let x = canvas.width - 1; x >= 0; x--)
    if (event.every((value, channel) => data[4 * x + channel] === value)) return x;
  throw new Error("no event is painted");
}}
"""


async def events_appear_and_jump(gateway: GatewayProcess, start_s: int, page: Page) -> None:
    """Events of an open page: on the timeline and in the list, and a click on either plays from their start."""
    events = page.get_by_role("region", name="Events")
    legend = page.locator(".legendEvent")
    assert await events.is_hidden()
    assert await legend.is_hidden()
    ring_s, walk_s = start_s + 1200, start_s + 2 * HOUR_S + 600
    person = {"camera_id": "door", "label": "person", "start": walk_s}
    ring = {"camera_id": "door", "label": "<b>ring</b>", "start": ring_s, "duration_s": 0}
    assert gateway.json("/api/events", "POST", ring)["end"]
    event_id = gateway.json("/api/events", "POST", person)["id"]
    await events.get_by_role("button", name=re.compile("^person.*ongoing")).wait_for(timeout=TIMEOUT_MS)
    assert await legend.is_visible()
    gateway.json(f"/api/events/{event_id}", "PATCH", {"end": walk_s + 1800})
    await events.get_by_text("ongoing").wait_for(state="detached", timeout=TIMEOUT_MS)

    async def plays_from(time_s: int) -> None:
        await page.wait_for_function(
            """(time) => {
              const { state, captureTime } = document.querySelector("live-edge-player");
              return state.mode === "recording" && Math.abs(captureTime / 1000 - time) < 5;
            }""",
            arg=time_s,
            timeout=TIMEOUT_MS,
        )

    button = events.get_by_role("button", name="<b>ring</b>")
    await button.press("Enter")
    await plays_from(ring_s)
    # Its end on the timeline, in the row below the recordings.
    await page.locator(".slider canvas").scroll_into_view_if_needed()
    x = await page.locator(".slider canvas").evaluate(LAST_EVENT_X)
    await page.get_by_role("slider").hover(position={"x": x, "y": EVENTS_Y})
    assert await page.locator(".preview b").inner_text() == "person"
    await page.get_by_role("slider").click(position={"x": x, "y": EVENTS_Y})
    await plays_from(walk_s)


BARS_X = """
(canvas) => {
  const hex = getComputedStyle(canvas).getPropertyValue("--activity").match(/[0-9a-f]{2}/g);
  const color = hex.map((channel) => parseInt(channel, 16));
  const { data } = canvas.getContext("2d").getImageData(0, 87, canvas.width, 1);
  const isPainted = (x) => color.every((value, channel) => data[4 * x + channel] === value);
  return [...Array(canvas.width).keys()].filter((x) => isPainted(x) && !(x && isPainted(x - 1)));
}
"""
"""Where each group of bars begins, in the lowest line of the row of activity."""


async def test_activity_is_painted_and_jumped_to(
    gateways: Callable[..., GatewayProcess], tmp_path: Path, page: Page
) -> None:
    cameras(tmp_path, "door", extra='record = "never"\n')
    start_s = int(time.time()) // 60 * 60 - 600
    still = encode(EncoderSettings(seconds=120, gop=20), start_s * CLOCK_RATE)
    moving = with_sizes(still, lambda second: 40 <= second < 43 or 90 <= second < 93)
    index_of(tmp_path / "data", record(tmp_path / "data", moving)).close()
    gateway = gateways()
    await page.goto(f"{gateway.url}/#/camera/door")
    await page.locator(".legendActivity").wait_for(timeout=TIMEOUT_MS)
    first, second = await page.locator(".slider canvas").evaluate(BARS_X)
    assert first < second

    async def plays_from(time_s: int) -> None:
        await page.wait_for_function(
            """(time) => {
              const { state, captureTime } = document.querySelector("live-edge-player");
              return state.mode === "recording" && Math.abs(captureTime / 1000 - time) < 5;
            }""",
            arg=time_s,
            timeout=TIMEOUT_MS,
        )

    # From the live edge there is nothing next; the keyboard and the button go from one period to the other.
    await page.get_by_role("button", name="Next activity").click()
    await page.get_by_text("Nothing more has happened").wait_for(timeout=TIMEOUT_MS)
    await page.keyboard.press("Shift+N")
    await plays_from(start_s + 90)
    await page.get_by_role("button", name="Previous activity").click()
    await plays_from(start_s + 40)
    await page.keyboard.press("n")
    await plays_from(start_s + 90)

    # Of several cameras the first bars that are painted are those, too.
    await page.goto(f"{gateway.url}/#/playback?cameras=door")
    bars: list[int] = []
    while not bars:
        bars = await page.locator(".together .slider canvas").evaluate(BARS_X)
    assert bars[0] > 0, "it was not the same all the time"


async def test_recordings_of_last_night_are_listed_after_midnight(
    two_hours: tuple[GatewayProcess, int], browser: Browser
) -> None:
    gateway, _ = two_hours
    # A zone whose local hour is 0. POSIX counts zones to the west.
    hour = time.gmtime().tm_hour
    zone = f"Etc/GMT+{hour}" if hour <= 12 else f"Etc/GMT-{24 - hour}"
    page = await browser.new_page(timezone_id=zone)
    await page.goto(f"{gateway.url}/#/camera/door")
    assert await page.evaluate("new Date().getHours()") in (0, 1)
    await page.locator(".recordings li").first.wait_for(timeout=TIMEOUT_MS)


async def test_keyboard_alone(two_hours: tuple[GatewayProcess, int], page: Page) -> None:
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
    # Go back in steps of ten minutes, into the recording.
    now_s = time.time()
    for _ in range(int((now_s - start_s - 3 * HOUR_S) // 600) + 2):
        await page.keyboard.press("PageDown")
    await page.wait_for_function(
        "() => document.querySelector('live-edge-player').state.mode === 'recording'", timeout=TIMEOUT_MS
    )
    await page.wait_for_selector('[role="slider"][aria-valuetext*="202"]')
    await page.keyboard.press("End")
    await plays(page, "webrtc")
    await page.keyboard.press("Escape")
    await page.wait_for_selector("a.open:focus")


FRAME_NUMBER = """
(player) => {
  // Frame n has the grey 20 + n mod 200 in the limited range. The screen has the full range.
  const canvas = new OffscreenCanvas(16, 16);
  const context = canvas.getContext("2d");
  context.drawImage(player.surface, 0, 0, 16, 16);
  return Math.round(context.getImageData(8, 8, 1, 1).data[0] * 219 / 255 + 16 - 20);
}
"""

SHOWS = """async (label, start) => {
  // Whether the preview shows the frame of the time that it tells, to the second: see FRAME_NUMBER.
  const image = document.querySelector(".preview img");
  if (!image.src.startsWith("blob:") || !image.complete || document.querySelector(".preview span").innerText !== label)
    return false;
  const canvas = new OffscreenCanvas(16, 16);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, 16, 16);
  const number = Math.round(context.getImageData(8, 8, 1, 1).data[0] * 219 / 255 + 16 - 20);
  const [hours, minutes, seconds] = label.split(":").map(Number);
  const midnight = new Date(start * 1000).setHours(hours, minutes, seconds, 0) / 1000;
  const frames = (((midnight - start) % 3600) + 3600) % 3600 * 2;
  return [0, 1, 2].some((later) => Math.abs(number - (frames + later) % 200) <= 1);
}"""

RATE = """
async (player, seconds) => {
  // Once it plays: seconds of recording per second.
  const { surface } = player;
  const begin = surface.currentTime;
  while (surface.currentTime < begin + 0.5) await new Promise((resolve) => setTimeout(resolve, 20));
  const [wall, media] = [performance.now(), surface.currentTime];
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  return (surface.currentTime - media) / ((performance.now() - wall) / 1000);
}
"""


async def test_playback_rates(two_hours: tuple[GatewayProcess, int], page: Page) -> None:
    gateway, start_s = two_hours
    await page.goto(f"{gateway.url}/#/camera/door")
    player = page.locator("live-edge-player")
    speed = page.get_by_label("Speed")
    await plays(page, "webrtc")
    assert await speed.is_disabled(), "live has no other rate"
    await seek(page, start_s + 600)
    await page.get_by_role("button", name="Play", exact=True).click()
    for rate in (0.25, 2, 4, 16, 8):
        await speed.select_option(str(rate))
        seen = await player.evaluate(RATE, 2)
        assert 0.6 * rate < seen < 1.4 * rate, rate
    # The rate survives a seek to another window, and ends with the return to live.
    await player.evaluate("(player, time) => player.seek(time * 1000)", start_s + 2 * HOUR_S + 600)
    await page.wait_for_function(
        "(time) => document.querySelector('live-edge-player').captureTime > time",
        arg=(start_s + 2 * HOUR_S + 602) * 1000,
        timeout=TIMEOUT_MS,
    )
    assert await player.evaluate("(player) => player.playbackRate") == 8
    await page.get_by_role("button", name="Live", exact=True).click()
    await plays(page, "webrtc")
    await seek(page, start_s + 600)
    assert await player.evaluate("(player) => player.playbackRate") == 1
    assert await speed.input_value() == "1"


async def test_frame_steps(two_hours: tuple[GatewayProcess, int], page: Page) -> None:
    gateway, start_s = two_hours
    await page.goto(f"{gateway.url}/#/camera/door")
    player = page.locator("live-edge-player")
    await plays(page, "webrtc")
    await seek(page, start_s + 100.1)
    shown = await player.evaluate(FRAME_NUMBER)

    async def expect(number: int) -> None:
        await page.wait_for_function(
            f"(number) => ({FRAME_NUMBER})(document.querySelector('live-edge-player')) === number",
            arg=number % 200,
            timeout=TIMEOUT_MS,
        )

    await page.get_by_role("button", name="Next frame").click()
    await expect(shown + 1)
    await page.get_by_role("button", name="Previous frame").click()
    await expect(shown)
    # With the keyboard, over a keyframe (every 8 frames) and back, faster than frames are presented.
    for _ in range(9):
        await page.keyboard.press(".")
    await expect(shown + 9)
    for _ in range(10):
        await page.keyboard.press(",")
    await expect(shown - 1)
    assert await player.evaluate("(player) => player.paused")


async def test_drag_hover_and_select_with_the_mouse(two_hours: tuple[GatewayProcess, int], page: Page) -> None:
    gateway, start_s = two_hours
    await page.goto(f"{gateway.url}/#/camera/door")
    player = page.locator("live-edge-player")
    await plays(page, "webrtc")
    slider = page.get_by_role("slider")
    box = await slider.bounding_box()
    assert box is not None
    await page.locator(".recordings li").first.wait_for(timeout=TIMEOUT_MS)
    await seek(page, start_s + 2 * HOUR_S + 1800)
    await page.get_by_role("button", name="Select a clip").click()
    await page.get_by_text("1 min selected").wait_for()
    await page.get_by_role("button", name="Clear selection").click()

    # Select with Shift, then drag the end of the selection.
    x, y = box["width"] / 2, box["y"] + 60
    selected = page.locator(".toolbar.foot .muted")
    await page.keyboard.down("Shift")
    await page.mouse.move(box["x"] + x - 100, y)
    await page.mouse.down()
    await page.mouse.move(box["x"] + x, y, steps=4)
    await page.mouse.up()
    await page.keyboard.up("Shift")
    await page.get_by_role("button", name="Save clip").wait_for()
    short = await selected.inner_text()
    await page.mouse.down()
    await page.mouse.move(box["x"] + x + 100, y, steps=4)
    await page.mouse.up()
    assert await selected.inner_text() != short
    assert await player.evaluate("(player) => player.state.mode") == "recording"

    # A thumbnail on hover, then drag along the timeline to another frame.
    preview = page.locator(".preview img")
    await page.mouse.move(box["x"] + x - 150, box["y"] + 50)
    await preview.wait_for(state="visible", timeout=TIMEOUT_MS)
    await page.wait_for_function("() => document.querySelector('.preview img').naturalWidth > 0", timeout=TIMEOUT_MS)
    # While the pointer moves on, the picture changes with it.
    first = await preview.get_attribute("src")
    for moved in range(160, 240, 8):
        await page.mouse.move(box["x"] + x - moved, box["y"] + 50)
    await page.wait_for_function(
        "(first) => document.querySelector('.preview img').src !== first", arg=first, timeout=TIMEOUT_MS
    )
    time_under_pointer = page.locator(".preview")
    before = await time_under_pointer.inner_text()
    await page.mouse.down()
    await page.mouse.move(box["x"] + x - 300, box["y"] + 50, steps=8)
    await page.mouse.up()
    # How far that is from where the player was depends on what the timeline shows at this time of day.
    there = await time_under_pointer.inner_text()
    assert there != before
    await page.wait_for_function(
        """(there) => {
          const slider = document.querySelector("[role=slider][aria-valuetext]");
          const { captureTime } = document.querySelector("live-edge-player");
          const shown = Math.abs(captureTime - slider.getAttribute("aria-valuenow") * 1000) < 2000;
          return shown && slider.getAttribute("aria-valuetext").endsWith(there);
        }""",
        arg=there,
        timeout=TIMEOUT_MS,
    )


async def test_previews_are_right_at_any_zoom_and_loaded_once(
    two_hours: tuple[GatewayProcess, int], page: Page
) -> None:
    gateway, start_s = two_hours
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/mjpeg/door?at=" in request.url else None)
    await page.goto(f"{gateway.url}/?lang=en#/camera/door?t={start_s + 1800}")
    await page.locator(".recordings li").first.wait_for(timeout=TIMEOUT_MS)
    await page.wait_for_function("() => document.querySelector('live-edge-player').captureTime < Date.now() - 3600000")
    slider, preview = page.get_by_role("slider"), page.locator(".preview")
    await slider.focus()
    await page.keyboard.press(" ")  # it stands still, and so does what the timeline shows
    # From more than a day, of which one pixel is a minute, to some minutes, of which one is a fraction of a second.
    for zoom in ("-----", "+++", "++++", "+++"):
        for key in zoom:
            await page.keyboard.press(key)
        box = await slider.bounding_box()
        assert box is not None

        async def point(place: float, box: FloatRect = box) -> str:
            await page.mouse.move(box["x"] + box["width"] * place, box["y"] + 50)
            return "" if await preview.locator("img").is_hidden() else await preview.locator("span").inner_text()

        recorded = [place for number in range(2, 63) if await point(place := number / 64)]
        assert recorded
        loaded = -1
        for _ in range(8):
            # A picture that was not loaded, because the pointer had moved on, is loaded the next time.
            if loaded == len(asked):
                break
            loaded = len(asked)
            for place in (recorded[0], recorded[-1], recorded[len(recorded) // 2]):
                told = await point(place)
                await page.wait_for_function(f"(label) => ({SHOWS})(label, {start_s})", arg=told, timeout=TIMEOUT_MS)
        assert len(asked) == loaded, "a later pass is from the cache"
