"""How far behind the camera's clock a picture is on the screen: hls.js in Chromium, low-latency beside plain HLS.

    uv run python -m bench.hls_latency [--seconds 60] [--camera fake://demo?fps=15&gop=2]

The camera films a clock (:mod:`gateway.capture.picture_clock`); the page reads it off each frame that the browser
presents and compares it with the time at which that frame is on the screen. Gateway, browser and camera share a machine
and its clock. The player comes from ``npm ci --prefix tests``.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.browser import chromium
from tests.support.hls_server import HlsServer, hls_server, reel_camera

MEASURE = """
async ([seconds, columns, rows, height]) => {
  const video = document.querySelector("video");
  const canvas = document.createElement("canvas");
  canvas.width = columns * 4; canvas.height = rows * 4;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const check = (bytes) => {
    let crc = 0xffff;
    for (const byte of bytes) {
      crc ^= byte << 8;
      for (let i = 0; i < 8; i++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
    }
    return crc;
  };
  const read = () => {
    const top = video.videoHeight * (1 - height);
    context.drawImage(video, 0, top, video.videoWidth, video.videoHeight - top, 0, 0, canvas.width, canvas.height);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const bytes = new Uint8Array(8);
    for (let bit = 0; bit < 64; bit++) {
      const x = (bit % columns) * 4 + 2, y = Math.floor(bit / columns) * 4 + 2;
      if (pixels[(y * canvas.width + x) * 4] > 83) bytes[bit >> 3] |= 0x80 >> (bit & 7);
    }
    if (check(bytes.slice(0, 6)) !== (bytes[6] << 8 | bytes[7])) return null;
    return bytes.slice(0, 6).reduce((sum, byte) => sum * 256 + byte, 0);
  };
  const frame = () => new Promise((resolve) => video.requestVideoFrameCallback((_, data) => resolve(data)));
  await frame();
  // Joining is another figure than playing.
  await new Promise((resolve) => setTimeout(resolve, 3000));
  let stalls = 0, unread = 0;
  video.addEventListener("waiting", () => stalls++);
  const behind = [], until = performance.now() + seconds * 1000;
  while (performance.now() < until) {
    const data = await frame();
    const made = read();
    if (made === null) unread++;
    else behind.push(performance.timeOrigin + data.expectedDisplayTime - made);
  }
  return { behind, stalls, unread, target: hls.targetLatency, faults: window.faults };
}
"""


async def measure(url: str, seconds: float, *, low_latency: bool) -> dict[str, Any]:
    """What one player sees."""
    async with chromium() as browser:
        page = await browser.new_page()
        mode = "" if low_latency else "&plain=1"
        await page.goto(f"{url}/player?src=/hls/demo/index.m3u8{mode}")
        seen: dict[str, Any] = await page.evaluate(MEASURE, [seconds, 32, 2, 1 / 20])
    return seen


def quantile(values: list[float], part: float) -> float:
    """A quantile of unsorted values."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def report(name: str, seen: dict[str, Any]) -> None:
    behind = seen["behind"]
    figures = {"p50": quantile(behind, 0.5), "p95": quantile(behind, 0.95), "max": max(behind)}
    told = "  ".join(f"{label} {value / 1000:5.2f} s" for label, value in figures.items())
    print(
        f"{name:12} {told}  target {seen['target']:.3f} s  {len(behind)} frames, {seen['unread']} unread,"
        f" {seen['stalls']} stalls, {len(seen['faults'])} faults"
    )


async def serve(camera: str) -> None:
    """The gateway's part, in a process of its own."""
    async with hls_server({"demo": reel_camera(camera, engine="fake")}) as server:
        print(json.dumps(_address(server)), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def _address(server: HlsServer) -> dict[str, str]:
    return {"url": server.url}


@contextmanager
def gateway(camera: str) -> Iterator[str]:
    """Start :func:`serve`; its address."""
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
    parser.add_argument("--camera", default="fake://demo?width=1280&height=720&fps=15&gop=2")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.camera))
        return
    with gateway(options.camera) as url:
        report("low latency", asyncio.run(measure(url, options.seconds, low_latency=True)))
        report("plain HLS", asyncio.run(measure(url, min(options.seconds, 30.0), low_latency=False)))


if __name__ == "__main__":
    main()
