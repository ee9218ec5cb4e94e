"""The player and the page in a real Chromium: transports, falls and climbs, the past, the keyboard, the eye."""

import asyncio
import functools
import http.server
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, Page, Request, Route, WebSocketRoute

from gateway.clock import CLOCK_RATE
from tests.support.browser import chromium
from tests.support.ffprobe import ffprobe
from tests.support.film import Film, film
from tests.support.gateway import Gateway
from tests.support.recording import index_of, record
from tests.support.rtsp import RtspServer

Gateways = Callable[..., Gateway]

ROOT = Path(__file__).parents[2]
AXE = ROOT / "web" / "player" / "node_modules" / "axe-core" / "axe.min.js"

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

PATIENCE_MS = 30_000
"""How long a test waits for what has to come; no measure of speed."""

SAMPLE = """
async (player, count) => {
  const canvas = new OffscreenCanvas(32, 18);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const seen = [];
  for (let i = 0; i < count; i++) {
    await new Promise((resolve) => setTimeout(resolve, 120));
    if (!player.surface) {
      seen.push(0); // between two transports there is nothing to see
      continue;
    }
    context.drawImage(player.surface, 0, 0, 32, 18);
    const { data } = context.getImageData(0, 0, 32, 18);
    seen.push(data.reduce((sum, value, index) => (index % 4 === 3 ? sum : sum + value), 0) / (32 * 18 * 3));
  }
  return seen;
}
"""


def cameras(folder: Path, *names: str, extra: str = "") -> None:
    """Cameras that cost nothing: a short film, coded once, round and round."""
    tables = [
        f'[cameras.{name}]\nurl = "reel://gop=30"\nengine = "tests.support.reel_engine:ReelEngine"\n{extra}'
        for name in names
    ]
    (folder / "liveedge.toml").write_text("\n".join(tables))


async def embed(page: Page, gateway: Gateway, attributes: str = "") -> None:
    """The element alone, on a page of the gateway's origin."""
    await page.goto(f"{gateway.url}/health")
    await page.evaluate(
        """([base, attributes]) => {
          document.body.innerHTML = `<live-edge-player camera="door" lang="en" ${attributes}></live-edge-player>`;
          return import(`${base}/static/player.js`).then(() => null);
        }""",
        [gateway.url, attributes],
    )


