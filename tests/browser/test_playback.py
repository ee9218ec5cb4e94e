"""Moments of recordings on the page, in a real Chromium: links, the calendar, and several cameras on one clock."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Request

from gateway.clock import CLOCK_RATE
from hls.archive.recording import SequenceNumbers
from tests.support.gateway_process import GatewayProcess
from tests.support.player import TIMEOUT_MS, cameras, plays
from tests.support.recording import index_of, record
from tests.support.sources.encoded import EncoderSettings
from tests.support.together import FPS, SHOWN, apart_ms
from tests.support.two_hours import GREYS, HOUR_S, repeated


async def plays_from(page: Page, time_s: float) -> None:
    """Wait until the recording plays from a time, by the player's own account."""
    await page.wait_for_function(
        """(time) => {
          const { state, captureTime } = document.querySelector("live-edge-player") ?? {};
          return state?.mode === "recording" && state.label !== "" && Math.abs(captureTime / 1000 - time) < 5;
        }""",
        arg=time_s,
        timeout=TIMEOUT_MS,
    )


async def test_a_link_and_the_calendar_lead_to_a_moment(
    two_hours: tuple[GatewayProcess, int], browser: Browser
) -> None:
    gateway, start_s = two_hours
    page = await browser.new_page(timezone_id="Asia/Seoul", locale="en-GB")
    moment = datetime.fromtimestamp(start_s + 100, UTC).isoformat().replace("+00:00", "Z")
    await page.goto(f"{gateway.url}/#/camera/door?t={moment}")
    await plays_from(page, start_s + 100)
    # Another link in the open page.
    await page.goto(f"{gateway.url}/#/camera/door?t={start_s + 2 * HOUR_S + 300}")
    await plays_from(page, start_s + 2 * HOUR_S + 300)

    for wrong, said in (("yesterday", "no moment that can be read"), ("4102444800", "has not come yet")):
        await page.goto(f"{gateway.url}/#/camera/door?t={wrong}")
        await page.get_by_text(said).wait_for(timeout=TIMEOUT_MS)
    await page.goto(f"{gateway.url}/#/camera/door?t={start_s + 2 * HOUR_S + 300}")
    await plays_from(page, start_s + 2 * HOUR_S + 300)

    await page.keyboard.press("g")
    dialog = page.get_by_role("dialog", name="Go to a date and time")
    seoul_s = start_s + 1800 + 9 * HOUR_S
    day = datetime.fromtimestamp(seoul_s, UTC)
    await dialog.locator(f'[data-day="{day:%Y-%m-%d}"].recorded').click(timeout=TIMEOUT_MS)
    assert await dialog.locator(".recorded").count() <= 2, "only the days of the recordings are marked"
    entry = dialog.get_by_label("Time")
    await entry.fill("14:75")
    await entry.press("Enter")
    await dialog.get_by_text("Write a time like").wait_for()
    await entry.fill(f"{day:%H%M%S}")
    await entry.press("Enter")
    await dialog.wait_for(state="detached")
    await plays_from(page, start_s + 1800)
    await page.get_by_role("button", name="Copy a link to this moment").click()
    await page.get_by_role("status").get_by_text("The link is in").wait_for()
    shared = page.url
    assert "t=" in shared

    other = await browser.new_page()
    await other.goto(shared)
    await plays_from(other, start_s + 1800)
    # Where nothing was recorded, the next recording is played, which is said and shown on the timeline.
    await other.goto(f"{gateway.url}/#/camera/door?t={start_s - 40 * 24 * HOUR_S}")
    await plays_from(other, start_s)
    await other.get_by_text("This is the next recording, from").wait_for(timeout=TIMEOUT_MS)
    asked_for = datetime.fromtimestamp(start_s - 40 * 24 * HOUR_S, UTC)
    assert f"{asked_for:%b}" not in await other.locator(".day").inner_text()


@pytest.fixture
def three_cameras(gateways: Callable[..., GatewayProcess], tmp_path: Path) -> tuple[GatewayProcess, int]:
    """``door`` and ``yard`` were recorded for 300 s, ``gate`` not from second 100 to 160; and the start, Unix s."""
    start_s = int(time.time()) // 60 * 60 - 1200
    cameras(tmp_path, "door", "gate", "yard", extra='record = "never"\n')
    what = EncoderSettings(fps=FPS, gop=FPS)
    recordings = []
    for camera, spans in (("door", [(0, 300)]), ("gate", [(0, 100), (160, 300)]), ("yard", [(0, 300)])):
        numbers = SequenceNumbers()
        for run, (first_s, last_s) in enumerate(spans, 1):
            packets = repeated(what, (start_s + first_s) * CLOCK_RATE, last_s - first_s, run)
            recordings += record(tmp_path / "data", packets, camera, 120, numbers)
    index_of(tmp_path / "data", recordings).close()
    return gateways(), start_s


async def shown(page: Page) -> list[int | None]:
    return list(await page.evaluate(SHOWN))


