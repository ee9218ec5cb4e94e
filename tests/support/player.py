"""Put ``<live-edge-player>`` on a page, and check that it plays."""

from pathlib import Path

from playwright.async_api import Page

TIMEOUT_MS = 30_000
"""Limit of every wait. It is far more than any step takes, so that a loaded machine does not fail a test."""

BRIGHTNESS = """
async (player, count) => {
  const canvas = new OffscreenCanvas(32, 18);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const brightness = [];
  for (let i = 0; i < count; i++) {
    await new Promise((resolve) => setTimeout(resolve, 120));
    if (!player.surface) {
      brightness.push(0); // no surface between two transports
      continue;
    }
    context.drawImage(player.surface, 0, 0, 32, 18);
    const { data } = context.getImageData(0, 0, 32, 18);
    brightness.push(data.reduce((sum, value, index) => (index % 4 === 3 ? sum : sum + value), 0) / (32 * 18 * 3));
  }
  return brightness;
}
"""


def cameras(folder: Path, *names: str, extra: str = "") -> None:
    """Configure cameras that cost no CPU: a short clip that was encoded once, in a loop."""
    tables = [
        f'[cameras.{name}]\nurl = "packets://gop=30"\nengine = "tests.support.sources.engine:SourceEngine"\n{extra}'
        for name in names
    ]
    (folder / "liveedge.toml").write_text("\n".join(tables))


async def embed(page: Page, url: str, attributes: str = "", camera: str = "door") -> None:
    """The element alone, on an empty page of the gateway's origin."""
    await page.goto(f"{url}/health")
    await page.evaluate(
        """([base, camera, attributes]) => {
          document.body.innerHTML = `<live-edge-player camera="${camera}" lang="en" ${attributes}></live-edge-player>`;
          return import(`${base}/static/player.js`).then(() => null);
        }""",
        [url, camera, attributes],
    )


async def plays(page: Page, transport: str | None = None, selector: str = "live-edge-player") -> None:
    """Wait for decoded, changing, non-black frames over a transport, or over any transport."""
    await page.wait_for_function(
        """([selector, wanted]) => {
          const { transport } = document.querySelector(selector)?.state ?? {};
          return wanted === null ? transport : transport === wanted;
        }""",
        arg=[selector, transport],
        timeout=TIMEOUT_MS,
    )
    for _ in range(TIMEOUT_MS // 1000):
        # A transport that is kept during an outage shows a still frame until the camera is back.
        brightness: list[float] = await page.eval_on_selector(selector, f"(player) => ({BRIGHTNESS})(player, 8)")
        if max(brightness) > 8 and len({round(light, 2) for light in brightness}) > 2:
            return
    raise AssertionError(f"no moving video: {brightness}")


async def notice(page: Page) -> str:
    """The notice that the player shows."""
    return str(await page.eval_on_selector("live-edge-player", "(player) => player.state.notice"))
