"""hls.js in Chromium plays a recording: over segment boundaries, a change of size and a gap, to its end, and seeks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, to_rfc3339
from hls.archive.recording import SequenceNumbers
from tests.support.browser import headless_shell
from tests.support.hls_server import HLS_JS, PLAYER, SOURCE_ENGINE
from tests.support.partial_app import app_with_routes
from tests.support.recording import index_of, record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode
from web.api.routes import downloads, dvr
from web.gateway import Gateway
from web.settings import load_settings

SPAN = "start=2026-11-22T18:50:01Z&end=2026-11-22T18:52:00Z"


RANGES = """async (playlist) => {
  // As a player does: the newest range of a playlist, and that of a later one which is in the same file.
  let answers = [];
  let file = "";
  for (let last = ""; answers.length < 2; await new Promise((resolve) => setTimeout(resolve, 100))) {
    const text = await (await fetch(playlist)).text();
    const [, size, offset, address] = text.match(/EXT-X-BYTERANGE:(\\d+)@(\\d+)\\n(\\S+)\\n*$/) ?? [];
    if (!size || last === offset) continue;
    last = offset;
    if (address !== file) answers = [];
    file = address;
    const range = `bytes=${offset}-${Number(offset) + Number(size) - 1}`;
    const answer = await fetch(new URL(address, new URL(playlist, location)), { headers: { range } });
    answers.push([answer.status, (await answer.arrayBuffer()).byteLength - Number(size)]);
  }
  return answers;
}"""


async def _player(_: web.Request) -> web.Response:
    return web.Response(text=PLAYER, content_type="text/html")


@asynccontextmanager
async def gateway(data_dir: Path, **camera: str) -> AsyncIterator[str]:
    """A server with the routes of the archive, camera "door" and hls.js. Returns its URL."""
    settings = load_settings(data_dir=data_dir, cameras={"door": camera}, archive_min_free_bytes=0)
    gateway = Gateway(settings)
    service, archive = gateway.service, gateway.archive
    app = app_with_routes(gateway, dvr, downloads)
    app.router.add_get("/player", _player)
    app.router.add_static("/hls.js", HLS_JS)
    await archive.start()
    service.start()
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        await service.close()
        await archive.close()
        gateway.archive_reader.close()


async def test_recording_plays_over_boundaries_and_gaps_to_its_end(tmp_path: Path) -> None:
    numbers = SequenceNumbers()
    recordings = record(tmp_path, encode(EncoderSettings(seconds=12, audio=True)), segment_s=6, numbers=numbers)
    later = encode(EncoderSettings(seconds=6, width=320, height=240, audio=True), START_90K + 60 * CLOCK_RATE, run=2)
    recordings += record(tmp_path, later, segment_s=6, numbers=numbers)
    index_of(tmp_path, recordings).close()

    async with (
        gateway(tmp_path, url="rtsp://127.0.0.1:9/door", start="on-demand") as address,
        headless_shell() as browser,
    ):
        page = await browser.new_page()
        await page.goto(f"{address}/player?src={quote(f'/hls/door/dvr.m3u8?{SPAN}', safe='')}")
        await page.wait_for_function("() => document.querySelector('video').currentTime > 1.2")
        state = await page.evaluate(
            "(() => { const v = document.querySelector('video');"
            " return [v.duration, v.seekable.end(0), v.videoWidth]; })()"
        )
        assert [round(state[0]), round(state[1]), state[2]] == [18, 18, 160]
        # Over the boundary of two segments, then over the gap into frames of another size.
        for seek, until, width in ((5.5, 6.6, 160), (11.5, 12.6, 320)):
            await page.evaluate(f"document.querySelector('video').currentTime = {seek}")
            await page.wait_for_function(
                f"(v => !v.seeking && v.currentTime > {until} && v.videoWidth === {width})"
                "(document.querySelector('video'))"
            )
        date = await page.evaluate("hls.playingDate.toISOString()")
        assert date.startswith("2026-11-22T18:51:0"), "the wall clock skips the gap"
        await page.evaluate("document.querySelector('video').currentTime = 17")
        await page.wait_for_function("() => document.querySelector('video').ended")
        assert [fault for fault in await page.evaluate("faults") if fault["fatal"]] == []


async def test_playlist_without_an_end_continues_into_live(tmp_path: Path) -> None:
    """6 s of recording, a gap, and a camera that is live: one playlist plays all, and what is recorded meanwhile."""
    began_90k = SYSTEM_CLOCK.wall_90k() - 9 * CLOCK_RATE
    index_of(tmp_path, record(tmp_path, encode(EncoderSettings(seconds=6), began_90k), segment_s=86_400)).close()
    camera = {"url": "packets://width=320,height=180", "engine": SOURCE_ENGINE, "record": "always", "start": "always"}
    async with gateway(tmp_path, **camera) as address, headless_shell() as browser:
        page = await browser.new_page()
        span = f"start={to_rfc3339(began_90k)}"
        await page.goto(f"{address}/player?plain&src={quote(f'/hls/door/dvr.m3u8?{span}', safe='')}")
        other = await (await browser.new_context()).new_page()  # with a cache of its own
        await other.goto(f"{address}/player")
        ranges = asyncio.create_task(other.evaluate(RANGES, "/hls/door/dvr.m3u8"))
        for until_s, width in ((1, 160), (7, 320), (13, 320)):
            await page.wait_for_function(
                f"(v => v.currentTime > {until_s} && v.videoWidth === {width})(document.querySelector('video'))",
                timeout=60_000,
            )
        # A browser that has stored a range of a file must not get the whole file instead of the next one.
        assert await ranges == [[206, 0]] * 2
        behind_s = await page.evaluate("(Date.now() - hls.playingDate) / 1000")
        assert 0 < behind_s < 30
        assert [fault for fault in await page.evaluate("faults") if fault["fatal"]] == []