async def plays(page: Page, transport: str, selector: str = "live-edge-player") -> None:
    """Decoded, changing, non-black pictures over a transport."""
    await page.wait_for_function(
        "([selector, transport]) => document.querySelector(selector)?.state.transport === transport",
        arg=[selector, transport],
        timeout=PATIENCE_MS,
    )
    for _ in range(PATIENCE_MS // 1000):
        # A transport that is kept over an outage has a still picture until the camera is back.
        seen: list[float] = await page.eval_on_selector(selector, f"(player) => ({SAMPLE})(player, 8)")
        if max(seen) > 8 and len({round(light, 2) for light in seen}) > 2:
            return
    raise AssertionError(f"no moving picture: {seen}")


async def notice(page: Page) -> str:
    return str(await page.eval_on_selector("live-edge-player", "(player) => player.state.notice"))


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


# --- transports


@pytest.fixture
def door(gateways: Gateways, tmp_path: Path) -> Gateway:
    cameras(tmp_path, "door")
    return gateways()


async def test_every_transport_plays_and_tells_how_live_it_is(door: Gateway, page: Page) -> None:
    for attributes in ("webrtc", 'webrtc" signaling="socketio', "hls", "jpeg", "mjpeg"):
        await embed(page, door, f'transports="{attributes}"')
        await plays(page, attributes.split('"')[0])
        if "signaling" not in attributes:
            await page.wait_for_function("() => document.querySelector('live-edge-player').state.latencyMs !== null")
            latency_ms = await page.eval_on_selector("live-edge-player", "(player) => player.state.latencyMs")
            assert -1000 < latency_ms < 20_000, "no measure of speed: two clocks that agree"


async def test_a_blocked_transport_falls_to_the_next_and_climbs_back(door: Gateway, page: Page) -> None:
    shut = {"whep", "hls", "socket.io"}

    async def guard(route: Route) -> None:
        await (route.abort() if route.request.url.split("/")[3] in shut else route.continue_())

    async def guard_socket(socket: WebSocketRoute) -> None:
        if "socket.io" in shut:
            await socket.close()
        else:
            socket.connect_to_server()

    await page.route_web_socket("**/socket.io/**", guard_socket)
    for path in shut:
        await page.route(f"**/{path}/**", guard)
    await embed(page, door)
    await plays(page, "mjpeg")
    assert await notice(page) == "MJPEG instead of WebRTC: the connection was lost"

    shut.remove("socket.io")
    await plays(page, "jpeg")
    # By itself, or at once when the network has changed.
    for path, transport in (("hls", "hls"), ("whep", "webrtc")):
        shut.remove(path)
        await page.evaluate("dispatchEvent(new Event('online'))")
        await plays(page, transport)
    assert await notice(page) == ""


async def test_media_that_does_not_get_through_is_not_waited_for(door: Gateway, page: Page) -> None:
    async def misdirect(route: Route) -> None:
        # Every candidate, UDP and TCP, at the port where nobody is.
        answer = await route.fetch()
        sdp = re.sub(r"(a=candidate:\S+ \d \S+ \d+ \S+ )\d+", r"\g<1>9", await answer.text())
        await route.fulfill(response=answer, body=sdp)

    await page.route("**/whep/door", misdirect)
    await embed(page, door)
    await plays(page, "hls")
    assert await notice(page) == "LL-HLS instead of WebRTC: no picture in time"

    # Parts fail in mid-play.
    await page.route("**/hls/**", lambda route: route.abort())
    await plays(page, "jpeg")


async def test_the_snapshot_is_there_before_the_picture(door: Gateway, page: Page) -> None:
    for pattern in ("**/whep/**", "**/hls/**", "**/socket.io/**", "**/mjpeg/**"):
        await page.route(pattern, lambda _: asyncio.sleep(0))
    await page.route_web_socket("**/socket.io/**", lambda _: None)
    await embed(page, door)
    poster = page.locator("live-edge-player img")
    await poster.wait_for(state="visible", timeout=PATIENCE_MS)
    assert await poster.evaluate("(image) => image.naturalWidth") > 0


# --- always the live edge


async def test_a_restarted_camera_and_a_restarted_gateway(
    gateways: Gateways, page: Page, own_rtsp_server: RtspServer
) -> None:
    gateway = gateways(RTSP_URL=own_rtsp_server.url("cam"), CONNECTION_RETRY_DELAY="0.2", CAPTURE_TIMEOUT="2000")
    await page.goto(f"{gateway.url}/#/camera/default")
    await plays(page, "webrtc")
    await page.evaluate("window.surface = document.querySelector('live-edge-player').surface")

    own_rtsp_server.kill()
    await page.wait_for_function(
        "() => document.querySelector('live-edge-player').state.notice.includes('camera')", timeout=PATIENCE_MS
    )
    await asyncio.to_thread(own_rtsp_server.restart)
    await plays(page, "webrtc")
    assert await page.evaluate("window.surface === document.querySelector('live-edge-player').surface")

    await asyncio.to_thread(gateway.stop)
    await page.get_by_role("alert").filter(has_text="does not answer").wait_for(timeout=PATIENCE_MS)
    await asyncio.to_thread(gateway.start)
    await plays(page, "webrtc")
    await page.get_by_role("alert").filter(has_text="does not answer").wait_for(state="hidden", timeout=PATIENCE_MS)


# --- the past


HOUR_S = 3600


@pytest.fixture
def two_hours(gateways: Gateways, tmp_path: Path) -> tuple[Gateway, int]:
    """An hour recorded, an hour's gap, an hour recorded: 2 pictures a second, the n-th with a grey of its own."""
    cameras(tmp_path, "door", extra='record = "never"\n')
    start_s = int(time.time()) // 600 * 600 - 4 * HOUR_S
    what = Film(seconds=HOUR_S, fps=2, gop=8)
    data = tmp_path / "data"
    hours = [film(what, (start_s + hour * HOUR_S) * CLOCK_RATE, run=1 + hour) for hour in (0, 2)]
    first = record(data, hours[0])
    numbers = None
    second = record(data, hours[1], numbers=numbers)
    index_of(data, [*first, *second]).close()
    return gateways(), start_s


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


# --- the page


async def test_nine_cameras_and_only_those_that_are_seen(gateways: Gateways, tmp_path: Path, browser: Browser) -> None:
    names = [f"cam{number}" for number in range(1, 10)]
    cameras(tmp_path, *names)
    gateway = gateways()
    page = await browser.new_page(viewport={"width": 1440, "height": 900})
    await page.goto(gateway.url)
    for name in names:
        await plays(page, "webrtc", f'[data-camera="{name}"] live-edge-player')
    await page.close()

    phone = await browser.new_page(viewport={"width": 390, "height": 700})
    await phone.goto(gateway.url)
    await plays(phone, "webrtc", '[data-camera="cam1"] live-edge-player')
    unseen = '[data-camera="cam9"] live-edge-player'
    assert await phone.eval_on_selector(unseen, "(player) => player.state.transport") is None
    await phone.locator('[data-camera="cam9"]').scroll_into_view_if_needed()
    await plays(phone, "webrtc", unseen)


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


async def test_accessibility(two_hours: tuple[Gateway, int], page: Page) -> None:
    gateway, _ = two_hours
    for path in ("/", "/#/camera/door"):
        await page.goto(gateway.url + path)
        await plays(page, "webrtc")
        await page.evaluate(AXE.read_text())
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme=scheme)
            await page.wait_for_timeout(300)
            found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
            serious = [
                f"{scheme}: {violation['id']}: {node['html'][:120]}"
                for violation in found["violations"]
                if violation["impact"] in ("serious", "critical")
                for node in violation["nodes"]
            ]
            assert not serious, serious


