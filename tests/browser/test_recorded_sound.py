"""Players play a recording in which the sound ends and begins again: a source buffer takes no such change."""

from collections.abc import Callable
from pathlib import Path

from playwright.async_api import Page

from gateway.clock import CLOCK_RATE
from hls.archive.recording import SequenceNumbers
from tests.support.gateway_process import GatewayProcess
from tests.support.hls_server import NODE_MODULES
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
  const isRecorded = () => player.captureTime !== null && player.captureTime < start + 60_000; // not live any more
  setInterval(() => isRecorded() && seen.push((player.captureTime - start) / 1000), 50);
}"""

SCRIPTS = ("hls.js/dist/hls.min.js", "shaka-player/dist/shaka-player.compiled.js", "video.js/dist/video.min.js")

PLAY_ELSEWHERE = """async (source) => {
  window.fatal = [];
  const begin = (player, attach) => {
    const video = document.createElement("video");
    video.id = player;
    video.muted = video.autoplay = true;
    video.defaultPlaybackRate = video.playbackRate = 2;
    video.addEventListener("error", () => fatal.push([player, video.error.message]));
    document.body.append(video);
    attach(video, (why) => fatal.push([player, String(why)]));
  };
  begin("hls.js", (video, fail) => {
    const hls = new Hls();
    hls.on(Hls.Events.ERROR, (_, { fatal, details }) => fatal && fail(details));
    hls.loadSource(source);
    hls.attachMedia(video);
  });
  begin("shaka", async (video, fail) => {
    const player = new shaka.Player();
    await player.attach(video);
    player.configure({ manifest: { hls: { sequenceMode: false } } });
    player.addEventListener("error", ({ detail }) => fail(detail.code));
    await player.load(source).catch((error) => fail(error.code));
  });
  begin("video.js", (video, fail) => {
    const player = videojs(video, { html5: { vhs: { overrideNative: true } } });
    player.on("error", () => fail(player.error().message));
    player.src({ src: source, type: "application/x-mpegURL" });
  });
}"""

HAVE_ENDED = """(end) =>
  fatal.length > 0 || [...document.querySelectorAll("video")].every((video) => video.currentTime > end)"""


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
    gateway = gateways()
    await embed(page, gateway.url, "muted")
    await page.evaluate(WATCH, START_90K // 90)
    end_s = len(PARTS) * PART_S
    await page.wait_for_function("end => seen.at(-1) > end", arg=end_s - 0.5, timeout=TIMEOUT_MS)
    seen: list[float] = await page.evaluate("seen.filter((at) => at >= 0)")
    for second in range(end_s):
        assert any(second <= at < second + 1 for at in seen), f"second {second} was not shown: {seen}"
    # Back over both changes, into the first part.
    await page.evaluate("start => document.querySelector('live-edge-player').seek(start + 1000)", START_90K // 90)
    await page.wait_for_function("seen.at(-1) > 1 && seen.at(-1) < 2.5", timeout=TIMEOUT_MS)

    # The players of others, on an empty page of the gateway.
    await page.goto(f"{gateway.url}/health")
    for script in SCRIPTS:
        await page.evaluate((NODE_MODULES / script).read_text())
    start_s = START_90K // CLOCK_RATE
    await page.evaluate(PLAY_ELSEWHERE, f"/hls/door/dvr.m3u8?start={start_s}&end={start_s + end_s}")
    await page.wait_for_function(HAVE_ENDED, arg=end_s - 0.5, timeout=TIMEOUT_MS)
    assert await page.evaluate("fatal") == []
