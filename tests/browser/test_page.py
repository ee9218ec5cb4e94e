"""The gateway's page in a real Chromium: grid, wall, size and sign-in."""

import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from playwright.async_api import Browser, Page, Request, ViewportSize

from tests.support.browser import count_kept
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.player import TIMEOUT_MS, cameras, plays

Gateways = Callable[..., GatewayProcess]


async def test_nine_cameras_play_only_while_they_are_in_view(
    gateways: Gateways, tmp_path: Path, browser: Browser
) -> None:
    names = [f"cam{number}" for number in range(1, 10)]
    cameras(tmp_path, *names)
    gateway = gateways()
    page = await browser.new_page(viewport={"width": 1440, "height": 900})
    await page.goto(gateway.url)
    for name in names:
        await plays(page, "webrtc", f'[data-camera="{name}"] live-edge-player')
    await page.close()

    phone = await browser.new_page(viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True)
    await phone.goto(gateway.url)
    await plays(phone, "webrtc", '[data-camera="cam1"] live-edge-player')
    for control in ("Columns", "Keyboard shortcuts", "Video wall (W)"):
        shown = phone.locator(f"header [aria-label='{control}']")
        box = await shown.bounding_box()
        assert box is not None, control
        assert min(box["width"], box["height"]) >= 44, control
    out_of_view = '[data-camera="cam9"] live-edge-player'
    assert await phone.eval_on_selector(out_of_view, "(player) => player.state.transport") is None
    await phone.locator('[data-camera="cam9"]').scroll_into_view_if_needed()
    await plays(phone, "webrtc", out_of_view)


