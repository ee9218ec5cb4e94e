"""Measure how long ``<live-edge-player>`` takes to return to the live edge once that is possible again.

    make bench NAME=return_to_live ARGS='[--rounds 5] [--cases restart,network] [--players all,hls]'

Chromium shows a camera whose picture is a clock, over each transport alone and over all of them. Each case interrupts
the player and ends the interruption, without a click. The time ends with the first picture on the screen that is as
young as that transport's pictures are (``EDGE_MS``), by the clock in the picture. It starts when the return is possible
again:

=========  ===============================================================================================
restart    SIGTERM, and the gateway is started at once: when its camera is live, and for LL-HLS, which needs a whole
           GOP, when it has a playlist
kill       the same, with kill -9
camera     the camera is away for ``OUTAGE_S``: when the gateway has its next keyframe
frozen     the tab is hidden and frozen for ``FROZEN_S``: when it is in front again
hidden     the tab is hidden for more than a minute, so that the player stops: when it is in front again
busy       the page's main thread does something else for ``BUSY_S``: when it is free again
cut        nothing gets through for ``OUTAGE_S``, over the same network: when it does again
network    the same, over another network: connections from before are dead, and no end is notified
=========  ===============================================================================================

The longest takes half a minute a round, except ``hidden``, which has fewer rounds.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
from playwright.async_api import BrowserContext, Page

from bench.support.picture_reader import READER
from bench.support.switched_camera import ENGINE
from tests.support.gateway_process import GatewayProcess
from tests.support.player import embed
from tests.support.proxy import PORT_AHEAD, NetworkProxy
from tests.support.rtsp import free_port
from tests.support.tabs import chromium_with_tabs, frozen

GOAL_MS = 2000.0

EDGE_MS = {"webrtc": 500, "hls": 2000, "jpeg": 1000, "mjpeg": 1000}
"""The maximum age of a picture at the live edge, by transport."""

PLAYERS = {"webrtc": "webrtc", "hls": "hls", "jpeg": "jpeg", "mjpeg": "mjpeg", "all": ""}
"""The attribute ``transports``."""

OUTAGE_S = 5.0
FROZEN_S = 10.0
BUSY_S = 5.0
HIDDEN_S = 65.0
SETTLE_S = 4.0
"""Between two rounds: the player plays, and its measurements of the camera are valid again."""

PATIENCE_S = 40.0

WATCH = f"""
window.seen = [];
window.watchPictures = () => {{
  const read = {READER};
  const player = document.querySelector("live-edge-player");
  let last = null;
  setInterval(() => {{
    const {{ surface }} = player;
    const made = surface ? read(surface) : null;
    if (made === null || made === last) return;
    last = made;
    window.seen.push({{ at: Date.now(), made, transport: player.state.transport }});
  }}, 20);
}};
"""


class Stage:
    """A gateway, a camera and a tab with a player."""

    def __init__(self, gateway: GatewayProcess, context: BrowserContext, switch: Path, media_port: int) -> None:
        self.gateway = gateway
        self.context = context
        self.switch = switch
        self.media_port = media_port

    @asynccontextmanager
    async def player(self, transports: str, url: str, ports: dict[int, int] | None = None) -> AsyncIterator[Page]:
        """A tab that plays."""
        page = await self.context.new_page()
        try:
            await page.add_init_script(WATCH)
            if ports is not None:
                await page.add_init_script(f"({PORT_AHEAD})({ports})")
            await embed(page, url, f'transports="{transports}" style="width: 640px"', "default")
            await page.evaluate("watchPictures()")
            await page.bring_to_front()
            await self.live(page, now_ms(), PATIENCE_S)
            yield page
        finally:
            await page.close()

    async def live(self, page: Page, since_ms: float, patience_s: float) -> dict[str, Any] | None:
        """The first picture at the live edge after ``since_ms``; ``None`` if there was none in time."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            seen: list[dict[str, Any]] = await page.evaluate(
                "([since]) => (seen = seen.filter(({ at }) => at >= since))", [since_ms]
            )
            for picture in seen:
                if picture["at"] - picture["made"] <= EDGE_MS.get(picture["transport"], 0):
                    return picture
            await asyncio.sleep(0.1)
        return None

    async def camera_live(self, *, has_playlist: bool = False) -> float:
        """Wait until the gateway has a live camera; returns when that was, ms since the Unix epoch."""
        async with aiohttp.ClientSession() as http:
            while True:
                try:
                    async with http.get(f"{self.gateway.url}/api/cameras/default") as reply:
                        is_live = (await reply.json())["state"] == "live"
                    if is_live and has_playlist:
                        async with http.get(f"{self.gateway.url}/hls/default/live.m3u8") as reply:
                            is_live = reply.status == 200
                    if is_live:
                        return now_ms()
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.02)

    # --- the cases: each interrupts, ends the interruption, and returns when the player could be live again

    async def restart(self, page: Page, _: NetworkProxy) -> float:
        await asyncio.to_thread(self.gateway.stop)
        return await self._start(page)

    async def kill(self, page: Page, _: NetworkProxy) -> float:
        await asyncio.to_thread(self.gateway.kill)
        return await self._start(page)

    async def camera(self, _: Page, __: NetworkProxy) -> float:
        self.switch.touch()
        await asyncio.sleep(OUTAGE_S)
        self.switch.unlink()
        return await self.camera_live()

    async def frozen(self, page: Page, _: NetworkProxy) -> float:
        async with frozen(page):
            await asyncio.sleep(FROZEN_S)
        return await self._in_front(page)

    async def hidden(self, page: Page, _: NetworkProxy) -> float:
        await self.context.new_page()
        await asyncio.sleep(HIDDEN_S)
        return await self._in_front(page)

    async def busy(self, page: Page, _: NetworkProxy) -> float:
        await page.evaluate(
            "(ms) => { for (const end = performance.now() + ms; performance.now() < end; ); }", BUSY_S * 1000
        )
        return now_ms()

    async def cut(self, _: Page, network: NetworkProxy) -> float:
        network.cut(forget=False)
        return await self._open(network)

    async def network(self, _: Page, network: NetworkProxy) -> float:
        network.cut(forget=True)
        return await self._open(network)

    async def _start(self, page: Page) -> float:
        await asyncio.to_thread(self.gateway.start)
        transports = await page.eval_on_selector("live-edge-player", "(player) => player.transports")
        return await self.camera_live(has_playlist=transports == ["hls"])

    async def _open(self, network: NetworkProxy) -> float:
        await asyncio.sleep(OUTAGE_S)
        network.open()
        return now_ms()

    async def _in_front(self, page: Page) -> float:
        began = now_ms()
        await page.bring_to_front()
        for other in self.context.pages:
            if other is not page:
                await other.close()
        return began


