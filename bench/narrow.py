"""Measure a viewer on bad networks, of a camera with a sub stream, in a real Chromium, until the network is good again.

    make bench NAME=narrow ARGS='[--runs 3] [--only "300 kbit/s;5 % loss"] [--log]'

The camera sends 4 Mbit/s at 1280x720, and 250 kbit/s at 640x360, both with 15 pictures a second and a keyframe every
2 s; its sub stream is captured when a viewer needs it. The viewer joins by WHEP with ``rendition=auto``. Narrow links
are the kernel's: a network namespace behind ``tbf``, for root on Linux. Loss and delay are of
:mod:`tests.support.netem`, as most kernels do not have theirs. At the end the link becomes good.

A row has: how long the first picture took from the offer; from when on there are 12 pictures in every second, until the
link changes; the same for each later change, of which the slowest counts; how many seconds have fewer pictures later
than 3 s after a change, of those that begin every tenth of a second, in percent; the longest pause of these times; when
the viewer got the sub stream; how long after the link was good it saw the main stream's first picture, and the longest
pause of the good link, with that switch. Cells are the median and the worst of the runs.
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
SETTLED_S = 3.0
"""After a change of the link."""
MAIN_WIDTH = 1280
GOOD = Link(delay_s=0.01)


@dataclass(frozen=True)
class Network:
    """A bad network: ``tc`` rates, or else links in user space, each with how long it lasts in seconds."""

    rates: tuple[tuple[str, float], ...] = ()
    queue: str = QUEUE
    """Of the bad network, and of the good one after it."""
    links: tuple[tuple[Link | None, float], ...] = ()
    """``None``: nothing arrives."""
    leaves_out: tuple[str, ...] = ()
    """The RTCP feedback that the viewer does not offer."""
    is_tcp: bool = False
    """The viewer connects over TCP."""

    @property
    def spans(self) -> tuple[float, ...]:
        """How long each of its states lasts, in seconds."""
        return tuple(seconds for _, seconds in self.rates or self.links)


NETWORKS = {
    "300 kbit/s": Network((("300kbit", 15.0),)),
    "1 Mbit/s with steps": Network((("1mbit", 8.0), ("500kbit", 8.0), ("300kbit", 8.0), ("1mbit", 6.0))),
    "bufferbloat, 1 Mbit/s": Network((("1mbit", 15.0),), queue="1mb"),
    "bufferbloat, 300 kbit/s": Network((("300kbit", 15.0),), queue="1mb"),
    "sudden drop: 20 Mbit/s, then 300 kbit/s": Network((("20mbit", 10.0), ("300kbit", 12.0))),
    "sudden drop, bufferbloat": Network((("20mbit", 10.0), ("300kbit", 12.0)), queue="1mb"),
    "5 % loss": Network(links=((Link(loss=0.05, delay_s=0.01), 15.0),)),
    "200 ms, jitter 30 ms": Network(links=((Link(delay_s=0.1, jitter_s=0.03), 15.0),)),
    "200 ms, 300 kbit/s": Network(links=((Link(delay_s=0.1, bits_per_s=300_000, queue_bytes=40_000), 15.0),)),
    "5 % loss, 600 kbit/s": Network(
        links=((Link(loss=0.05, delay_s=0.02, bits_per_s=600_000, queue_bytes=40_000), 15.0),)
    ),
    "dead for 10 s": Network(links=((GOOD, 6.0), (None, 10.0))),
    "300 kbit/s, REMB only": Network((("300kbit", 15.0),), leaves_out=("transport-cc",)),
    "300 kbit/s, receiver reports only": Network((("300kbit", 15.0),), leaves_out=("transport-cc", "goog-remb")),
    "300 kbit/s, TCP": Network((("300kbit", 15.0),), is_tcp=True),
}

JOIN = """
async ({ leavesOut, isTcp }) => {
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
  const without = (sdp, isLeftOut) => sdp.split("\\r\\n").filter(line => !isLeftOut(line)).join("\\r\\n");
  const body = without(peer.localDescription.sdp, line => leavesOut.some(each => line.includes(each)));
  const reply = await fetch("/whep/loop", { method: "POST", headers, body });
  const isUdp = line => isTcp && line.startsWith("a=candidate") && line.toLowerCase().includes(" udp ");
  await peer.setRemoteDescription({ type: "answer", sdp: without(await reply.text(), isUdp) });
}
"""

Picture = tuple[float, int]
KEYS = {
    "first": "first picture, s",
    "enough": "12 pictures/s from, s",
    "later": "after a change, s",
    "poor": "seconds with fewer, %",
    "pause": "longest pause, s",
    "sub": "sub stream, s",
    "main": "main after good, s",
    "then": "longest pause there, s",
}


def shape(rate: str, queue: str) -> None:
    """Give the link a rate and a queue, of ``tc``."""
    subprocess.run(f"tc qdisc change dev {VETH} root tbf rate {rate} burst 4kb limit {queue}".split(), check=True)


def is_enough(times: list[float], begin_s: float) -> bool:
    """Whether this second has :data:`WANTED_PER_S` pictures."""
    return sum(begin_s <= at < begin_s + 1 for at in times) >= WANTED_PER_S


def enough_after(times: list[float], begin_s: float, end_s: float) -> float | None:
    """How long after ``begin_s`` every second until ``end_s`` has enough pictures; ``None``: never."""
    steps = range(int((end_s - begin_s - 1) * 10) + 1)
    last = max((step for step in steps if not is_enough(times, begin_s + step / 10)), default=-1)
    return None if last == steps[-1] else (last + 1) / 10


def longest_pause(times: list[float], spans: list[tuple[float, float]]) -> float | None:
    """The longest time between two pictures of which a part is in one of the spans."""
    found = [
        after - before
        for before, after in pairwise(times)
        if any(begin <= after and before < end for begin, end in spans)
    ]
    return max(found, default=None)


async def join(page: Page, network: Network) -> None:
    """Begin to watch."""
    await page.evaluate(JOIN, {"leavesOut": network.leaves_out, "isTcp": network.is_tcp})


class KernelLink:
    """A browser in a namespace; :func:`shape` is its link."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def join(self, page: Page, url: str) -> None:
        shape(GOOD_RATE, self._network.queue)
        await page.goto(f"{url}/health")
        shape(self._network.rates[0][0], self._network.queue)
        await join(page, self._network)

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
        link = network.links[0][0] or GOOD
        self._udp = UdpNetwork(udp_port, link, Link(link.loss, link.delay_s))

    async def join(self, page: Page, url: str) -> None:
        await self._udp.start()

        async def lead(route: Route) -> None:
            answer = await route.fetch()
            await route.fulfill(response=answer, body=self._udp.answer(await answer.text()))

        await page.route("**/whep/loop", lead)
        await page.goto(f"{url}/health")
        await join(page, self._network)

    async def suffer(self) -> None:
        for link, seconds in self._network.links:
            if link is None:
                self._udp.cut()
            else:
                self._udp.down.link, self._udp.up.link = link, Link(link.loss, link.delay_s)
            await asyncio.sleep(seconds)
        self._udp.restore()
        self._udp.down.link = self._udp.up.link = GOOD

    async def close(self) -> None:
        await self._udp.close()


