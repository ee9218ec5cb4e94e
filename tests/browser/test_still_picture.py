"""A picture that stands still keeps its own time: on the page, in the player, and in the name of a saved picture."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from playwright.async_api import Locator, Page

from tests.support.gateway_process import GatewayProcess
from tests.support.player import TIMEOUT_MS, plays
from tests.support.rtsp import RtspServer


async def camera_view(
    gateways: Callable[..., GatewayProcess], server: RtspServer, page: Page, folder: Path, transport: str
) -> Locator:
    """The player of a real camera on the page."""
    (folder / "liveedge.toml").write_text(
        f'[cameras.door]\nurl = "{server.url("/gop1")}"\nstart = "always"\nrecord = "never"\n'
    )
    gateway = gateways()
    await page.goto(f"{gateway.url}/#/camera/door")
    player = page.locator("live-edge-player")
    await player.evaluate("(player, transport) => player.setAttribute('transports', transport)", transport)
    await plays(page, transport)
    await page.wait_for_function("() => document.querySelector('live-edge-player').captureTime !== null")
    return player


async def test_the_time_is_that_of_the_picture(
    gateways: Callable[..., GatewayProcess], own_rtsp_server: RtspServer, page: Page, tmp_path: Path
) -> None:
    player = await camera_view(gateways, own_rtsp_server, page, tmp_path, "webrtc")
    live = page.get_by_role("button", name="Live", exact=True)
    assert await live.get_attribute("aria-pressed") == "true"
    own_rtsp_server.kill()
    # What was on its way arrives first.
    await page.wait_for_function(
        "() => document.querySelector('live-edge-player').state.latencyMs > 5000", timeout=TIMEOUT_MS
    )
    await page.locator("button.live[aria-pressed=false]").wait_for(timeout=TIMEOUT_MS)
    shown_ms = await player.evaluate("(player) => player.captureTime")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Save snapshot").click()
    assert await player.evaluate("(player) => player.captureTime") == shown_ms
    stamp = datetime.fromtimestamp(shown_ms // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    assert (await download.value).suggested_filename == f"door_{stamp}.jpg"


async def test_without_a_picture_there_is_no_time(
    gateways: Callable[..., GatewayProcess], own_rtsp_server: RtspServer, page: Page, tmp_path: Path
) -> None:
    player = await camera_view(gateways, own_rtsp_server, page, tmp_path, "hls")
    own_rtsp_server.kill()
    await page.wait_for_function(
        "() => document.querySelector('live-edge-player').surface === null", timeout=TIMEOUT_MS
    )
    assert await player.evaluate("(player) => [player.captureTime, player.state.latencyMs]") == [None, None]
    await page.locator("output.time", has_text="\N{EN DASH}").wait_for(timeout=TIMEOUT_MS)
