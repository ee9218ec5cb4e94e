"""Measure one viewer on a bad network, and a neighbour on a good one.

    make bench NAME=network ARGS='[--seconds 20] [--only webrtc,hls,jpeg,mjpeg,all,kernel]'

A camera sends 1.5 Mbit/s at 15 fps with one keyframe a second. The gateway is a process of its own. Two real Chromium
browsers show ``<live-edge-player>``; one is behind a network of :mod:`tests.support.netem`. Each row is one transport
and network: what the viewer saw, the notice it got, and what the neighbour saw. In the first row both networks are
good. ``all`` is the player with all transports, behind 300 kbit/s. ``kernel`` is the same with the kernel's own
300 kbit/s: a network namespace behind ``tbf``, for root on Linux.

A freeze is half a second without a new picture. Latency is the player's own figure, from capture to screen. Losses are
those of UDP: TCP repairs its own. Measuring begins when the player shows its first picture.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, Route, async_playwright

from tests.support.browser import CHROMIUM, FLAGS, chromium
from tests.support.gateway_process import GatewayProcess
from tests.support.netem import Link, TcpNetwork, UdpNetwork
from tests.support.player import embed

CAMERA = """
[cameras.loop]
url = "loop://loop?fps=15&gop=15&gops=4&bit_rate=1500000&width=640&height=360"
engine = "tests.support.sources.encoded_loop:EncodedLoopEngine"
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
VETH, OUTSIDE, INSIDE = "liveedge-bench", "10.77.0.1", "10.77.0.2"
TRANSPORTS = ("webrtc", "hls", "jpeg", "mjpeg")
SETTLE_S = 3.0
"""After the first picture: bench.join_storm and bench.first_frame measure joining."""
PATIENCE_S = 30.0

COUNT = """
// Count the pictures of the surface that the player has at the moment.
window.seen = { times: [], latency: [], notices: {} };
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
  const text = [transport ?? "nothing", notice].filter(Boolean).join(": ");
  seen.notices[text] = (seen.notices[text] ?? 0) + 1;
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
    notices: list[str]

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
    notices = sorted(found["notices"].items(), key=lambda item: -item[1])
    return Seen((len(times) - 2) / seconds, len(frozen), sum(frozen), found["latency"], [text for text, _ in notices])


async def clear(page: Page) -> None:
    """Reset the counters."""
    await page.evaluate("() => Object.assign(window.seen, { times: [], latency: [], notices: {} })")


async def open_page(browser: Browser) -> Page:
    """A page that counts pictures, in its own context: a page behind another one is not drawn."""
    page = await (await browser.new_context()).new_page()
    await page.add_init_script(COUNT)
    return page


async def first_picture(page: Page) -> float | None:
    """Wait for the first picture. Returns how long that took in seconds; ``None`` if it did not come."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE_S:
        if await page.evaluate("() => window.seen.times.length"):
            return time.monotonic() - began
        await asyncio.sleep(0.05)
    return None


async def measure(gateway: GatewayProcess, transports: str, network: str, seconds: float) -> str:
    """Measure one transport on one network. Returns the row."""
    down, up = NETWORKS[network]
    async with AsyncExitStack() as stack:
        udp = UdpNetwork(gateway.json("/api/status")["webrtc"]["udp_port"], down, up)
        tcp = TcpNetwork(int(gateway.url.rsplit(":", 1)[1]))
        for opened in (udp, tcp):
            await opened.start()
            stack.push_async_callback(opened.close)
        neighbour = await open_page(await stack.enter_async_context(chromium()))
        viewer = await open_page(await stack.enter_async_context(chromium()))

        async def answer_through_network(route: Route) -> None:
            answer = await route.fetch()
            text = await answer.text()
            await route.fulfill(response=answer, body=udp.answer(text) if answer.status == 201 else text)

        await viewer.route("**/whep/loop", answer_through_network)
        own = "webrtc" if len(transports.split()) > 1 else transports
        await embed(neighbour, gateway.url, f'transports="{own}"', camera="loop")
        await first_picture(neighbour)
        # The player's code is loaded over a good network. Its requests use the bad one.
        await embed(viewer, tcp.url, f'transports="{transports}"', camera="loop")
        tcp.down.link, tcp.up.link = down, up
        row = await watch(gateway, viewer, neighbour, seconds, udp if own == "webrtc" else None)
    return f"| {transports} | {network} | {row} |"


