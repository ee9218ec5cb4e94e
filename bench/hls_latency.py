"""Measure HLS latency on the screen: hls.js with low-latency and with plain HLS, and our player.

    make bench NAME=hls_latency ARGS='[--seconds 60] [--only hls.js,plain,player] [--camera fake://demo?fps=15&gop=2]'

The camera has a clock in its picture (:mod:`gateway.capture.engines.timecode`). The page reads it from each frame that
the browser presents, and compares it with the time at which that frame is on the screen. Gateway, browser and camera
share a machine and its clock. hls.js comes from ``npm ci --prefix tests``; ``player`` is ``<live-edge-player
transports="hls">`` of a whole gateway, which catches up in its own way.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.support.picture_reader import READER
from tests.support.browser import chromium
from tests.support.gateway_process import GatewayProcess
from tests.support.hls_server import HlsServer, hls_server, source_camera
from tests.support.player import embed, plays

MEASURE = f"""
async (seconds) => {{
  const read = {READER};
  const player = document.querySelector("live-edge-player");
  const video = player?.surface ?? document.querySelector("video");
  let left = 0;
  player?.addEventListener("statechange", () => {{ if (player.surface !== video) left++; }});
  const frame = () => new Promise((resolve) => video.requestVideoFrameCallback((_, data) => resolve(data)));
  await frame();
  // Joining is another figure than playing.
  await new Promise((resolve) => setTimeout(resolve, 3000));
  let stalls = 0, unread = 0;
  video.addEventListener("waiting", () => stalls++);
  const behind = [], until = performance.now() + seconds * 1000;
  while (performance.now() < until && left === 0) {{
    const data = await frame();
    const made = read(video);
    if (made === null) unread++;
    else behind.push(performance.timeOrigin + data.expectedDisplayTime - made);
  }}
  const target = window.hls ? `target ${{hls.targetLatency.toFixed(3)}} s` : "target of its own";
  return {{ behind, stalls, unread, target, faults: window.faults?.length ?? left }};
}}
"""


async def measure(url: str, seconds: float, *, low_latency: bool) -> dict[str, Any]:
    """The latencies of one player."""
    async with chromium() as browser:
        page = await browser.new_page()
        mode = "" if low_latency else "&plain=1"
        await page.goto(f"{url}/player?src=/hls/demo/index.m3u8{mode}")
        seen: dict[str, Any] = await page.evaluate(MEASURE, seconds)
    return seen


async def measure_player(camera: str, seconds: float) -> dict[str, Any]:
    """The latencies of our player, with a whole gateway."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"RTSP_URL": camera, "CAPTURE_ENGINE": "fake", "RECORD": "never", "START": "always"}
        with GatewayProcess(Path(folder), **settings) as gateway:
            async with chromium() as browser:
                page = await browser.new_page()
                await embed(page, gateway.url, 'transports="hls"', "default")
                await plays(page, "hls")
                seen: dict[str, Any] = await page.evaluate(MEASURE, seconds)
    return seen


def quantile(values: list[float], part: float) -> float:
    """A quantile of unsorted values."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def report(name: str, seen: dict[str, Any]) -> None:
    behind = seen["behind"]
    figures = {"p50": quantile(behind, 0.5), "p95": quantile(behind, 0.95), "max": max(behind)}
    told = "  ".join(f"{label} {value / 1000:5.2f} s" for label, value in figures.items())
    print(
        f"{name:12} {told}  {seen['target']}  {len(behind)} frames, {seen['unread']} unread,"
        f" {seen['stalls']} stalls, {seen['faults']} faults"
    )


async def serve(camera: str) -> None:
    """The gateway's part, in its own process."""
    async with hls_server({"demo": source_camera(camera, engine="fake")}) as server:
        print(json.dumps(_address(server)), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def _address(server: HlsServer) -> dict[str, str]:
    return {"url": server.url}


@contextmanager
def gateway(camera: str) -> Iterator[str]:
    """Start :func:`serve`; yield its address."""
    command = [sys.executable, "-m", "bench.hls_latency", "--camera", camera, "--serve"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.stdin.close()
        process.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each player plays")
    parser.add_argument("--only", default="hls.js,plain,player", help="which of them")
    parser.add_argument("--camera", default="fake://demo?width=1280&height=720&fps=15&gop=2")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.camera))
        return
    only = options.only.split(",")
    if only != ["player"]:
        with gateway(options.camera) as url:
            if "hls.js" in only:
                report("low latency", asyncio.run(measure(url, options.seconds, low_latency=True)))
            if "plain" in only:
                report("plain HLS", asyncio.run(measure(url, min(options.seconds, 30.0), low_latency=False)))
    if "player" in only:
        report("player", asyncio.run(measure_player(options.camera, options.seconds)))


if __name__ == "__main__":
    main()
