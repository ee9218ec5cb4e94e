"""Measure glass-to-glass latency over WebRTC in Chromium: a camera with a clock in its picture.

    make bench NAME=glass ARGS='[--seconds 8] [--rounds 3] [--sound] [--engine pyav]'
    MEDIAMTX=path GO2RTC=path make bench NAME=glass      # the same camera through these, in the same run

The camera draws the time into each picture (:mod:`gateway.capture.engines.timecode`), encodes it and serves it over
RTSP, in a process of its own. All gateways capture it all the time. In each round, Chromium joins one gateway after the
other by WHEP; the order changes from round to round. The page reads the time from each frame that is presented. All
processes share a machine and its clock.

glass    from drawing the picture to the page's callback, which has its pixels
in       from drawing the picture to the arrival of its last packet in Chromium: camera, encoder and gateway
browser  from there to the callback: jitter buffer, decoder, compositor
shown    from drawing the picture until the compositor takes it (``presentationTime``)
expected to ``expectedDisplayTime``, for comparison only: for frames that Chromium shows at once it is made from an
         earlier refresh of the display, and is a refresh later in one connection than in another (crbug.com/1050755)
first    from the POST of the offer to the first picture
buffer   mean time in the jitter buffer (getStats: jitterBufferDelay / jitterBufferEmittedCount)
decode   mean time in the decoder (totalDecodeTime / framesDecoded)
process  mean time from the first packet to the decoded frame (totalProcessingDelay / framesDecoded)
"""

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Browser

from bench.support.gateways import Gateway, gateways
from bench.support.picture_reader import READER
from bench.support.webrtc_load import percentile, row, rtsp_cameras
from tests.support.browser import chromium

SETTLE_S = 2.0
"""A join is measured by itself."""

PLAY = f"""
async ([url, settle, seconds, sound]) => {{
  const read = {READER};
  const peer = new RTCPeerConnection();
  const video = document.createElement("video");
  video.muted = true; video.autoplay = true; video.width = 640;
  document.body.replaceChildren(video);
  const stream = new MediaStream();
  peer.ontrack = (event) => {{ stream.addTrack(event.track); video.srcObject = stream; }};
  peer.addTransceiver("video", {{ direction: "recvonly" }});
  if (sound) peer.addTransceiver("audio", {{ direction: "recvonly" }});
  await peer.setLocalDescription();
  const began = performance.now();
  const headers = {{ "Content-Type": "application/sdp" }};
  const reply = await fetch(url, {{ method: "POST", body: peer.localDescription.sdp, headers }});
  if (!reply.ok) throw new Error(`${{reply.status}} ${{await reply.text()}}`);
  await peer.setRemoteDescription({{ type: "answer", sdp: await reply.text() }});
  const frame = () => new Promise((resolve) => video.requestVideoFrameCallback((now, data) =>
    resolve({{ called: performance.now(), ...data }})));
  const inbound = async () => {{
    for (const item of (await peer.getStats()).values())
      if (item.type === "inbound-rtp" && item.kind === "video") return item;
  }};
  await frame();
  const first = performance.now() - began;
  const glass = [], arrived = [], browser = [], presented = [], expected = [], joining = [];
  let unread = 0, before = null, frames = 0;
  const settled = performance.now() + settle * 1000, until = settled + seconds * 1000;
  while (performance.now() < until) {{
    const data = await frame();
    const made = read(video);
    const shown = performance.timeOrigin + data.called;
    if (made === null) {{ unread++; continue; }}
    if (performance.now() < settled) {{ joining.push(shown - made); continue; }}
    before ??= await inbound();
    glass.push(shown - made);
    arrived.push(performance.timeOrigin + data.receiveTime - made);
    browser.push(data.called - data.receiveTime);
    expected.push(performance.timeOrigin + data.expectedDisplayTime - made);
    presented.push(performance.timeOrigin + data.presentationTime - made);
  }}
  const after = await inbound();
  const since = (name) => (after[name] ?? 0) - (before[name] ?? 0);
  const stats = {{
    buffer: since("jitterBufferDelay") / since("jitterBufferEmittedCount") * 1000,
    target: since("jitterBufferTargetDelay") / since("jitterBufferEmittedCount") * 1000,
    minimum: since("jitterBufferMinimumDelay") / since("jitterBufferEmittedCount") * 1000,
    decode: since("totalDecodeTime") / since("framesDecoded") * 1000,
    process: since("totalProcessingDelay") / since("framesDecoded") * 1000,
    jitter: after.jitter * 1000,
    decoded: since("framesDecoded"), dropped: since("framesDropped"),
    freezes: since("freezeCount"), pauses: since("pauseCount"), lost: since("packetsLost"),
  }};
  peer.close();
  return {{ first, glass, arrived, browser, presented, expected, joining, unread, stats }};
}}
"""

