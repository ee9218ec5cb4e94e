"""Measure seeks from the request to the picture: ``<live-edge-player>`` in two hours of archive, in Chromium.

    make bench NAME=seek ARGS='[--seeks 100] [--fps 10] [--gop 20]'

An hour is recorded, an hour is missing, an hour is recorded (640x360, a keyframe every 2 s). The page measures from
``player.seek()`` to the animation frame in which a canvas gets the picture of that moment from the player, recognised
by its grey. Besides seeks to random moments there are those of a drag: a few seconds from the last one.
"""

import argparse
import asyncio
import random
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Page

from bench.support.webrtc_load import percentile
from tests.support.browser import chromium
from tests.support.gateway_process import GatewayProcess
from tests.support.player import embed
from tests.support.sources.encoded import EncoderSettings
from tests.support.two_hours import HOUR_S, two_hours_of

GOAL_MS = 500.0

GREYS = 200
"""The number of greys of the pictures, one after the other."""

LATE = 12
"""A picture this many frames later still counts: the player plays on at once."""

APART = 30
"""The minimum difference in grey between two seeks, so that an old picture cannot pass for the new one."""

DRAG_S = 20.0

PATIENCE_MS = 20_000

SEEK = """
async ([time, number, greys, late, patience]) => {
  const player = document.querySelector("live-edge-player");
  const canvas = new OffscreenCanvas(4, 4);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const began = performance.now();
  player.seek(time * 1000);
  for (;;) {
    await new Promise((resolve) => requestAnimationFrame(resolve));
    const took = performance.now() - began;
    if (took > patience) return null;
    const { surface } = player;
    if (!(surface instanceof HTMLVideoElement) || !surface.classList.contains("shown")) continue;
    context.drawImage(surface, 0, 0, 4, 4);
    const light = context.getImageData(1, 1, 1, 1).data[0];
    const seen = Math.round(light * 219 / 255 + 16 - 20);
    if ((seen - number + greys) % greys <= late) return took;
  }
}
"""


class Moments:
    """Where to seek: random moments of the archive, each with the number of its picture."""

    def __init__(self, start_s: int, fps: int) -> None:
        self.start_s = start_s
        self.fps = fps
        self.random = random.Random(1)
        self.offset_s = 0.0

    def number(self, offset_s: float) -> int:
        """The number of the picture at an offset; in the gap it is the first picture after it."""
        hour, rest = divmod(offset_s, HOUR_S)
        return 0 if hour == 1 else int(rest * self.fps) % GREYS

    def next(self, *, is_drag: bool) -> tuple[float, int]:
        """A moment, Unix s, and the number of its picture."""
        before = self.number(self.offset_s)
        while True:
            offset_s = self.random.uniform(0, 3 * HOUR_S - 10)
            if is_drag:
                offset_s = self.offset_s + self.random.uniform(-DRAG_S, DRAG_S)
                if not 0 <= offset_s < 3 * HOUR_S - 10 or offset_s // HOUR_S == 1:
                    # Deep in the gap all moments have the same picture.
                    offset_s = self.random.uniform(0, HOUR_S)
            number = self.number(offset_s)
            if APART < (number - before) % GREYS < GREYS - APART:
                self.offset_s = offset_s
                # The middle of the picture, so that rounding does not select the previous one.
                return self.start_s + (int(offset_s * self.fps) + 0.5) / self.fps, number


async def measure(page: Page, moments: Moments, seeks: int, *, is_drag: bool) -> list[float]:
    took: list[float] = []
    for _ in range(seeks):
        time_s, number = moments.next(is_drag=is_drag)
        ms: Any = await page.evaluate(SEEK, [time_s, number, GREYS, LATE, PATIENCE_MS])
        if ms is None:
            raise SystemExit(f"no picture {moments.offset_s:.1f} s after the beginning in {PATIENCE_MS} ms")
        took.append(ms)
        # Let it play a little, like a user.
        await page.wait_for_timeout(300)
    return took


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeks", type=int, default=100)
    parser.add_argument("--fps", type=int, default=10)
    parser.add_argument("--gop", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start_s = two_hours_of(folder, EncoderSettings(fps=options.fps, gop=options.gop, width=640, height=360))
        moments = Moments(start_s, options.fps)
        with GatewayProcess(folder) as gateway:
            async with chromium() as browser:
                page = await browser.new_page(viewport={"width": 1280, "height": 720})
                await embed(page, gateway.url)
                # The first seek loads the code for recordings, and does not count.
                await measure(page, moments, 1, is_drag=False)
                for kind in ("anywhere", "drag"):
                    took = await measure(page, moments, options.seeks, is_drag=kind == "drag")
                    p50, p95, most = percentile(took, 50), percentile(took, 95), max(took)
                    met = "met" if p95 <= GOAL_MS else "missed"
                    print(
                        f"{kind:<9} {len(took)} seeks: p50 {p50:.0f}, p95 {p95:.0f}, max {most:.0f} ms"
                        f" (goal p95 {GOAL_MS:.0f} ms: {met})"
                    )


if __name__ == "__main__":
    asyncio.run(main())