async def watch(gateway: GatewayProcess, viewer: Page, neighbour: Page, seconds: float, udp: UdpNetwork | None) -> str:
    """Measure both pages from the viewer's first picture on. Returns the cells of the row."""
    waited_s = await first_picture(viewer)
    await asyncio.sleep(SETTLE_S)
    for page in (viewer, neighbour):
        await clear(page)
    await asyncio.sleep(seconds)
    saw, beside = await take(viewer, seconds), await take(neighbour, seconds)
    counted = gateway.camera("loop")["webrtc"]
    repaired = "" if udp is None else f"{counted['packets_retransmitted']} of {udp.down.lost + udp.down.overflowed}"
    notices = "; ".join([*saw.notices[:3], *counted["degraded_reasons"]])
    first = "-" if waited_s is None else f"{waited_s:.1f} s"
    return f"{first} | {saw.row()} | {repaired} | {notices} | {beside.row()}"


@contextmanager
def namespace(folder: Path) -> Iterator[Path]:
    """A network namespace behind 300 kbit/s. Yields a command that runs Chromium in it."""
    name, queue = f"liveedge{os.getpid()}", "burst 4kb limit 40kb"
    inside = f"ip netns exec {name}"
    browser = folder / "chromium"
    browser.write_text(f'#!/bin/sh\nexec {inside} {CHROMIUM} "$@"\n')
    browser.chmod(0o755)
    try:
        for command in (
            f"ip netns add {name}",
            f"ip link add {VETH} type veth peer name eth0 netns {name}",
            f"ip addr add {OUTSIDE}/30 dev {VETH}",
            f"ip link set {VETH} up",
            f"{inside} ip addr add {INSIDE}/30 dev eth0",
            f"{inside} ip link set eth0 up",
            f"{inside} ip link set lo up",
            f"tc qdisc add dev {VETH} root tbf rate 300kbit {queue}",
        ):
            subprocess.run(command.split(), check=True)
        yield browser
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


async def measure_kernel(seconds: float) -> str:
    """The row of all transports, with the kernel's own narrow network."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "liveedge.toml").write_text(CAMERA)
        with (
            namespace(Path(folder)) as browser,
            GatewayProcess(
                Path(folder), FRAME_RATE=15, HOST=OUTSIDE, AUTH_DISABLED="true", WEBRTC_HOSTS=OUTSIDE
            ) as gateway,
        ):
            async with async_playwright() as playwright:
                near = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                far = await playwright.chromium.launch(executable_path=browser, args=FLAGS)
                neighbour, viewer = await open_page(near), await open_page(far)
                await embed(neighbour, gateway.url, 'transports="webrtc"', camera="loop")
                await first_picture(neighbour)
                await embed(viewer, gateway.url, f'transports="{" ".join(TRANSPORTS)}"', camera="loop")
                row = await watch(gateway, viewer, neighbour, seconds, None)
                await far.close()
                await near.close()
    return f"| {' '.join(TRANSPORTS)} | kernel, 300 kbit/s | {row} |"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--only", default=",".join((*TRANSPORTS, "all", "kernel")))
    parser.add_argument("--networks", default=",".join(NETWORKS))
    options = parser.parse_args()
    print("| transport | network | first picture | fps | freezes | latency p50 / p95 ms | repaired | notices |", end="")
    print(" neighbour: fps | freezes | latency |\n|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "liveedge.toml").write_text(CAMERA)
        with GatewayProcess(Path(folder), FRAME_RATE=15) as gateway:
            for transport in options.only.split(","):
                if transport == "kernel":
                    if os.geteuid() or not shutil.which("tc"):
                        print("kernel needs root, ip and tc", flush=True)
                        continue
                    print(await measure_kernel(2 * options.seconds), flush=True)
                    continue
                if transport == "all":
                    print(await measure(gateway, " ".join(TRANSPORTS), "300 kbit/s", 2 * options.seconds), flush=True)
                    continue
                for network in options.networks.split(","):
                    if NETWORKS[network][0].loss and transport != "webrtc":
                        continue
                    print(await measure(gateway, transport, network, options.seconds), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