async def test_cameras_that_do_not_start_keep_no_connection_from_those_that_are_live(
    gateways: Gateways, tmp_path: Path, page: Page
) -> None:
    """A browser has six connections for a host, and the gateway holds an offer until its camera has started."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/"
        names = [f"silent{number}" for number in range(7)]
        tables = "".join(f'[cameras.{name}]\nurl = "{address}"\n' for name in names)
        cameras(tmp_path, "door", extra=f'name = "정문"\n{tables}')
        gateway = gateways()
        waiting: set[Request] = set()
        most = 0

        def requested(request: Request) -> None:
            nonlocal most
            may_be_held = "/snapshot/" in request.url or ("/whep/" in request.url and request.method == "POST")
            if may_be_held and "wait=0" not in request.url:
                waiting.add(request)
                most = max(most, len(waiting))

        page.on("request", requested)
        page.on("requestfinished", lambda request: waiting.discard(request))
        page.on("requestfailed", lambda request: waiting.discard(request))
        await page.goto(gateway.url)
        await plays(page, "webrtc", '[data-camera="door"] live-edge-player')
        assert 1 <= most <= 2
        await page.wait_for_function("() => document.title === '(7) liveedge'", timeout=TIMEOUT_MS)
        assert (await page.text_content('[data-camera="silent0"] .detail') or "").startswith("down since ")
        await page.click('[data-camera="door"] live-edge-player')
        await page.wait_for_url("**/#/camera/door")
        await page.get_by_role("heading", name="정문").wait_for()


async def test_video_wall_shows_only_tiles(door: GatewayProcess, page: Page) -> None:
    await page.goto(door.url)
    await plays(page, "webrtc")
    await page.keyboard.press("w")
    await page.locator("header").wait_for(state="hidden", timeout=TIMEOUT_MS)
    await plays(page, "webrtc")
    tile = await page.locator(".tile").bounding_box()
    assert tile is not None
    assert tile["height"] > 700, "of a viewport of 800 px"
    await page.keyboard.press("w")
    await page.locator("header").wait_for(timeout=TIMEOUT_MS)
    # A kiosk opens the wall by URL.
    await page.goto(f"{door.url}/#/wall")
    await page.locator("header").wait_for(state="hidden", timeout=TIMEOUT_MS)


async def test_zoom_and_forced_colors(two_hours: tuple[GatewayProcess, int], browser: Browser) -> None:
    gateway, _ = two_hours
    # 1280 px at 400 % zoom are 320 px (WCAG 1.4.10): nothing needs horizontal scrolling.
    page = await browser.new_page(
        viewport={"width": 320, "height": 256}, forced_colors="active", reduced_motion="reduce"
    )
    for path in ("/", "/#/camera/door"):
        await page.goto(gateway.url + path)
        await plays(page, "webrtc")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320, path
    painted = await page.locator(".slider canvas").evaluate(
        """(canvas) =>
          canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)"""
    )
    assert painted


TOUCH = """() => {
  const root = document.querySelector("dialog[open]") ?? document.body;
  const boxes = [...root.querySelectorAll("button, a[href], select, input:not([type=checkbox])")]
    .map((element) => [element.ariaLabel || element.textContent || element.id, element.getBoundingClientRect()])
    .filter(([, { width, height }]) => width > 0 && height > 0);
  const small = boxes.filter(([, { width, height }]) => Math.min(width, height) < 43.5);
  const outside = boxes.filter(([, { left, right }]) => left < -1 || right > innerWidth + 1);
  const over = boxes.flatMap(([name, one], at) => boxes.slice(at + 1)
    .filter(([, other]) => Math.min(one.right, other.right) - Math.max(one.left, other.left) > 2
      && Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 2)
    .map(([other]) => [`${name} and ${other}`]));
  return [...small, ...outside, ...over].map(([name]) => name);
}"""
"""What is too small for a finger (WCAG 2.2, 2.5.5), outside of the screen, or over something else."""


async def test_on_a_phone_everything_of_playback_can_be_touched(
    two_hours: tuple[GatewayProcess, int], browser: Browser
) -> None:
    gateway, start_s = two_hours
    for width, height, locale in ((360, 640, "ko"), (844, 390, "en")):
        viewport: ViewportSize = {"width": width, "height": height}
        page = await browser.new_page(viewport=viewport, has_touch=True, is_mobile=True, locale=locale)
        moment = datetime.fromtimestamp(start_s + 600, UTC).isoformat().replace("+00:00", "Z")
        await page.goto(f"{gateway.url}/#/playback?cameras=door&t={moment}")
        await page.locator(".together .tile").wait_for(timeout=TIMEOUT_MS)
        await page.get_by_role("button", name="클립 구간 선택" if locale == "ko" else "Select a clip").press("Enter")
        assert await page.evaluate(TOUCH) == []
        await page.locator("button.day").press("Enter")
        await page.locator(".moment .recorded").first.wait_for(timeout=TIMEOUT_MS)
        assert await page.evaluate(TOUCH) == []
        await page.close()


async def test_views_that_are_left_are_freed(door: GatewayProcess, page: Page) -> None:
    await page.goto(door.url)
    for place in ("#/camera/door", "#/playback?cameras=door") * 2:
        await page.evaluate("(place) => { location.hash = place; }", place)
        await page.locator(".timeline canvas").wait_for()
        await page.evaluate("() => { location.hash = '#/'; }")
        await page.locator('[data-camera="door"]').wait_for()
    cdp = await page.context.new_cdp_session(page)

    async def timelines_are_freed() -> bool:
        return await count_kept(cdp, "HTMLCanvasElement") == 0

    await eventually(timelines_are_freed, "no timeline is kept")


async def test_hidden_tab_does_not_poll(door: GatewayProcess, page: Page) -> None:
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    await page.goto(door.url)
    await plays(page, "webrtc")
    await page.evaluate(
        """() => {
          Object.defineProperty(document, "hidden", { get: () => window.isHidden, configurable: true });
          window.isHidden = true;
        }"""
    )
    # A request that is in flight may finish.
    await page.wait_for_timeout(2500)
    requested.clear()
    await page.wait_for_timeout(4500)
    assert not [url for url in requested if url.endswith("/api/status")]
    async with page.expect_request("**/api/status"):
        await page.evaluate("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")


async def test_first_load_is_small(door: GatewayProcess, page: Page) -> None:
    requests: list[Request] = []
    page.on("requestfinished", lambda request: requests.append(request))
    await page.goto(door.url)
    await plays(page, "webrtc")
    files = [request for request in requests if re.search(r"/static/|:\d+/$", request.url)]
    sizes = [(await request.sizes())["responseBodySize"] for request in files]
    assert len(sizes) >= 4
    assert 5000 < sum(sizes) < 200_000


async def test_sign_in(gateways: Gateways, tmp_path: Path, page: Page) -> None:
    cameras(tmp_path, "door", "gate")
    gateway = gateways(AUTH_TOKEN="correct-horse-battery-staple")
    gateway.headers = {"Authorization": "Bearer correct-horse-battery-staple"}
    wall = {"name": "Gate", "tiles": [{"camera_id": "gate", "rendition": "auto"}]}
    gateway.json("/api/walls/gate", "PUT", wall)
    await page.goto(f"{gateway.url}/#/camera/door")
    dialog = page.get_by_role("dialog")
    for _ in range(3):  # browsers close a dialog at the second one whatever it says
        await page.keyboard.press("Escape")
    await dialog.get_by_label("Token").fill("wrong-horse-battery-staple")
    await dialog.get_by_role("button", name="Sign in").click()
    await dialog.get_by_text("not valid").wait_for()
    await dialog.get_by_label("Token").fill("correct-horse-battery-staple")
    await dialog.get_by_role("button", name="Sign in").click()
    await dialog.wait_for(state="hidden")
    # Somebody who signs in on a wall sees this wall alone.
    await page.evaluate("sessionStorage.clear(); localStorage.clear()")
    await page.goto(f"{gateway.url}/#/?wall=gate")
    await page.reload()
    await dialog.get_by_label("Token").fill("correct-horse-battery-staple")
    await page.evaluate("""() => {
      window.seen = new Set();
      const note = () => document.querySelectorAll(".tile").forEach(({ dataset }) => window.seen.add(dataset.camera));
      new MutationObserver(note).observe(document.body, { childList: true, subtree: true });
    }""")
    await dialog.get_by_role("button", name="Sign in").click()
    await page.locator('.tile[data-camera="gate"]').wait_for(timeout=TIMEOUT_MS)
    assert await page.evaluate("[...window.seen]") == ["gate"]
    await page.goto(f"{gateway.url}/#/camera/door")
    for transport in ("webrtc", "hls", "jpeg", "mjpeg"):
        await page.eval_on_selector(
            "live-edge-player", "(player, transport) => { player.transports = [transport] }", transport
        )
        await plays(page, transport)
    # Thumbnails and files of the archive, with signed URLs.
    row = page.locator(".recordings li").first
    await row.wait_for(timeout=TIMEOUT_MS)
    async with page.expect_download() as download:
        await row.get_by_role("button", name="Download").click()
    assert (await (await download.value).path()).stat().st_size > 1000

    await page.eval_on_selector("live-edge-player", "(player) => { player.token = 'wrong-horse-battery-staple' }")
    await page.wait_for_function("() => document.querySelector('live-edge-player').state.notice.includes('Sign in')")