async def test_it_speaks_korean(door: Gateway, browser: Browser) -> None:
    page = await (await browser.new_context(locale="ko-KR")).new_page()
    await page.goto(f"{door.url}/#/camera/door")
    await page.get_by_text("모든 카메라").wait_for()
    assert await page.evaluate("document.documentElement.lang") == "ko"
    await page.wait_for_function("() => document.querySelector('live-edge-player').state.label === '라이브'")


async def test_the_first_screen_is_small(door: Gateway, page: Page) -> None:
    requests: list[Request] = []
    page.on("requestfinished", lambda request: requests.append(request))
    await page.goto(door.url)
    await plays(page, "webrtc")
    files = [request for request in requests if re.search(r"/static/|:\d+/$", request.url)]
    sizes = [(await request.sizes())["responseBodySize"] for request in files]
    assert len(sizes) >= 4
    assert 5000 < sum(sizes) < 200_000


# --- who may watch


async def test_signing_in(gateways: Gateways, tmp_path: Path, page: Page) -> None:
    cameras(tmp_path, "door")
    gateway = gateways(AUTH_TOKEN="correct-horse-battery-staple")
    await page.goto(f"{gateway.url}/#/camera/door")
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Token").fill("wrong-horse-battery-staple")
    await dialog.get_by_role("button", name="Sign in").click()
    await dialog.get_by_text("not accepted").wait_for()
    await dialog.get_by_label("Token").fill("correct-horse-battery-staple")
    await dialog.get_by_role("button", name="Sign in").click()
    await dialog.wait_for(state="hidden")
    for transport in ("webrtc", "hls", "jpeg", "mjpeg"):
        await page.eval_on_selector(
            "live-edge-player", "(player, transport) => { player.transports = [transport] }", transport
        )
        await plays(page, transport)
    # The archive's pictures and files by signed addresses.
    row = page.locator(".recordings li").first
    await row.wait_for(timeout=PATIENCE_MS)
    async with page.expect_download() as download:
        await row.get_by_role("button", name="Download").click()
    assert (await (await download.value).path()).stat().st_size > 1000

    await page.eval_on_selector("live-edge-player", "(player) => { player.token = 'wrong-horse-battery-staple' }")
    await page.wait_for_function("() => document.querySelector('live-edge-player').state.notice.includes('sign in')")


# --- elsewhere


@pytest.fixture
def other_origin(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Somebody else's web server, and its folder."""
    folder = tmp_path / "www"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder
    server.shutdown()
    server.server_close()
    thread.join(5)


async def test_on_somebody_elses_page(
    gateways: Gateways, tmp_path: Path, page: Page, other_origin: tuple[str, Path]
) -> None:
    url, folder = other_origin
    cameras(tmp_path, "door")
    door = gateways(CORS_ORIGINS=url)
    (folder / "index.html").write_text(
        f'<script type="module" src="{door.url}/static/player.js"></script>'
        '<live-edge-player camera="door" style="width: 480px"></live-edge-player>'
    )
    for transport in ("webrtc", "hls", "mjpeg"):
        await page.goto(url)
        await page.eval_on_selector(
            "live-edge-player", "(player, transport) => (player.transports = [transport])", transport
        )
        await plays(page, transport)
