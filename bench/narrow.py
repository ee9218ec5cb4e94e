"""Measure a viewer behind a narrow link of the kernel, of a camera with a sub stream, until the link is good again.

    make bench NAME=narrow ARGS='[--runs 3] [--kbps 300] [--log]'

For root on Linux: a network namespace behind ``tbf``. The camera sends 4 Mbit/s at 1280x720, and 250 kbit/s at 640x360,
both with 15 pictures a second and a keyframe every 2 s; its sub stream is captured when a viewer needs it. A real
Chromium in the namespace joins by WHEP with ``rendition=auto``. After ``NARROW_S`` the link becomes good.

A row has: how long the first picture took from the offer; from when on there are 12 pictures in every second; how many
pictures a second there were after that; when the viewer got the sub stream; how long after the link was good it got the
main stream, and saw its first picture.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from statistics import median

from playwright.async_api import Page, async_playwright

from bench.network import OUTSIDE, VETH, namespace
from tests.support.browser import FLAGS
from tests.support.gateway_process import GatewayProcess

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
NARROW_S = 15.0
GOOD_S = 12.0
GOOD_RATE = "20mbit"
WANTED_PER_S = 12
MAIN_WIDTH = 1280

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
  const note = (now, metadata) => {
    seen.push([passed(), metadata.width]);
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);
  const headers = { "Content-Type": "application/sdp" };
  const reply = await fetch("/whep/loop", { method: "POST", headers, body: peer.localDescription.sdp });
  await peer.setRemoteDescription({ type: "answer", sdp: await reply.text() });
}
"""

Picture = tuple[float, int]


def shape(rate: str) -> None:
    """Give the link a rate, of ``tc``."""
    subprocess.run(f"tc qdisc change dev {VETH} root tbf rate {rate} burst 4kb limit 40kb".split(), check=True)


def enough_from(pictures: list[Picture], until_s: float) -> float | None:
    """From when on every second has :data:`WANTED_PER_S` pictures; ``None``: never."""
    times = [at for at, _ in pictures if at < until_s]
    for began in range(int(until_s * 10)):
        starts = [began / 10 + step / 10 for step in range(int((until_s - began / 10 - 1) * 10))]
        if not starts:
            return None
        if all(sum(start <= at < start + 1 for at in times) >= WANTED_PER_S for start in starts):
            return began / 10
    return None


async def run(page: Page, url: str, rate: str) -> dict[str, float | None]:
    """One viewer, from its join to the main stream over a good link. All times in seconds."""
    shape(GOOD_RATE)
    await page.goto(f"{url}/health")
    shape(rate)
    await page.evaluate(JOIN)
    await asyncio.sleep(NARROW_S)
    shape(GOOD_RATE)
    good_s: float = await page.evaluate("() => passed()")
    await asyncio.sleep(GOOD_S)
    pictures: list[Picture] = await page.evaluate("() => seen")
    await page.evaluate("() => peer.close()")
    narrow = [(at, width) for at, width in pictures if at < good_s]
    enough = enough_from(narrow, good_s)
    main = next((at for at, width in pictures if at >= good_s and width == MAIN_WIDTH), None)
    return {
        "first": pictures[0][0] if pictures else None,
        "enough": enough,
        "rate": sum(at >= enough for at, _ in narrow) / (good_s - enough) if enough is not None else None,
        "sub": next((at for at, width in narrow if width != MAIN_WIDTH), None),
        "main": main - good_s if main is not None else None,
    }


def cell(values: list[float | None]) -> str:
    """Median and worst of the runs; ``-`` for what did not happen in one of them."""
    found = [value for value in values if value is not None]
    if len(found) < len(values):
        return f"- ({len(found)} of {len(values)})"
    return f"{median(found):.1f} / {max(found):.1f}"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kbps", type=int, default=300)
    parser.add_argument("--log", action="store_true", help="print the gateway's log, with each change of the stream")
    options = parser.parse_args()
    if os.geteuid() or not shutil.which("tc"):
        parser.exit(1, "this needs root, ip and tc\n")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "liveedge.toml").write_text(CAMERA)
        with (
            namespace(Path(folder)) as browser,
            GatewayProcess(Path(folder), HOST=OUTSIDE, AUTH_DISABLED="true", WEBRTC_HOSTS=OUTSIDE) as gateway,
        ):
            gateway.wait_for_state("live", "loop")
            # The loops are encoded when they are first played. A camera has no such pause.
            gateway.fetch("/snapshot/loop.jpg?width=16")
            gateway.fetch("/mjpeg/loop?width=16", method="HEAD")
            async with async_playwright() as playwright:
                chromium = await playwright.chromium.launch(executable_path=browser, args=FLAGS)
                for _ in range(options.runs):
                    page = await (await chromium.new_context()).new_page()
                    found.append(await run(page, gateway.url, f"{options.kbps}kbit"))
                    await page.close()
                    # Then the sub stream is captured no more.
                    await asyncio.sleep(LINGER_S)
                await chromium.close()
            if options.log:
                print(gateway.log())
    print("| link | first picture, s | 12 pictures/s from, s | then a second | sub stream, s | main after good, s |")
    print("|---|---|---|---|---|---|")
    cells = [cell([each[name] for each in found]) for name in ("first", "enough", "rate", "sub", "main")]
    print(f"| {options.kbps} kbit/s | {' | '.join(cells)} |")


if __name__ == "__main__":
    asyncio.run(main())