async def together(page: Page, count: int) -> None:
    """Wait until so many tiles show pictures of one moment, as well as their frames allow."""
    numbers: list[int | None] = []
    for _ in range(TIMEOUT_MS // 100):
        numbers = await shown(page)
        has = [number for number in numbers if number is not None]
        if len(has) == count and apart_ms(has) <= 50:
            return
        await page.wait_for_timeout(100)
    raise AssertionError(f"not of one moment: {numbers}")


async def moment_is(page: Page, least_s: float, most_s: float) -> None:
    """Wait until the first tile's picture is of a time, Unix s, as its link says."""
    await page.wait_for_function(
        """([least, most]) => {
          const link = document.querySelector(".together .tile a.open");
          const time = Date.parse(new URLSearchParams(link?.hash.split("?")[1]).get("t")) / 1000;
          return time >= least && time <= most;
        }""",
        arg=[least_s, most_s],
        timeout=TIMEOUT_MS,
    )


async def test_three_cameras_on_one_clock(three_cameras: tuple[GatewayProcess, int], page: Page) -> None:
    gateway, start_s = three_cameras
    moment = datetime.fromtimestamp(start_s + 40, UTC).isoformat().replace("+00:00", "Z")
    await page.goto(f"{gateway.url}/#/playback?cameras=door,gate,yard&t={moment}")
    # At 1x: once they play, the pictures of every look are of one moment.
    await together(page, 3)
    await moment_is(page, start_s + 42, start_s + 70)
    looks = []
    for _ in range(20):
        looks.append([number for number in await shown(page) if number is not None])
        await page.wait_for_timeout(100)
    assert {len(look) for look in looks} == {3}
    assert len({look[0] for look in looks}) > 5, "they play"
    distances = sorted(apart_ms(look) for look in looks)
    # A look may catch one video just before, and the next one just after it has changed its frame.
    assert distances[len(distances) // 2] <= 50, distances
    assert distances[-3] <= 100, distances

    # Paused: exactly one moment, and so after steps.
    await page.keyboard.press(" ")
    await page.get_by_role("button", name="Play", exact=True).wait_for()
    await together(page, 3)
    # The seek to exactly the time of the clock is over when nothing changes any more.
    numbers: list[int | None] = []
    while not numbers or numbers != await shown(page):
        numbers = await shown(page)
        await page.wait_for_timeout(500)
    before = numbers[0]
    assert before is not None
    for _ in range(3):
        await page.keyboard.press(".")
    await page.wait_for_function(
        f"(number) => ({SHOWN})().every((each) => each === number)", arg=(before + 3) % GREYS, timeout=TIMEOUT_MS
    )

    # A scrub into the gap of one camera: its tile says so, and says when it goes on.
    slider = page.get_by_role("slider")
    await page.evaluate("(hash) => (location.hash = hash)", f"#/playback?cameras=door,gate,yard&t={start_s + 110}")
    gap = page.locator('[data-camera="gate"] .gap')
    await gap.get_by_text("nothing recorded · next recording at").wait_for(timeout=TIMEOUT_MS)
    await together(page, 2)
    # The clock runs on over the gap, and its camera joins in when it goes on.
    await page.get_by_label("Speed").select_option("4")
    await moment_is(page, start_s + 162, start_s + 300)
    await gap.wait_for(state="hidden", timeout=TIMEOUT_MS)
    await page.get_by_label("Speed").select_option("1")
    await together(page, 3)

    # 16x, by keyframes alone.
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    await page.evaluate("(hash) => (location.hash = hash)", f"#/playback?cameras=door,gate,yard&t={start_s + 5}")
    await together(page, 3)
    requests.clear()
    await page.get_by_label("Speed").select_option("16")
    await moment_is(page, start_s + 90, start_s + 300)
    assert sum("iframes.m3u8" in url for url in requests) == 3
    assert any("keyframe=" in url for url in requests)
    # The timeline scrubs all of them, and live is live for all.
    box = await slider.bounding_box()
    assert box is not None
    await page.get_by_role("button", name="Live", exact=True).click()
    for camera in ("door", "gate", "yard"):
        await plays(page, "webrtc", f'[data-camera="{camera}"] live-edge-player')


SLOW_CLOCK = """
{
  // The clock of this machine is half an hour slow.
  const [now, origin, slow] = [Date.now.bind(Date), performance.timeOrigin, 1_800_000];
  Date.now = () => now() - slow;
  Object.defineProperty(performance, "timeOrigin", { value: origin - slow });
}
"""


async def test_the_moment_of_two_cameras_is_exported_by_keyboard(
    three_cameras: tuple[GatewayProcess, int], browser: Browser
) -> None:
    gateway, start_s = three_cameras
    page = await browser.new_page(timezone_id="UTC", locale="en")
    await page.add_init_script(SLOW_CLOCK)
    await page.goto(f"{gateway.url}/#/playback?cameras=door,yard&t={start_s + 10}")
    await together(page, 2)
    await page.keyboard.press("g")
    entry = page.get_by_role("dialog").get_by_label("Time")
    await entry.fill(f"{datetime.fromtimestamp(start_s + 200, UTC):%H%M%S}")
    await entry.press("Enter")
    await moment_is(page, start_s + 200, start_s + 290)
    await together(page, 2)
    await page.keyboard.press("[")
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("]")
    await page.keyboard.press("e")
    await page.wait_for_url("**/#/exports?camera=door&camera=yard&**")
    await page.locator(".choices input:checked").nth(1).wait_for(timeout=TIMEOUT_MS)
    chosen = await page.eval_on_selector_all(".choices input:checked", "(boxes) => boxes.map(({ value }) => value)")
    assert chosen == ["door", "yard"]
    await page.get_by_label("From").press("Enter")
    await page.locator(".exports li[data-state=done]").wait_for(timeout=TIMEOUT_MS)
    [made] = gateway.json("/api/exports")["exports"]
    begin, end = (datetime.fromisoformat(made[key]).timestamp() for key in ("start", "end"))
    assert start_s + 199 <= begin < end <= start_s + 320


async def test_a_camera_that_is_gone_leaves_the_others_as_they_are(
    three_cameras: tuple[GatewayProcess, int], browser: Browser
) -> None:
    gateway, start_s = three_cameras
    page = await browser.new_page(timezone_id="UTC", locale="en")
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/gone/segments" in request.url:
            asked.append(request.url)

    page.on("request", note)
    await page.goto(f"{gateway.url}/#/playback?cameras=gone,door,yard&t={start_s - 40 * 24 * HOUR_S}")
    await page.locator(".gap").get_by_text("There is no camera “gone”.").wait_for(timeout=TIMEOUT_MS)
    # The day of the next recording is named: it is not that of the moment.
    first = datetime.fromtimestamp(start_s, UTC)
    await page.locator(".gap").get_by_text(f"{first:%b} {first.day} {first:%H:%M:%S}").first.wait_for()
    await page.goto(f"{gateway.url}/#/playback?cameras=gone,door,yard&t={start_s + 40}")
    await together(page, 2)
    # Home is the begin of the first recording in the view.
    await page.get_by_role("slider").press("Home")
    await moment_is(page, start_s - 1, start_s + 30)
    assert len(asked) < 20, "a camera that is gone is not asked for again and again"


PRESENTED_BEFORE = """
// Each frame of a video that stands is presented before its seek is over, as now and then in Chromium.
const { prototype } = HTMLVideoElement;
const { get } = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "seeking");
const request = prototype.requestVideoFrameCallback;
let isPresented = false;
prototype.requestVideoFrameCallback = function (callback) {
  return request.call(this, (...about) => {
    isPresented = this.paused;
    callback(...about);
    isPresented = false;
  });
};
Object.defineProperty(prototype, "seeking", { get() { return isPresented || get.call(this); } });
"""


async def test_a_frame_that_is_presented_before_its_seek_is_over_is_shown(
    three_cameras: tuple[GatewayProcess, int], page: Page
) -> None:
    gateway, start_s = three_cameras
    await page.add_init_script(PRESENTED_BEFORE)
    await page.goto(f"{gateway.url}/#/playback?cameras=door,gate,yard&t={start_s + 40}")
    await page.keyboard.press(" ")
    await together(page, 3)


async def test_a_page_that_is_older_than_the_gateway_begins_anew(
    three_cameras: tuple[GatewayProcess, int], page: Page
) -> None:
    gateway, start_s = three_cameras
    playback = f"#/playback?cameras=door,gate&t={start_s + 40}"
    code = "**/player-followed-recording-*.js"
    await page.goto(gateway.url)
    await plays(page)
    await page.evaluate("window.isOld = true")
    # The code that plays recordings cannot be loaded: that is said, and it is asked for again.
    await page.route(code, lambda route: route.abort())
    await page.goto(f"{gateway.url}/{playback}")
    await page.get_by_text("The recording cannot be read.").first.wait_for(timeout=TIMEOUT_MS)
    await page.unroute(code)
    await together(page, 2)
    assert await page.evaluate("window.isOld"), "nothing was updated"

    # It is gone, because the gateway was updated.
    await page.goto(f"{gateway.url}/?again")
    await plays(page)
    await page.evaluate("window.isOld = true")
    await page.route("**/service-worker.js", lambda route: route.fulfill(headers={"ETag": '"other"'}))
    await page.route(code, lambda route: route.fulfill(status=404))
    await page.goto(f"{gateway.url}/?again{playback}")
    await page.wait_for_function("() => !window.isOld", timeout=TIMEOUT_MS)
    await page.unroute(code)
    await together(page, 2)

    # The cameras are shown by the page of the gateway that answers again after an update.
    await page.get_by_role("link", name="All cameras").click()
    await plays(page)
    await page.evaluate("window.isOld = true")
    await page.route("**/api/status", lambda route: route.abort(), times=1)
    await page.unroute("**/service-worker.js")
    await page.wait_for_function("() => !window.isOld", timeout=TIMEOUT_MS)
    await plays(page)