async def run(page: Page, url: str, network: Network, link: KernelLink | RelayedLink) -> dict[str, float | None]:
    """One viewer, from its join to the main stream over a good link. All times in seconds."""
    await link.join(page, url)
    await link.suffer()
    good_s: float = await page.evaluate("() => passed()")
    await asyncio.sleep(GOOD_S)
    pictures: list[Picture] = await page.evaluate("() => seen")
    await page.evaluate("() => peer.close()")
    times = [at for at, _ in pictures]
    ends = [good_s - sum(network.spans[place + 1 :]) for place in range(len(network.spans))]
    spans = [
        span
        for span, state in zip(pairwise([0.0, *ends]), network.rates or network.links, strict=True)
        if state[0] is not None
    ]
    enough = [enough_after(times, *each) for each in spans]
    settled = [(begin + SETTLED_S, end) for begin, end in spans]
    starts = [begin + step / 10 for begin, end in settled for step in range(int((end - begin - 1) * 10))]
    main = next((at for at, width in pictures if at >= good_s and width == MAIN_WIDTH), None)
    return {
        "first": times[0] if times else None,
        "enough": enough[0],
        "later": None if None in enough[1:] else max((each for each in enough[1:] if each is not None), default=0.0),
        "poor": 100 * sum(not is_enough(times, begin) for begin in starts) / len(starts),
        "pause": longest_pause(times, settled),
        "sub": next((at for at, width in pictures if at < good_s and width != MAIN_WIDTH), None),
        "main": main - good_s if main is not None else None,
        "then": longest_pause(times, [(good_s, good_s + GOOD_S)]),
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
                    found.append(await run(page, gateway.url, network, link))
                await page.close()
            if prints_log:
                print(gateway.log())
    cells = [cell([each[key] for each in found]) for key in KEYS]
    return f"| {name} | {' | '.join(cells)} |"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default=";".join(NETWORKS), help="names, with ; between them")
    parser.add_argument("--log", action="store_true", help="print the gateway's log, with each change of the stream")
    options = parser.parse_args()
    if os.geteuid() or not shutil.which("tc"):
        parser.exit(1, "this needs root, ip and tc\n")
    print(f"| network | {' | '.join(KEYS.values())} |\n|{'---|' * (len(KEYS) + 1)}", flush=True)
    for name in options.only.split(";"):
        print(await measure(name, options.runs, prints_log=options.log), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
