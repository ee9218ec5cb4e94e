"""Every view of the page, in both languages and themes, on desk and phone: what axe-core finds, and what is English.

One page shows all views: it is loaded once for each language.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, Page, Route, ViewportSize, expect

from tests.support.accessibility import violations
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.player import TIMEOUT_MS
from tests.support.two_hours import two_hours_of

TOKEN = "correct-horse-battery-staple"

DOWN = [f"gate{number}" for number in range(1, 9)]
"""With ``door`` nine cameras, of which one has recordings."""

DEVICE = {"address": "192.0.2.7", "name": "IPC-1", "hardware": "X1", "location": "", "camera_ids": ["door"]}

STREAM = {"token": "1", "name": "main", "source": "1", "codec": "h264", "width": 640, "height": 360, "frame_rate": 25.0}

REPORT = {
    "address": "192.0.2.7",
    "onvif_url": None,
    "manufacturer": "Acme",
    "model": "X1",
    "firmware": "1",
    "serial": "2",
    "clock_offset_s": 90.0,
    "has_ptz": False,
    "has_events": False,
    "streams": [
        {**STREAM, "bitrate_bps": 1_000_000, "url": "rtsp://192.0.2.7/1", "picture": None}
        | {"problem": "its keyframe cannot be decoded", "problem_code": "undecodable"}
    ],
    "cameras": [
        {"camera_id": "yard", "name": "IPC-1", "url": "rtsp://192.0.2.7/1", "sub_url": None, "onvif_url": None}
    ],
}

TEXTS = r"""() => {
  // Every text that is shown or told, also inside the players.
  const found = [document.title];
  const walk = (root) => {
    for (const element of root.querySelectorAll("*")) {
      if (/^(SCRIPT|STYLE|CODE)$/.test(element.tagName) || element.closest("header h1")) continue;
      if (!element.checkVisibility({ visibilityProperty: true })) continue;
      // A word of another language says which; an address or a token in a field is no word.
      if ((element.closest("[lang]") ?? document.documentElement).lang !== "ko") continue;
      for (const name of ["aria-label", "title", "placeholder", "alt", "aria-description", "aria-valuetext"])
        if (element.hasAttribute(name)) found.push(element.getAttribute(name));
      for (const node of element.childNodes) if (node.nodeType === 3) found.push(node.textContent);
      if (element.shadowRoot) walk(element.shadowRoot);
    }
  };
  walk(document);
  return [...new Set(found.map((text) => text.trim()).filter(Boolean))];
}"""

LATIN_ONLY = r"""(texts) => {
  const allowed = new RegExp([
    String.raw`\b(?:rtsps?|https?|packets)://\S+`,                            // addresses
    String.raw`\b(?:door|gate\d|none|yard|ring|api|main|evening|IPC-1|Acme|X1|admin)\b`, // names
    String.raw`\b(?:liveedge|EMS|WebRTC|LL-HLS|HLS|M?JPEG|ONVIF|RTSP|H\.?26[45]|AV1|AAC|PCM[AU]|OPUS|SHA-256|UDP|TCP|RTT)\b`,
    String.raw`\b(?:fps|[kM]?bit/s|[kMGT]?B|ms|s|Hz|PEM|ID|UTC)\b`,   // units
    String.raw`\b(?:webrtc|hls|jpeg|mjpeg)\b`,                        // transports, as the API names them
    String.raw`\b(?:Space|Esc|Home|End|Shift|PgUp|PgDn|[A-Z])\b`, // keys
    String.raw`\b[0-9a-f]{8,}\b`,                                     // hashes
    String.raw`\b(?:Asia|Europe|America|Etc)/\w+`,                    // time zones
  ].join("|"), "gi");
  return texts.filter((text) => !/[가-힣]/.test(text) && /[a-z]{2}/i.test(text.replace(allowed, "")));
}"""

TOO_WIDE = """() => {
  const shown = (element) => element.checkVisibility() && element.clientWidth > 1;
  const parts = document.querySelectorAll("header, h1, h2, h3, button, .button, .card, footer, dialog, label, li");
  const isWider = (element) => element.scrollWidth > element.clientWidth + 1;
  const isCut = (element) => getComputedStyle(element).overflowX === "visible" && isWider(element);
  const isOut = (element) => element.getBoundingClientRect().right > innerWidth + 1;
  const isWrapped = (element) => element.matches("button, .button") && element.clientHeight > 60;
  const isBlock = (element) => getComputedStyle(element).display !== "inline";
  return [document.documentElement, ...parts]
    .filter((element) => shown(element) && isBlock(element) && (isCut(element) || isOut(element) || isWrapped(element)))
    .map((element) => `${element.tagName} ${element.className}: ${element.textContent.trim().slice(0, 40)}`);
}"""

ADD = 'header [title="Add a camera"], header [title="카메라 추가"]'

Open = Callable[[Page], Awaitable[None]]


@dataclass(frozen=True)
class View:
    """``open`` begins at ``hash``; ``shows`` is there when it is open."""

    hash: str
    shows: str
    open: Open | None = None


def key(name: str) -> Open:
    return lambda page: page.keyboard.press(name)


def click(*selectors: str) -> Open:
    async def open_(page: Page) -> None:
        for selector in selectors:
            await page.locator(selector).first.click(timeout=TIMEOUT_MS)

    return open_


async def add_by_address(page: Page) -> None:
    """The form for an address, with what the gateway says of a wrong one."""
    await click(ADD)(page)
    await page.locator("dialog .content > button").click(timeout=TIMEOUT_MS)
    await page.fill("#camera-id", "yard")
    await page.fill("#url", "ftp://192.0.2.7/")
    await page.click("dialog form.camera button.primary")


async def look_at_device(page: Page) -> None:
    await click(ADD, ".devices button")(page)
    await page.fill("#password", "secret")
    await page.click("dialog form.credentials button.primary")


def views(start_s: int) -> list[View]:
    door = "#/camera/door"
    nine = "#/playback?cameras=" + ",".join(["door", *DOWN])
    moment = start_s + 100
    return [
        View("#/", '[data-camera="gate8"]'),
        View("#/wall", ".wall .tile"),
        View(door, ".recordings li"),
        View(f"{door}?t={moment}", ".events li", key("[")),
        View(f"{door}?t={moment}", "dialog.moment table", key("g")),
        View(door, "dialog.help dt", key("?")),
        View(door, "dialog #camera-mainAddress", click(".details .buttons button:last-child")),
        View("#/camera/gate1", ".details .error:not(:empty)"),
        View("#/camera/none", "live-edge-player"),
        View(f"{nine}&t={moment}", ".followed video.shown"),
        View(nine, "dialog.chooser li", click(".together .bar button")),
        View("#/exports", ".exports li[data-state=done]"),
        View("#/access", ".access li"),
        View("#/", "dialog .error:not(:empty)", add_by_address),
        View("#/", "dialog form.credentials", click(ADD, ".devices button")),
        View("#/", "dialog .streams li", look_at_device),
        View("#/", "dialog select", click(".walls button")),
        View("#/", "dialog.notifications h2", click('header [title="Notifications"], header [title="알림"]')),
    ]


async def answer(route: Route) -> None:
    """The network of the machine is not searched."""
    found = REPORT if route.request.url.endswith("/device") else {"devices": [DEVICE], "is_complete": True}
    await route.fulfill(json=found)


@pytest.fixture
def nine_cameras(gateways: Callable[..., GatewayProcess], tmp_path: Path) -> tuple[GatewayProcess, int]:
    """One live camera with recordings, an event and an export, and eight that are down. And the start, Unix s."""
    start_s = two_hours_of(tmp_path)
    with (tmp_path / "liveedge.toml").open("a") as settings:
        for name in DOWN:
            settings.write(f'[cameras.{name}]\nurl = "rtsp://127.0.0.1:9/{name}"\nstart = "always"\nrecord = "never"\n')
    gateway = gateways(AUTH_TOKEN=TOKEN)
    gateway.headers = {"Authorization": f"Bearer {TOKEN}"}
    gateway.json("/api/events", "POST", {"camera_id": "door", "label": "ring", "start": start_s + 60})
    gateway.json("/api/exports", "POST", {"cameras": ["door"], "start": str(start_s), "end": str(start_s + 4)})
    gateway.json("/api/tokens", "POST", {"name": "evening", "role": "viewer"})
    return gateway, start_s


DESK: ViewportSize = {"width": 1280, "height": 800}
Shape = tuple[Literal["light", "dark"], ViewportSize]

PHONE: ViewportSize = {"width": 390, "height": 800}


async def looks(page: Page, where: str, *shapes: Shape) -> list[str]:
    """What is wrong with what the page shows now."""
    wrong = []
    for theme, size in shapes:
        await page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        await page.set_viewport_size(size)

        async def fits() -> bool:
            return not await page.evaluate(TOO_WIDE)

        if await page.evaluate("document.documentElement.lang") == "ko":
            await eventually(fits, f"{where} fits into {size['width']} px")
        wrong += [f"{where}, {theme}, {size['width']} px: {each}" for each in await violations(page)]
    return wrong


def refusing(status: int, about: Mapping[str, object]) -> Callable[[Route], Awaitable[None]]:
    async def refuse(route: Route) -> None:
        await route.fulfill(status=status, json={"message": "in English", **about})

    return refuse


async def errors_are_korean(page: Page) -> None:
    """What people meet most."""
    await page.keyboard.press("Escape")
    await page.evaluate("location.hash = '#/'")
    await add_by_address(page)
    error = page.locator("dialog .error")
    await expect(error).to_contain_text(
        "메인 스트림 주소: 주소는 다음 중 하나로 시작해야 합니다: rtsp", timeout=TIMEOUT_MS
    )
    await page.fill("#camera-id", "door")
    await page.fill("#url", "rtsp://127.0.0.1:9/yard")
    await page.click("dialog form.camera button.primary")
    await expect(error).to_have_text("“door” 카메라가 이미 있습니다. 다른 ID를 선택하세요.", timeout=TIMEOUT_MS)
    await page.fill("#camera-id", "x" * 65)
    await page.click("dialog form.camera button.primary")
    await expect(error).to_contain_text("카메라 ID: ", timeout=TIMEOUT_MS)
    await page.keyboard.press("Escape")
    # Nothing was recorded before the camera was.
    await page.evaluate("location.hash = '#/exports'")
    alert = page.locator(".exports [role=alert]").first
    await page.get_by_role("checkbox", name="door", exact=True).check(timeout=TIMEOUT_MS)
    await page.fill("#export-from", "2026-01-01T00:00:00")
    await page.fill("#export-to", "2026-01-01T00:01:00")
    await page.click(".exports form button.primary")
    await expect(alert).to_have_text("이 시간에는 녹화된 영상이 없습니다.", timeout=TIMEOUT_MS)
    # What this gateway cannot be brought to within a test.
    for status, about, text in (
        (503, {"error": "storage"}, "디스크나 녹화 색인을 지금 사용할 수 없습니다."),
        (503, {"error": "node_away", "values": {"node": "b"}}, "클러스터 노드 b에 연결할 수 없습니다."),
    ):
        await page.route("**/api/exports/*", refusing(status, about), times=1)
        page.once("dialog", lambda dialog: dialog.accept())
        await page.locator(".exports li[data-state=done] button").last.click()
        await expect(alert).to_have_text(text, timeout=TIMEOUT_MS)


@pytest.mark.parametrize("language", ["en", "ko"])
async def test_every_view_is_accessible_and_korean_where_it_is(
    nine_cameras: tuple[GatewayProcess, int], browser: Browser, language: str
) -> None:
    gateway, start_s = nine_cameras
    shapes: tuple[Shape, ...]
    shapes = (("light", DESK), ("dark", PHONE)) if language == "en" else (("light", PHONE), ("dark", DESK))
    page = await browser.new_page(locale=language, viewport=DESK, reduced_motion="reduce")
    await page.route("**/api/discover**", answer)
    await page.goto(f"{gateway.url}/?lang={language}")
    wrong: list[str] = []
    english: list[str] = []

    async def look(where: str) -> None:
        wrong.extend(await looks(page, where, *shapes))
        if language == "ko":
            texts = await page.evaluate(f"({LATIN_ONLY})(({TEXTS})())")
            english.extend(f"{where}: {text}" for text in texts)

    await page.fill("dialog #token", "wrong-horse-battery-staple")
    await page.click("dialog button.primary")
    await page.locator("dialog .error:not(:empty)").wait_for(timeout=TIMEOUT_MS)
    await look("sign-in")
    await page.fill("dialog #token", TOKEN)
    await page.click("dialog button.primary")
    await page.locator("dialog").wait_for(state="detached", timeout=TIMEOUT_MS)
    for view in views(start_s):
        await page.keyboard.press("Escape")
        await page.set_viewport_size(DESK)
        await page.evaluate("(hash) => { location.hash = '#/'; location.hash = hash; }", view.hash)
        await page.locator("dialog").wait_for(state="detached", timeout=TIMEOUT_MS)
        if view.open is not None:
            await page.locator("main").first.wait_for(timeout=TIMEOUT_MS)
            await view.open(page)
        await page.locator(view.shows).first.wait_for(timeout=TIMEOUT_MS)
        await look(f"{view.hash} {view.shows}")
        if view.hash == "#/" and view.open is None:
            await page.set_viewport_size(PHONE)
            columns = page.locator("header select:has(option[value='6'])")
            assert await columns.evaluate("(select) => select.clientWidth") >= 110, "one reads how many there are"
    if language == "ko":
        await errors_are_korean(page)
    # Without cameras, and without the gateway.
    await page.keyboard.press("Escape")
    await page.evaluate("location.hash = '#/'")

    async def without_cameras(route: Route) -> None:
        status = await (await route.fetch()).json()
        await route.fulfill(json={**status, "cameras": []})

    await page.route("**/api/status", without_cameras)
    await page.locator(".grid .empty").wait_for(timeout=TIMEOUT_MS)
    await look("no cameras")
    await page.unroute("**/api/status")
    await page.context.set_offline(True)
    await page.locator(".error-banner:not([hidden])").wait_for(timeout=TIMEOUT_MS)
    await look("no gateway")
    assert not wrong + english, "\n".join(wrong + english)
