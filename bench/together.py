"""Measure how far nine recordings on one clock are apart, at each speed and after steps, in Chromium.

    make bench NAME=together [ARGS='--cameras 9 --seconds 8 --rates 0.25,0.5,1,2,4,8,16']

Nine cameras have the same pictures at the same times (20 fps, a keyframe every second), each recognised by its grey. A
look reads all tiles at one moment; their distance is that of the earliest from the latest picture, in the time of the
recording. Above 4x the page plays keyframes alone, one in 250 ms: there a distance is a number of keyframes, and a look
may come between the changes of two tiles. The goal is 100 ms.
"""

import argparse
import asyncio
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from playwright.async_api import Page

from bench.support.webrtc_load import percentile
from gateway.clock import CLOCK_RATE
from hls.archive.recording import SequenceNumbers
from tests.support.browser import chromium
from tests.support.gateway_process import GatewayProcess
from tests.support.player import cameras
from tests.support.recording import index_of, record
from tests.support.sources.encoded import EncoderSettings
from tests.support.together import FPS, SHOWN, apart_ms
from tests.support.two_hours import repeated

GOAL_MS = 100.0

RECORDED_S = 420

SETTLE_S = 4.0
"""After a change of the speed, before the looks."""


async def looks(page: Page, seconds: float) -> tuple[list[float], int, int]:
    """Distances of the looks at all tiles, how many looks had a tile without a picture, and how many differed."""
    found, lacking, moments = [], 0, set()
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        numbers = await page.evaluate(SHOWN)
        if None in numbers or not numbers:
            lacking += 1
        else:
            found.append(apart_ms(numbers))
            moments.add(tuple(numbers))
        await asyncio.sleep(0.1)
    return found, lacking, len(moments)


async def begin(page: Page, url: str) -> None:
    """Open the playback anew, and wait until all tiles show a picture."""
    await page.goto("about:blank")
    await page.goto(url)
    await page.wait_for_function(f"() => ({SHOWN})().every((each) => each !== null)", timeout=60_000)


def report(what: str, distances: list[float], lacking: int, moments: int) -> None:
    """One line."""
    if not distances:
        print(f"{what:>9}: no picture in {lacking} looks", flush=True)
        return
    p50, p95, most = percentile(distances, 50), percentile(distances, 95), max(distances)
    verdict = "" if p95 <= GOAL_MS else "  above the goal"
    over = sum(each > GOAL_MS for each in distances)
    print(
        f"{what:>9}: p50 {p50:.0f}, p95 {p95:.0f}, most {most:.0f} ms apart; {over} of {len(distances)} looks above"
        f" {GOAL_MS:.0f} ms; {moments} moments; {lacking} looks lacked a tile{verdict}",
        flush=True,
    )


async def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=8.0, help="of looks at each speed")
    parser.add_argument("--rates", default="0.25,0.5,1,2,4,8,16")
    args = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; distances in the time of the recording")
    ids = [f"cam{number}" for number in range(1, args.cameras + 1)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cameras(folder, *ids, extra='record = "never"\nstart = "on-demand"\n')
        start_s = int(time.time()) // 60 * 60 - RECORDED_S - 600
        recordings = []
        for camera in ids:
            packets = repeated(EncoderSettings(fps=FPS, gop=FPS), start_s * CLOCK_RATE, RECORDED_S)
            recordings += record(folder / "data", packets, camera, 120, SequenceNumbers())
        index_of(folder / "data", recordings).close()
        with GatewayProcess(folder) as gateway:
            async with chromium() as browser:
                page = await browser.new_page(viewport={"width": 1600, "height": 1000}, locale="en")
                moment = datetime.fromtimestamp(start_s + 30, UTC).isoformat().replace("+00:00", "Z")
                url = f"{gateway.url}/#/playback?cameras={','.join(ids)}&t={moment}"
                for rate in args.rates.split(","):
                    await begin(page, url)
                    await page.get_by_role("combobox", name="Speed").select_option(rate)
                    await asyncio.sleep(SETTLE_S)
                    report(f"{rate}x", *await looks(page, args.seconds))
                await begin(page, url)
                await page.keyboard.press(" ")
                await asyncio.sleep(SETTLE_S)
                for key, what in ((".", "step"), (",", "step back")):
                    distances: list[float] = []
                    lacking = moments = 0
                    for _ in range(5):
                        await page.keyboard.press(key)
                        await asyncio.sleep(1.5)
                        found, lacks, differ = await looks(page, 0.3)
                        distances, lacking, moments = distances + found, lacking + lacks, moments + differ
                    report(what, distances, lacking, moments)


if __name__ == "__main__":
    asyncio.run(main())
