"""Measure the time to the first picture: Chromium joins a camera with a GOP of 10 s at random moments.

    make bench NAME=first_frame ARGS='[--joins 20]'

The page measures from before the POST of the offer to ``requestVideoFrameCallback``, over 4 Mbit/s at 30 fps. The page
is loaded and the offer made before that.
"""

import argparse
import asyncio
import random

from playwright.async_api import async_playwright

from bench.support import webrtc_load as load
from tests.support.browser import CHROMIUM, FLAGS

GOAL_P95_MS = 300.0

JOIN = """
async (url) => {
  const peer = new RTCPeerConnection();
  const video = document.createElement("video");
  video.muted = true; video.autoplay = true;
  document.body.replaceChildren(video);
  peer.ontrack = (event) => { video.srcObject = new MediaStream([event.track]); };
  peer.addTransceiver("video", { direction: "recvonly" });
  await peer.setLocalDescription();
  const began = performance.now();
  const headers = { "Content-Type": "application/sdp" };
  const reply = await fetch(url, { method: "POST", body: peer.localDescription.sdp, headers });
  await peer.setRemoteDescription({ type: "answer", sdp: await reply.text() });
  const answered = performance.now();
  const connected = new Promise((resolve) => {
    const look = () => { if (peer.connectionState === "connected") resolve(performance.now()); };
    peer.addEventListener("connectionstatechange", look); look();
  });
  await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
  const shown = performance.now();
  const result = { answered: answered - began, connected: await connected - began, shown: shown - began };
  await new Promise((resolve) => setTimeout(resolve, 1500));
  for (const item of (await peer.getStats()).values()) if (item.kind === "video" && item.type === "inbound-rtp") {
    result.freezes = item.freezeCount; result.decoded = item.framesDecoded;
  }
  peer.close();
  return result;
}
"""


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--joins", type=int, default=20)
    options = parser.parse_args()
    with load.server("liveedge", "--gop", "300") as server:
        results = []
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = await browser.new_page()
            await page.goto(f"{server.address}/")
            # The first connection of a browser starts its media services.
            await page.evaluate(JOIN, server.url)
            for _ in range(options.joins):
                await asyncio.sleep(random.uniform(0, 2))
                results.append(await page.evaluate(JOIN, server.url))
            await browser.close()
    for name in ("answered", "connected"):
        values = [result[name] for result in results]
        print(f"{name}: p50 {load.percentile(values, 50):.0f} ms, p95 {load.percentile(values, 95):.0f} ms")
    shown = [result["shown"] for result in results]
    freezes = sum(result.get("freezes") or 0 for result in results)
    p50, p95 = load.percentile(shown, 50), load.percentile(shown, 95)
    load.row(
        f"`bench.first_frame`, GOP 10 s, {len(results)} joins",
        f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, longest {max(shown):.0f} ms; {freezes} freezes",
        load.verdict(p95, GOAL_P95_MS, "ms p95"),
    )


if __name__ == "__main__":
    asyncio.run(main())
