"""Measure a viewer on bad networks, of a camera with a sub stream, in a real Chromium, until the network is good again.

    make bench NAME=narrow ARGS='[--runs 3] [--only "300 kbit/s;5 % loss"] [--log]'

The camera sends 4 Mbit/s at 1280x720, and 250 kbit/s at 640x360, both with 15 pictures a second and a keyframe every
2 s; its sub stream is captured when a viewer needs it. The viewer joins by WHEP with ``rendition=auto``. Narrow links
are the kernel's: a network namespace behind ``tbf``, for root on Linux. Loss and delay are of
:mod:`tests.support.netem`, as most kernels do not have theirs. At the end the link becomes good.

A row has: how long the first picture took from the offer; from when on there are 12 pictures in every second; how many
pictures a second there were after that, and the longest pause; when the viewer got the sub stream; how long after the
link was good it got the main stream, and saw its first picture. Cells are the median and the worst of the runs.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from playwright.async_api import Browser, Page, Route, async_playwright

from bench.network import OUTSIDE, VETH, namespace
from tests.support.browser import FLAGS, chromium
from tests.support.gateway_process import GatewayProcess
from tests.support.netem import Link, UdpNetwork

CAMERA = """
[cameras.loop]
url = "loop://main?fps=15&gop=30&gops=2&bit_rate=4000000&buffer_s=0.2&width=1280&height=720"
sub_url = "loop://sub?fps=15&gop=30&gops=2&bit_rate=250000&buffer_s=0.2&width=640&height=360"
engine = "tests.support.sources.encoded_loop:EncodedLoopEngine"
record = "never"
start = "always"
capture_linger = 1
"""
LINGER_S = 3.0
GOOD_S = 12.0
GOOD_RATE = "20mbit"
QUEUE = "40kb"
WANTED_PER_S = 12
MAIN_WIDTH = 1280
GOOD = Link(delay_s=0.01)


@dataclass(frozen=True)
class Network:
    """A bad network: ``tc`` rates, each with how long it lasts in seconds, or else a link in user space."""

    rates: tuple[tuple[str, float], ...] = ()
    queue: str = QUEUE
    """Of the bad network, and of the good one after it."""
    link: Link = GOOD
    seconds: float = 15.0
    """Of ``link``."""


NETWORKS = {
    "300 kbit/s": Network((("300kbit", 15.0),)),
    "1 Mbit/s with steps": Network((("1mbit", 8.0), ("500kbit", 8.0), ("300kbit", 8.0), ("1mbit", 6.0))),
    "bufferbloat, 1 Mbit/s": Network((("1mbit", 15.0),), queue="1mb"),
    "bufferbloat, 300 kbit/s": Network((("300kbit", 15.0),), queue="1mb"),
    "5 % loss": Network(link=Link(loss=0.05, delay_s=0.01)),
    "200 ms, jitter 30 ms": Network(link=Link(delay_s=0.1, jitter_s=0.03)),
    "200 ms, 300 kbit/s": Network(link=Link(delay_s=0.1, bits_per_s=300_000, queue_bytes=40_000)),
    "5 % loss, 600 kbit/s": Network(link=Link(loss=0.05, delay_s=0.02, bits_per_s=600_000, queue_bytes=40_000)),
}

JOIN = """
async () => {
  const peer = window.peer = new RTCPeerConnection();
  const video = document.createElement("video");
  Object.assign(video, { autoplay: true, muted: true, playsInline: true, srcObject: new MediaStream() });
  document.body.append(video);
  peer.ontrack = ({ track, receiver }) => { receiver.jitterBufferTarget = 0; video.srcObject.addTrack(track); };
  peer.addTransceiver("video", { direction: "recvonly" });
  await peer.setLocalDescription();
  window.seen = [];
  window.passed = () => (performance.now() - began) / 1000;
  const began = performance.now();
  let presented = 0;
  const note = (now, metadata) => {
    // A busy machine calls back once for several pictures.
    for (; presented < metadata.presentedFrames; presented++) seen.push([passed(), metadata.width]);
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);
  const headers = { "Content-Type": "application/sdp" };
  const reply = await fetch("/whep/loop", { method: "POST", headers, body: peer.localDescription.sdp });
  await peer.setRemoteDescription({ type: "answer", sdp: await reply.text() });
}
"""

Picture = tuple[float, int]


def shape(rate: str, queue: str) -> None:
    """Give the link a rate and a queue, of ``tc``."""
    subprocess.run(f"tc qdisc change dev {VETH} root tbf rate {rate} burst 4kb limit {queue}".split(), check=True)


def enough_from(pictures: list[Picture], until_s: float) -> float | None:
    """From which picture on every second has :data:`WANTED_PER_S` pictures; ``None``: never."""
    times = [at for at, _ in pictures if at < until_s]
    for began in times:
        starts = [began + step / 10 for step in range(int((until_s - began - 1) * 10))]
        if starts and all(sum(start <= at < start + 1 for at in times) >= WANTED_PER_S for start in starts):
            return began
    return None


class KernelLink:
    """A browser in a namespace; :func:`shape` is its link."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def join(self, page: Page, url: str) -> None:
        shape(GOOD_RATE, self._network.queue)
        await page.goto(f"{url}/health")
        shape(self._network.rates[0][0], self._network.queue)
        await page.evaluate(JOIN)

    async def suffer(self) -> None:
        """Be a bad network, and then a good one."""
        for rate, seconds in self._network.rates:
            shape(rate, self._network.queue)
            await asyncio.sleep(seconds)
        shape(GOOD_RATE, self._network.queue)


