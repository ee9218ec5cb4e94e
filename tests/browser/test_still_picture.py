"""A picture that stands still keeps its own time: on the page, in the player, and in the name of a saved picture."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from playwright.async_api import Error, Locator, Page, Route

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


async def test_a_recording_that_is_not_loaded_gives_its_time_to_no_other_picture(
    two_hours: tuple[GatewayProcess, int], page: Page
) -> None:
    gateway, start_s = two_hours
    is_cut, is_away = asyncio.Event(), True

    async def hold(route: Route) -> None:
        await is_cut.wait()
        with contextlib.suppress(Error):  # the player does not wait for ever
            await (route.abort() if is_away else route.continue_())

    await page.goto(f"{gateway.url}/?lang=en#/camera/door")
    await plays(page, "webrtc")
    await page.wait_for_function("() => document.querySelector('live-edge-player').captureTime !== null")
    await page.route("**/hls/door/dvr.m3u8*", hold)
    player = page.locator("live-edge-player")
    await player.evaluate("(player, time) => player.seek(time)", (start_s + 100) * 1000)
    await page.wait_for_function("() => document.querySelector('live-edge-player').state.mode === 'recording'")
    # The live picture is still shown.
    shown_ms, wanted_ms = await player.evaluate("(player) => [player.captureTime, player.playbackTime]")
    assert wanted_ms == (start_s + 100) * 1000
    assert shown_ms > wanted_ms + 600_000
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Save snapshot").click()
    stamp = (await download.value).suggested_filename.removeprefix("door_").removesuffix(".jpg")
    saved_ms = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() * 1000
    assert saved_ms + 1000 > shown_ms

    # A gateway that does not answer is no proof that nothing was recorded.
    is_cut.set()
    await page.wait_for_function(
        "() => document.querySelector('live-edge-player').state.notice.includes('cannot be loaded')",
        timeout=TIMEOUT_MS,
    )
    is_away = False
    await page.wait_for_function(
        """(wanted) => {
          const { captureTime, state } = document.querySelector("live-edge-player");
          return state.notice === "" && captureTime >= wanted - 1000 && captureTime < wanted + 60_000;
        }""",
        arg=wanted_ms,
        timeout=TIMEOUT_MS,
    )
