"""A real Chromium, and the frames that a ``<video>`` presents.

Most tests use Chromium's headless shell, Playwright's default: the same engine without the windows of a desktop. It
starts and opens a page with a third of the CPU time. The whole browser runs in benchmarks, in tests of cameras and
microphones of a browser, of tabs (``tests.support.tabs``), and of WebRTC clients.
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from playwright.async_api import Browser, Page, async_playwright

from tests.support.eventually import eventually

CHROMIUM = "/usr/bin/chromium"

HEADLESS_SHELL = shutil.which("chromium-headless-shell") or CHROMIUM
"""Debian packages it separately. Where there is none, Chromium has a headless mode of its own."""

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
]

LOOK = """
async (video, frames) => {
  // Wait for presented frames, and describe each; null where none comes: the player may have another element by now.
  const canvas = document.createElement("canvas");
  canvas.width = 64; canvas.height = 36;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const seen = [];
  while (seen.length < frames) {
    const metadata = await new Promise((resolve) => {
      video.requestVideoFrameCallback((_, data) => resolve(data));
      setTimeout(() => resolve(null), 5000);
    });
    if (metadata === null) return null;
    context.drawImage(video, 0, 0, 64, 36);
    const pixels = context.getImageData(0, 0, 64, 36).data;
    let sum = 0, hash = 0;
    if (pixels[3] === 0) continue; // drawn before the element had a frame: transparent, not black
    for (let p = 0; p < pixels.length; p += 4) {
      const light = pixels[p] + pixels[p + 1] + pixels[p + 2];
      sum += light; hash = (hash * 31 + light) | 0;
    }
    seen.push({ light: sum / (64 * 36 * 3), hash, width: metadata.width, height: metadata.height });
  }
  return seen;
}
"""


@asynccontextmanager
async def chromium(*flags: str, program: str = CHROMIUM) -> AsyncIterator[Browser]:
    """Debian's Chromium, headless."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            await browser.close()


def headless_shell(*flags: str) -> AbstractAsyncContextManager[Browser]:
    """A Chromium for a test."""
    return chromium(*flags, program=HEADLESS_SHELL)


async def look(page: Page, selector: str = "video", frames: int = 10) -> list[dict[str, Any]]:
    """``frames`` presented frames of a video: mean brightness (0 to 255), hash and size in pixels."""

    async def seen() -> Any:
        video = await page.wait_for_selector(selector, state="attached")
        assert video is not None
        return await video.evaluate(f"(video, frames) => ({LOOK})(video, frames)", frames)

    found: list[dict[str, Any]] = await eventually(seen, f"{selector} presents {frames} frames")
    return found


def assert_moving_picture(seen: list[dict[str, Any]]) -> None:
    """Assert that the frames are not black, and that they differ."""
    assert min(frame["light"] for frame in seen) > 8, seen
    assert len({frame["hash"] for frame in seen}) > 1, seen


class DevTools(Protocol):
    """A session of a page: Playwright's, or another."""

    async def send(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a command and return its result."""
        ...


async def count_kept(cdp: DevTools, name: str) -> int:
    """How many objects of a class the page still has after its garbage was collected. ``name`` is an expression."""
    group = {"objectGroup": "count_kept"}
    await cdp.send("HeapProfiler.collectGarbage")
    prototype = await cdp.send("Runtime.evaluate", {"expression": f"{name}.prototype", **group})
    found = await cdp.send("Runtime.queryObjects", {"prototypeObjectId": prototype["result"]["objectId"], **group})
    array = {"objectId": found["objects"]["objectId"], "returnByValue": True}
    length = await cdp.send(
        "Runtime.callFunctionOn", {**array, "functionDeclaration": "function () { return this.length; }"}
    )
    await cdp.send("Runtime.releaseObjectGroup", group)
    return int(length["result"]["value"])
