"""Bad networks, one viewer at a time, beside a neighbour with a good one.

    uv run python -m bench.network [--seconds 20] [--only webrtc,hls,jpeg,mjpeg,ladder]

A camera of 1.5 Mbit/s at 15 fps with a keyframe a second; gateway in a process of its own; two real Chromiums with
``<live-edge-player>``, one behind a network of :mod:`tests.support.netem`, the other with none. For each transport and
network: what the viewer saw and was told, and what the neighbour saw meanwhile, to be held against the first row, in
which both networks are good. ``ladder`` is the player with all transports, everything through 300 kbit/s.

A freeze is half a second without a new picture. Latency is the player's own figure, from capture to screen. Losses are
of UDP alone: what TCP loses it repairs below us. Figures begin when the player shows its first picture.
"""

import argparse
import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, Route

from tests.support.browser import chromium
from tests.support.gateway import Gateway
from tests.support.netem import Link, TcpNetwork, UdpNetwork
from tests.support.player import embed

CAMERA = """
[cameras.film]
url = "film://film?fps=15&gop=15&gops=4&bit_rate=1500000&width=640&height=360"
engine = "tests.support.cinema:FilmEngine"
record = "never"
start = "always"
"""
NARROW = Link(bits_per_s=300_000, queue_bytes=32_000, delay_s=0.01)
NETWORKS = {
    "good": (Link(), Link()),
    "5 % lost": (Link(loss=0.05), Link(loss=0.05)),
    "200 ms": (Link(delay_s=0.1, jitter_s=0.03), Link(delay_s=0.1, jitter_s=0.03)),
    "300 kbit/s": (NARROW, Link(delay_s=0.01)),
}
TRANSPORTS = ("webrtc", "hls", "jpeg", "mjpeg")
SETTLE_S = 3.0
"""After the first picture: joining is another bench."""
PATIENCE_S = 30.0

COUNT = """
// Pictures of whatever surface the player has, as they come.
window.seen = { times: [], latency: [], told: {} };
const drawn = ImageBitmapRenderingContext.prototype.transferFromImageBitmap;
ImageBitmapRenderingContext.prototype.transferFromImageBitmap = function (bitmap) {
  this.canvas.pictures = (this.canvas.pictures ?? 0) + 1;
  return drawn.call(this, bitmap);
};
let last = { surface: null, pictures: 0 };
setInterval(() => {
  const player = document.querySelector("live-edge-player"), surface = player?.surface;
  if (!surface) return;
  const { notice, latencyMs, transport } = player.state;
  const words = [transport ?? "nothing", notice].filter(Boolean).join(": ");
  seen.told[words] = (seen.told[words] ?? 0) + 1;
  const pictures = surface.pictures ?? surface.getVideoPlaybackQuality?.().totalVideoFrames ?? 0;
  if (surface !== last.surface) last = { surface, pictures: 0 };
  for (; last.pictures < pictures; last.pictures++) seen.times.push(performance.now());
  if (latencyMs !== null) seen.latency.push(latencyMs);
}, 40);
"""


@dataclass
class Seen:
    """What one page saw."""

    fps: float
    freezes: int
    frozen_s: float
    latency_ms: list[float]
    told: list[str]

    def row(self) -> str:
        ordered = sorted(self.latency_ms)
        p50, p95 = (f"{ordered[int(len(ordered) * part)]:.0f}" for part in (0.5, 0.95)) if ordered else ("-", "-")
        return f"{self.fps:.1f} | {self.freezes} ({self.frozen_s:.1f} s) | {p50} / {p95}"


async def take(page: Page, seconds: float) -> Seen:
    """What the page has seen in the last ``seconds``."""
    found: dict[str, Any] = await page.evaluate("() => ({ ...window.seen, now: performance.now() })")
    began = found["now"] - seconds * 1000
    times = [began, *(at for at in found["times"] if at >= began), found["now"]]
    gaps = [(following - at) / 1000 for at, following in pairwise(times)]
    frozen = [gap for gap in gaps if gap >= 0.5]
    told = sorted(found["told"].items(), key=lambda item: -item[1])
    return Seen((len(times) - 2) / seconds, len(frozen), sum(frozen), found["latency"], [text for text, _ in told])


async def clear(page: Page) -> None:
    """Begin to count anew."""
    await page.evaluate("() => Object.assign(window.seen, { times: [], latency: [], told: {} })")


async def open_page(browser: Browser) -> Page:
    """A page that counts, in a context of its own: pages behind others are not drawn."""
    page = await (await browser.new_context()).new_page()
    await page.add_init_script(COUNT)
    return page


async def first_picture(page: Page) -> float | None:
    """Wait for it; returns how long that took in seconds, or ``None``."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE_S:
        if await page.evaluate("() => window.seen.times.length"):
            return time.monotonic() - began
        await asyncio.sleep(0.05)
    return None


async def measure(gateway: Gateway, transports: str, network: str, seconds: float) -> str:
    """One row."""
    down, up = NETWORKS[network]
    async with AsyncExitStack() as stack:
        udp = UdpNetwork(gateway.json("/api/status")["webrtc"]["udp_port"], down, up)
        tcp = TcpNetwork(int(gateway.url.rsplit(":", 1)[1]))
        for opened in (udp, tcp):
            await opened.start()
            stack.push_async_callback(opened.close)
        neighbour = await open_page(await stack.enter_async_context(chromium()))
        viewer = await open_page(await stack.enter_async_context(chromium()))

        async def lead_through(route: Route) -> None:
            answer = await route.fetch()
            text = await answer.text()
            await route.fulfill(response=answer, body=udp.answer(text) if answer.status == 201 else text)

        await viewer.route("**/whep/film", lead_through)
        own = "webrtc" if len(transports.split()) > 1 else transports
        await embed(neighbour, gateway.url, f'transports="{own}"', camera="film")
        await first_picture(neighbour)
        # The player itself comes over a good network; what it asks for does not.
        await embed(viewer, tcp.url, f'transports="{transports}"', camera="film")
        tcp.down.link, tcp.up.link = down, up
        waited_s = await first_picture(viewer)
        await asyncio.sleep(SETTLE_S)
        for page in (viewer, neighbour):
            await clear(page)
        await asyncio.sleep(seconds)
        saw, beside = await take(viewer, seconds), await take(neighbour, seconds)
        counted = gateway.camera("film")["webrtc"]
    repaired = ""
    if own == "webrtc":
        lost = udp.down.lost + udp.down.overflowed
        repaired = f"{counted['retransmitted']} of {lost}"
    told = "; ".join([*saw.told[:3], *counted["degraded"]])
    first = "-" if waited_s is None else f"{waited_s:.1f} s"
    return f"| {transports} | {network} | {first} | {saw.row()} | {repaired} | {told} | {beside.row()} |"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--only", default=",".join((*TRANSPORTS, "ladder")))
    parser.add_argument("--networks", default=",".join(NETWORKS))
    options = parser.parse_args()
    print("| transport | network | first picture | fps | freezes | latency p50 / p95 ms | repaired | told |", end="")
    print(" neighbour: fps | freezes | latency |\n|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "liveedge.toml").write_text(CAMERA)
        with Gateway(Path(folder), FRAME_RATE=15) as gateway:
            for transport in options.only.split(","):
                if transport == "ladder":
                    print(await measure(gateway, " ".join(TRANSPORTS), "300 kbit/s", 2 * options.seconds), flush=True)
                    continue
                for network in options.networks.split(","):
                    if NETWORKS[network][0].loss and transport != "webrtc":
                        continue
                    print(await measure(gateway, transport, network, options.seconds), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
