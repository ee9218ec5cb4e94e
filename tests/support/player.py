"""``<live-edge-player>`` in a page: put it there, and see whether it plays."""

from pathlib import Path

from playwright.async_api import Page

PATIENCE_MS = 30_000
"""How long a test waits for what has to come; no measure of speed."""

SAMPLE = """
async (player, count) => {
  const canvas = new OffscreenCanvas(32, 18);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const seen = [];
  for (let i = 0; i < count; i++) {
    await new Promise((resolve) => setTimeout(resolve, 120));
    if (!player.surface) {
      seen.push(0); // between two transports there is nothing to see
      continue;
    }
    context.drawImage(player.surface, 0, 0, 32, 18);
    const { data } = context.getImageData(0, 0, 32, 18);
    seen.push(data.reduce((sum, value, index) => (index % 4 === 3 ? sum : sum + value), 0) / (32 * 18 * 3));
  }
  return seen;
}
"""


def cameras(folder: Path, *names: str, extra: str = "") -> None:
    """Cameras that cost nothing: a short film, coded once, round and round."""
    tables = [
        f'[cameras.{name}]\nurl = "reel://gop=30"\nengine = "tests.support.reel_engine:ReelEngine"\n{extra}'
        for name in names
    ]
    (folder / "liveedge.toml").write_text("\n".join(tables))


async def embed(page: Page, url: str, attributes: str = "", camera: str = "door") -> None:
    """The element alone, on a page of the gateway's origin."""
    await page.goto(f"{url}/health")
    await page.evaluate(
        """([base, camera, attributes]) => {
          document.body.innerHTML = `<live-edge-player camera="${camera}" lang="en" ${attributes}></live-edge-player>`;
          return import(`${base}/static/player.js`).then(() => null);
        }""",
        [url, camera, attributes],
    )


async def plays(page: Page, transport: str | None = None, selector: str = "live-edge-player") -> None:
    """Decoded, changing, non-black pictures over a transport, or over any."""
    await page.wait_for_function(
        """([selector, wanted]) => {
          const { transport } = document.querySelector(selector)?.state ?? {};
          return wanted === null ? transport : transport === wanted;
        }""",
        arg=[selector, transport],
        timeout=PATIENCE_MS,
    )
    for _ in range(PATIENCE_MS // 1000):
        # A transport that is kept over an outage has a still picture until the camera is back.
        seen: list[float] = await page.eval_on_selector(selector, f"(player) => ({SAMPLE})(player, 8)")
        if max(seen) > 8 and len({round(light, 2) for light in seen}) > 2:
            return
    raise AssertionError(f"no moving picture: {seen}")


async def notice(page: Page) -> str:
    """What the player says beside the picture."""
    return str(await page.eval_on_selector("live-edge-player", "(player) => player.state.notice"))