class RelayedLink:
    """A browser whose datagrams pass through this process."""

    def __init__(self, network: Network, udp_port: int) -> None:
        self._network = network
        self._udp = UdpNetwork(udp_port, network.link, Link(network.link.loss, network.link.delay_s))

    async def join(self, page: Page, url: str) -> None:
        await self._udp.start()

        async def lead(route: Route) -> None:
            answer = await route.fetch()
            await route.fulfill(response=answer, body=self._udp.answer(await answer.text()))

        await page.route("**/whep/loop", lead)
        await page.goto(f"{url}/health")
        await page.evaluate(JOIN)

    async def suffer(self) -> None:
        await asyncio.sleep(self._network.seconds)
        self._udp.down.link = self._udp.up.link = GOOD

    async def close(self) -> None:
        await self._udp.close()


async def run(page: Page, url: str, link: KernelLink | RelayedLink) -> dict[str, float | None]:
    """One viewer, from its join to the main stream over a good link. All times in seconds."""
    await link.join(page, url)
    await link.suffer()
    good_s: float = await page.evaluate("() => passed()")
    await asyncio.sleep(GOOD_S)
    pictures: list[Picture] = await page.evaluate("() => seen")
    await page.evaluate("() => peer.close()")
    narrow = [(at, width) for at, width in pictures if at < good_s]
    enough = enough_from(narrow, good_s)
    after = [at for at, _ in narrow if enough is not None and at >= enough]
    main = next((at for at, width in pictures if at >= good_s and width == MAIN_WIDTH), None)
    return {
        "first": pictures[0][0] if pictures else None,
        "enough": enough,
        "rate": len(after) / (good_s - enough) if enough is not None else None,
        "pause": max((later - earlier for earlier, later in pairwise([*after, good_s])), default=None),
        "sub": next((at for at, width in narrow if width != MAIN_WIDTH), None),
        "main": main - good_s if main is not None else None,
    }


def cell(values: list[float | None]) -> str:
    """Median and worst of the runs; ``-`` for what did not happen in one of them."""
    found = [value for value in values if value is not None]
    if len(found) < len(values):
        return f"- ({len(found)} of {len(values)})"
    return f"{median(found):.1f} / {max(found):.1f}"


@asynccontextmanager
async def opened(network: Network, folder: Path) -> AsyncIterator[tuple[GatewayProcess, Browser]]:
    """A gateway, and a browser; the browser is in a namespace if the link is the kernel's."""
    (folder / "liveedge.toml").write_text(CAMERA)
    async with AsyncExitStack() as stack:
        if network.rates:
            path = stack.enter_context(namespace(folder))
            settings = {"HOST": OUTSIDE, "AUTH_DISABLED": "true", "WEBRTC_HOSTS": OUTSIDE}
            gateway = stack.enter_context(GatewayProcess(folder, **settings))
            playwright = await stack.enter_async_context(async_playwright())
            browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
            stack.push_async_callback(browser.close)
        else:
            gateway = stack.enter_context(GatewayProcess(folder))
            browser = await stack.enter_async_context(chromium())
        gateway.wait_for_state("live", "loop")
        # The loops are encoded when they are first played. A camera has no such pause.
        gateway.fetch("/snapshot/loop.jpg?width=16")
        gateway.fetch("/mjpeg/loop?width=16", method="HEAD")
        yield gateway, browser


async def measure(name: str, runs: int, *, prints_log: bool) -> str:
    """The row of one network."""
    network, found = NETWORKS[name], []
    with tempfile.TemporaryDirectory() as folder:
        async with opened(network, Path(folder)) as (gateway, browser):
            for _ in range(runs):
                # Then the sub stream is captured no more.
                await asyncio.sleep(LINGER_S)
                page = await (await browser.new_context()).new_page()
                async with AsyncExitStack() as stack:
                    link: KernelLink | RelayedLink = KernelLink(network)
                    if not network.rates:
                        link = RelayedLink(network, gateway.json("/api/status")["webrtc"]["udp_port"])
                        stack.push_async_callback(link.close)
                    found.append(await run(page, gateway.url, link))
                await page.close()
            if prints_log:
                print(gateway.log())
    cells = [cell([each[key] for each in found]) for key in ("first", "enough", "rate", "pause", "sub", "main")]
    return f"| {name} | {' | '.join(cells)} |"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default=";".join(NETWORKS), help="names, with ; between them")
    parser.add_argument("--log", action="store_true", help="print the gateway's log, with each change of the stream")
    options = parser.parse_args()
    if os.geteuid() or not shutil.which("tc"):
        parser.exit(1, "this needs root, ip and tc\n")
    print(
        "| network | first picture, s | 12 pictures/s from, s | then a second | longest pause, s | sub stream, s |",
        end="",
    )
    print(" main after good, s |\n|---|---|---|---|---|---|---|", flush=True)
    for name in options.only.split(";"):
        print(await measure(name, options.runs, prints_log=options.log), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
