"""Digital zoom and picture-in-picture of the player, and the wall that keeps the screen on, in a real Chromium."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, Route

from tests.support.browser import chromium
from tests.support.gateway_process import GatewayProcess
from tests.support.player import cameras, embed, plays

PLAYER = "live-edge-player"


async def transform(page: Page) -> str:
    found: str = await page.eval_on_selector(PLAYER, "(player) => player.surface.parentElement.style.transform")
    return found


async def boxes(page: Page) -> dict[str, Any]:
    """The edges of the player and of the picture in it, CSS pixels."""
    found: dict[str, Any] = await page.eval_on_selector(
        PLAYER,
        """(player) => {
          const edges = ({ left, top, width }) => ({ left, top, width });
          const [outer, inner] = [player, player.surface].map((element) => element.getBoundingClientRect());
          return { player: edges(outer), picture: edges(inner) };
        }""",
    )
    return found


async def test_wheel_keys_and_drags_zoom_and_a_drag_is_no_click(door: GatewayProcess, page: Page) -> None:
    await embed(page, door.url, "zoom controls")
    await page.evaluate(
        "() => document.querySelector('live-edge-player').addEventListener('click', () => window.clicked = 1)"
    )
    await plays(page)
    player = (await boxes(page))["player"]
    left, top, width = player["left"], player["top"], player["width"]

    await page.mouse.move(left + width * 0.75, top + width * 0.2)
    await page.mouse.wheel(0, -300)
    assert await transform(page) == "", "the wheel alone scrolls the page"
    await page.keyboard.down("Control")
    await page.mouse.wheel(0, -500)
    await page.keyboard.up("Control")
    await page.wait_for_function("() => document.querySelector('live-edge-player').hasAttribute('data-zoomed')")
    picture = (await boxes(page))["picture"]
    assert picture["width"] > 2 * width
    # What was under the pointer is under it.
    assert abs((left + width * 0.75 - picture["left"]) / picture["width"] - 0.75) < 0.01

    await page.mouse.down()
    await page.mouse.move(left + width * 0.75 + 60, top + width * 0.2 + 20, steps=4)
    await page.mouse.up()
    moved = (await boxes(page))["picture"]
    assert abs(moved["left"] - picture["left"] - 60) < 1.5
    assert abs(moved["top"] - picture["top"] - 20) < 1.5
    assert not await page.evaluate("() => window.clicked")
    await page.mouse.click(left + width * 0.5, top + width * 0.2)
    assert await page.evaluate("() => window.clicked") == 1

    await page.focus(f"{PLAYER} button[aria-label='Zoom in']")
    await page.keyboard.press("ArrowRight")
    assert (await boxes(page))["picture"]["left"] < moved["left"]
    await page.keyboard.press("0")
    assert await transform(page) == ""
    await page.keyboard.press("Enter")
    await page.focus(f"{PLAYER} button[aria-label='Zoom out']")
    await page.keyboard.press("Enter")
    assert await transform(page) == ""
    focused = "() => document.querySelector('live-edge-player').shadowRoot.activeElement?.ariaLabel"
    assert await page.evaluate(focused), "the focus stays on a button when the buttons change"


async def test_two_fingers_zoom(door: GatewayProcess, browser: Browser) -> None:
    context = await browser.new_context(has_touch=True, viewport={"width": 800, "height": 500})
    page = await context.new_page()
    await embed(page, door.url, "zoom")
    await plays(page)
    session = await context.new_cdp_session(page)

    async def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        await session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    await touch("touchStart", (350, 200), (450, 200))
    for step in range(1, 6):
        await touch("touchMove", (350 - 20 * step, 200), (450 + 20 * step, 200))
    await touch("touchEnd")
    player, picture = (await boxes(page)).values()
    assert 2.5 < picture["width"] / player["width"] < 3.5
    await context.close()


async def test_picture_in_picture_goes_on_with_another_transport_and_a_recording(
    door: GatewayProcess, page: Page
) -> None:
    blocked = True

    async def guard(route: Route) -> None:
        await (route.abort() if blocked else route.continue_())

    await page.route("**/whep/**", guard)
    await embed(page, door.url, 'controls transports="webrtc hls"')
    await plays(page, "hls")
    await page.click(f"{PLAYER} button[aria-label='Picture-in-picture']")
    is_floating = f"""() => {{
      const player = document.querySelector("{PLAYER}");
      return player.surface !== null && player.shadowRoot.pictureInPictureElement === player.surface;
    }}"""
    await page.wait_for_function(is_floating)
    blocked = False
    await page.evaluate("dispatchEvent(new Event('online'))")
    await plays(page, "webrtc")
    await page.wait_for_function(is_floating)
    await page.eval_on_selector(PLAYER, "(player) => player.seek(Date.now() - 3000)")
    await page.wait_for_function(f"() => document.querySelector('{PLAYER}').state.mode === 'recording'")
    await page.wait_for_function(is_floating)


async def test_the_wall_keeps_the_screen_on(gateways: Callable[..., GatewayProcess], tmp_path: Path) -> None:
    cameras(tmp_path, "door")
    gateway = gateways()
    async with chromium() as browser:  # the headless shell has no wake lock
        page = await browser.new_page()
        await page.add_init_script(
            """navigator.wakeLock.request = new Proxy(navigator.wakeLock.request, {
              apply: async (request, self, list) => (window.lock = await Reflect.apply(request, self, list)),
            });"""
        )
        await page.goto(f"{gateway.url}/#/wall")
        await page.wait_for_function("() => window.lock && !window.lock.released")
        await page.goto(f"{gateway.url}/#/")
        await page.wait_for_function("() => window.lock.released")