CASES = {
    "restart": Stage.restart,
    "kill": Stage.kill,
    "camera": Stage.camera,
    "frozen": Stage.frozen,
    "hidden": Stage.hidden,
    "busy": Stage.busy,
    "cut": Stage.cut,
    "network": Stage.network,
}
NEED_PROXY = {"cut", "network"}


def now_ms() -> float:
    """Unix time, as the page has it."""
    return time.time() * 1000


async def measure(stage: Stage, case: str, player: str, rounds: int) -> None:
    """All rounds of one case with one player, and their row."""
    times: list[float] = []
    over: list[str] = []
    gateway_port = int(stage.gateway.url.rsplit(":", 1)[1])
    async with NetworkProxy(gateway_port, stage.media_port) as network:
        is_proxied = case in NEED_PROXY
        url = f"http://127.0.0.1:{network.ports[gateway_port]}" if is_proxied else stage.gateway.url
        async with stage.player(PLAYERS[player], url, network.ports if is_proxied else None) as page:
            for _ in range(rounds):
                await asyncio.sleep(SETTLE_S)
                since = await CASES[case](stage, page, network)
                picture = await stage.live(page, since, PATIENCE_S)
                times.append(picture["at"] - since if picture else PATIENCE_S * 1000)
                over.append(picture["transport"] if picture else "nothing")
    p50, longest = median(times), max(times)
    verdict = "met" if longest <= GOAL_MS else "MISSED"
    transports = "" if set(over) == {player} else f" (over {', '.join(sorted(set(over)))})"
    figures = f"{p50 / 1000:.2f} s | {longest / 1000:.2f} s"
    print(f"| {case} | {player}{transports} | {len(times)} | {figures} | {verdict} |", flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hidden-rounds", type=int, default=2)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--players", default=",".join(PLAYERS))
    parser.add_argument("--camera", default="fake://demo?width=640&height=360&fps=15&gop=2")
    options = parser.parse_args()
    media_port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        switch = folder / "away"
        settings = {
            "RTSP_URL": f"{options.camera}&away={switch}",
            "CAPTURE_ENGINE": ENGINE,
            "CONNECTION_RETRY_DELAY": 0.2,
            "RECORD": "never",
            "START": "always",
            "WEBRTC_UDP_PORT": media_port,
        }
        print("| what | player | rounds | p50 | longest | goal 2 s |\n|---|---|---|---|---|---|")
        with GatewayProcess(folder, **settings) as gateway:
            async with chromium_with_tabs() as context:
                stage = Stage(gateway, context, switch, media_port)
                for case in options.cases.split(","):
                    for player in options.players.split(","):
                        rounds = options.hidden_rounds if case == "hidden" else options.rounds
                        await measure(stage, case, player, rounds)


if __name__ == "__main__":
    asyncio.run(main())
