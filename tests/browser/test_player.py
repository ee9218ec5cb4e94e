"""The player in a real Chromium: every transport, falls and climbs. Always the live edge: test_player_return.py."""

import asyncio
import re

from playwright.async_api import Page, Route, WebSocketRoute

from tests.support.gateway_process import GatewayProcess
from tests.support.player import PATIENCE_MS, embed, notice, plays
from tests.support.rtsp import free_port


async def test_every_transport_plays_and_tells_how_live_it_is(door: GatewayProcess, page: Page) -> None:
    for attributes in ("webrtc", 'webrtc" signaling="socketio', "hls", "jpeg", "mjpeg"):
        await embed(page, door.url, f'transports="{attributes}"')
        await plays(page, attributes.split('"')[0])
        if "signaling" not in attributes:
            await page.wait_for_function("() => document.querySelector('live-edge-player').state.latencyMs !== null")
            latency_ms = await page.eval_on_selector("live-edge-player", "(player) => player.state.latencyMs")
            assert -1000 < latency_ms < 20_000, "no measure of speed: two clocks that agree"


async def test_a_blocked_transport_falls_to_the_next_and_climbs_back(door: GatewayProcess, page: Page) -> None:
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
    await embed(page, door.url)
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


async def test_media_that_does_not_get_through_is_not_waited_for(door: GatewayProcess, page: Page) -> None:
    nowhere = free_port()

    async def misdirect(route: Route) -> None:
        # Every candidate, UDP and TCP, at a port where nobody is; one below 1024, Chromium would not even try.
        answer = await route.fetch()
        sdp = re.sub(r"(a=candidate:\S+ \d \S+ \d+ \S+ )\d+", rf"\g<1>{nowhere}", await answer.text())
        await route.fulfill(response=answer, body=sdp)

    await page.route("**/whep/door", misdirect)
    await embed(page, door.url)
    await plays(page, "hls")
    assert await notice(page) == "LL-HLS instead of WebRTC: no video in time"

    # Parts fail in mid-play.
    await page.route("**/hls/**", lambda route: route.abort())
    await plays(page, "jpeg")


async def test_the_snapshot_is_there_before_the_picture(door: GatewayProcess, page: Page) -> None:
    for pattern in ("**/whep/**", "**/hls/**", "**/socket.io/**", "**/mjpeg/**"):
        await page.route(pattern, lambda _: asyncio.sleep(0))
    await page.route_web_socket("**/socket.io/**", lambda _: None)
    await embed(page, door.url)
    poster = page.locator("live-edge-player img")
    await poster.wait_for(state="visible", timeout=PATIENCE_MS)
    assert await poster.evaluate("(image) => image.naturalWidth") > 0
