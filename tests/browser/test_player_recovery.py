"""The player returns to the live edge after outages of gateway, camera and network, and after a suspend.

`bench.return_to_live` measures how long it takes. Here it only has to happen, on every transport, without a click.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from playwright.async_api import Page

from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.player import TIMEOUT_MS, cameras, embed, plays
from tests.support.proxy import PORT_AHEAD, NetworkProxy
from tests.support.rtsp import RtspServer, free_port
from tests.support.tabs import chromium_with_tabs, frozen

Gateways = Callable[..., GatewayProcess]

TRANSPORTS = ("webrtc", "hls", "jpeg", "mjpeg")

INTERRUPTED = "() => players.every(({ state }) => state.status !== 'live')"


async def embed_all(page: Page, url: str) -> None:
    """A player for each transport."""
    await embed(page, url)
    await page.evaluate(
        """(transports) => {
          const attributes = 'camera="door" lang="en" style="width: 320px"';
          document.body.innerHTML = transports.map((transport) =>
            `<live-edge-player ${attributes} transports="${transport}"></live-edge-player>`
          ).join("");
          window.players = [...document.querySelectorAll("live-edge-player")];
        }""",
        TRANSPORTS,
    )
    await all_play(page)


async def all_play(page: Page) -> None:
    for transport in TRANSPORTS:
        await plays(page, transport, f'live-edge-player[transports="{transport}"]')


async def all_live(page: Page, since_ms: float) -> None:
    """Wait until all players play frames that were captured after ``since_ms``."""
    await all_play(page)
    await page.wait_for_function(
        "(since) => players.every(({ captureTime }) => captureTime > since)", arg=since_ms, timeout=TIMEOUT_MS
    )


async def now_ms(page: Page) -> float:
    return float(await page.evaluate("Date.now()"))


async def test_restarted_camera_and_restarted_gateway(
    gateways: Gateways, page: Page, own_rtsp_server: RtspServer
) -> None:
    gateway = gateways(RTSP_URL=own_rtsp_server.url("cam"), CONNECTION_RETRY_DELAY="0.2", CAPTURE_TIMEOUT="2000")
    await page.goto(f"{gateway.url}/#/camera/default")
    await plays(page, "webrtc")
    await page.evaluate("window.surface = document.querySelector('live-edge-player').surface")

    own_rtsp_server.kill()
    await page.wait_for_function(
        "() => document.querySelector('live-edge-player').state.notice.includes('camera')", timeout=TIMEOUT_MS
    )
    await asyncio.to_thread(own_rtsp_server.restart)
    await plays(page, "webrtc")
    assert await page.evaluate("window.surface === document.querySelector('live-edge-player').surface")

    await asyncio.to_thread(gateway.stop)
    await page.get_by_role("alert").filter(has_text="does not answer").wait_for(timeout=TIMEOUT_MS)
    await asyncio.to_thread(gateway.start)
    await plays(page, "webrtc")
    await page.get_by_role("alert").filter(has_text="does not answer").wait_for(state="hidden", timeout=TIMEOUT_MS)


async def test_killed_gateway(door: GatewayProcess, page: Page) -> None:
    await embed_all(page, door.url)
    await asyncio.to_thread(door.kill)
    await page.wait_for_function(INTERRUPTED, timeout=TIMEOUT_MS)
    await asyncio.to_thread(door.start)
    await all_live(page, await now_ms(page))
    # No notice: an outage of the gateway is not a failure of a transport.
    assert await page.evaluate("players.map(({ state }) => state.notice).join('')") == ""


async def test_network_that_is_cut_and_network_that_changes(gateways: Gateways, tmp_path: Path, page: Page) -> None:
    cameras(tmp_path, "door")
    media_port = free_port()
    port = int(gateways(WEBRTC_UDP_PORT=media_port).url.rsplit(":", 1)[1])
    async with NetworkProxy(port, media_port) as network:
        await page.add_init_script(f"({PORT_AHEAD})({network.ports})")
        await embed_all(page, f"http://127.0.0.1:{network.ports[port]}")
        for forget in (False, True):
            network.cut(forget=forget)
            await page.wait_for_function(INTERRUPTED, timeout=TIMEOUT_MS)
            network.open()
            await all_live(page, await now_ms(page))


async def test_frozen_tab(door: GatewayProcess) -> None:
    async with chromium_with_tabs() as context:
        page = context.pages[0]
        await embed_all(page, door.url)
        async with frozen(page):
            await asyncio.sleep(4)  # longer than the buffer of LL-HLS
        await page.bring_to_front()
        await all_live(page, await now_ms(page))


async def test_busy_page_catches_up(door: GatewayProcess, page: Page) -> None:
    await embed_all(page, door.url)
    await page.evaluate(
        """() => {
          window.surfaces = players.map(({ surface }) => surface);
          for (const end = performance.now() + 4000; performance.now() < end; );
        }"""
    )
    await all_live(page, await now_ms(page))
    same = await page.evaluate("players.every(({ surface }, index) => surface === surfaces[index])")
    assert same, "no transport was restarted"


async def test_camera_that_is_down_is_asked_for_only_when_it_is_back(
    gateways: Gateways, tmp_path: Path, page: Page, own_rtsp_server: RtspServer
) -> None:
    tables = "".join(
        f'[cameras.{name}]\nurl = "{own_rtsp_server.url("cam")}"\n{more}'
        for name, more in {"yard": "", "gate": 'start = "on-demand"\nrecord = "never"\n'}.items()
    )
    cameras(tmp_path, "door", extra=tables)
    own_rtsp_server.kill()
    retries = {"CONNECTION_RETRY_DELAY": "0.2", "CONNECTION_RETRY_ATTEMPTS": "1", "CAPTURE_TIMEOUT": "2000"}
    gateway = gateways(**retries, CAPTURE_LINGER=600)

    def are_down() -> bool:
        # A player that was here before has waited for the gate: one that never had viewers is not known to be down.
        found = gateway.json("/api/cameras?camera_id=yard,gate&hold=true")["cameras"]
        return all(each["error_message"] for each in found)

    await eventually(are_down, "both are down")
    errors: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: errors.append(f"{message.text} {message.location}"))
    page.on("request", lambda request: asked.append(request.url.removeprefix(gateway.url)))

    await page.goto(gateway.url)
    await plays(page, "webrtc", '[data-camera="door"] live-edge-player')
    await eventually(lambda: len([each for each in asked if "hold=true" in each]) >= 4, "the players wait")
    of_media = [each for each in asked if each.startswith(("/whep/", "/snapshot/", "/hls/", "/mjpeg/"))]
    assert {each.split("?")[0] for each in of_media} <= {"/whep/door", "/snapshot/door.jpg"}
    assert errors == []

    await asyncio.to_thread(own_rtsp_server.restart)
    for name in ("yard", "gate"):
        await plays(page, "webrtc", f'[data-camera="{name}"] live-edge-player')