Seen = list[dict[str, Any]]


async def play(browser: Browser, gateway: Gateway, options: argparse.Namespace) -> dict[str, Any]:
    """Join a gateway with a new page, and measure."""
    page = await browser.new_page()
    try:
        await page.goto(gateway.page)
        seen: dict[str, Any] = await page.evaluate(PLAY, [gateway.whep, SETTLE_S, options.seconds, options.sound])
    finally:
        await page.close()
    return seen


def joined(seen: Seen, name: str) -> list[float]:
    """The values of all rounds."""
    return [value for each in seen for value in each[name]]


def text(values: list[float], *percents: int) -> str:
    return " / ".join(f"{percentile(values, percent):.1f}" for percent in percents)


def report(found: dict[str, Seen]) -> None:
    """Print the table, and how liveedge compares."""
    columns = (
        "glass p50 / p95 / p99",
        "in p50 / p95",
        "browser p50 / p95",
        "shown p50 / p95",
        "expected p50 / p95",
        "first",
        "buffer",
        "decode",
        "process",
    )
    print(f"| all in ms | {' | '.join(columns)} | frames: decoded, dropped, freezes, pauses, lost, unread |")
    print("|---" * (len(columns) + 2) + "|")
    for name, seen in found.items():

        def mean(stat: str, seen: Seen = seen) -> str:
            return f"{sum(each['stats'][stat] for each in seen) / len(seen):.1f}"

        counts = [
            sum(each["stats"][name] for each in seen) for name in ("decoded", "dropped", "freezes", "pauses", "lost")
        ]
        counts.append(sum(each["unread"] for each in seen))
        cells = [
            text(joined(seen, "glass"), 50, 95, 99),
            text(joined(seen, "arrived"), 50, 95),
            text(joined(seen, "browser"), 50, 95),
            text(joined(seen, "presented"), 50, 95),
            text(joined(seen, "expected"), 50, 95),
            text([each["first"] for each in seen], 50),
            mean("buffer"),
            mean("decode"),
            mean("process"),
        ]
        print(f"| {name} | {' | '.join(cells)} | {', '.join(f'{count:g}' for count in counts)} |")
    medians = {name: percentile(joined(seen, "glass"), 50) for name, seen in found.items()}
    for name, median in medians.items():
        if name != "liveedge":
            row(f"`bench.glass`, liveedge against {name}", f"p50 {medians['liveedge'] / median:.2f} x")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gop", type=int, default=60, help="frames from keyframe to keyframe")
    parser.add_argument("--sound", action="store_true", help="the camera has sound, and the page plays it")
    parser.add_argument("--engine", default="auto", help="liveedge's capture engine: auto, rtsp or pyav")
    parser.add_argument("--json", type=Path, help="write all values to this file")
    options = parser.parse_args()
    found: dict[str, Seen] = {}
    camera_options = ["--gop", str(options.gop), *(["--sound"] if options.sound else [])]
    with (
        tempfile.TemporaryDirectory() as folder,
        rtsp_cameras("clock", *camera_options) as cameras,
        gateways(Path(folder), cameras[0], CAPTURE_ENGINE=options.engine) as running,
    ):
        async with chromium() as browser:
            # The first connection of a browser starts its media services.
            await play(browser, running[0], argparse.Namespace(seconds=0.5, sound=options.sound))
            for number in range(options.rounds):
                turn = number % len(running)
                for gateway in running[turn:] + running[:turn]:
                    found.setdefault(gateway.name, []).append(await play(browser, gateway, options))
    if options.json:
        options.json.write_text(json.dumps(found))
    report(dict(sorted(found.items(), key=lambda item: item[0] != "liveedge")))


if __name__ == "__main__":
    asyncio.run(main())
