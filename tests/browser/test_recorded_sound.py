"""The player plays a recording in which the sound ends and begins again: a source buffer takes no such change."""

from collections.abc import Callable
from pathlib import Path

from playwright.async_api import Page

from gateway.clock import CLOCK_RATE
from hls.archive.recording import SequenceNumbers
from tests.support.gateway_process import GatewayProcess
from tests.support.player import TIMEOUT_MS, cameras, embed
from tests.support.recording import index_of, record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode

PART_S = 3
PARTS = (True, False, True)
"""Whether each has sound."""

WATCH = """async (start) => {
  const player = document.querySelector("live-edge-player");
  window.seen = [];
  await player.seek(start);
  setInterval(() => seen.push((player.captureTime - start) / 1000), 50);
}"""


async def test_a_recording_is_played_on_where_its_sound_ends_and_begins(
    gateways: Callable[..., GatewayProcess], tmp_path: Path, page: Page
) -> None:
    cameras(tmp_path, "door", extra='record = "never"\n')
    numbers, recordings = SequenceNumbers(), []
    for place, has_sound in enumerate(PARTS):
        start_90k = START_90K + place * PART_S * CLOCK_RATE
        packets = encode(EncoderSettings(seconds=PART_S, audio=has_sound), start_90k, run=1 + place)
        recordings += record(tmp_path / "data", packets, numbers=numbers)
    index_of(tmp_path / "data", recordings).close()
    await embed(page, gateways().url, "muted")
    await page.evaluate(WATCH, START_90K // 90)
    end_s = len(PARTS) * PART_S
    await page.wait_for_function("end => seen.at(-1) > end", arg=end_s - 0.5, timeout=TIMEOUT_MS)
    seen: list[float] = await page.evaluate("seen.filter((at) => at >= 0)")
    for second in range(end_s):
        assert any(second <= at < second + 1 for at in seen), f"second {second} was not shown: {seen}"
    # Back over both changes, into the first part.
    await page.evaluate("start => document.querySelector('live-edge-player').seek(start + 1000)", START_90K // 90)
    await page.wait_for_function("seen.at(-1) > 1 && seen.at(-1) < 2.5", timeout=TIMEOUT_MS)
