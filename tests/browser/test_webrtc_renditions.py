"""A real Chromium sees continuous video while its rendition changes, both ways, without a new connection."""

import itertools
from typing import Any

from playwright.async_api import Page

from gateway.camera_settings import RenditionName
from gateway.service import CaptureService
from gateway.settings import load_settings
from gateway.webrtc.rendition_request import RenditionRequest
from gateway.webrtc.server import WebRtcServer
from tests.support.eventually import eventually
from tests.support.rtsp import RtspServer
from tests.support.webrtc import stats_of, watch

SAMPLE = """
() => {
  // Describe each presented frame, until `window.samples` is read for the last time.
  const video = document.querySelector("video");
  const canvas = document.createElement("canvas");
  canvas.width = 64; canvas.height = 48;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  window.samples = [];
  const sample = (_, metadata) => {
    context.drawImage(video, 0, 0, 64, 48);
    const pixels = context.getImageData(0, 0, 64, 48).data;
    let sum = 0;
    for (let p = 0; p < pixels.length; p += 4) sum += pixels[p] + pixels[p + 1] + pixels[p + 2];
    window.samples.push({ light: sum / (64 * 48 * 3), width: metadata.width, rtp: metadata.rtpTimestamp });
    video.requestVideoFrameCallback(sample);
  };
  video.requestVideoFrameCallback(sample);
}
"""


async def test_a_switch_shows_no_black_picture_and_keeps_the_connection(
    rtsp_server: RtspServer, server: WebRtcServer, page: Page
) -> None:
    table = {"url": rtsp_server.url("/large"), "sub_url": rtsp_server.url("/gop1"), "record": "never"}
    async with CaptureService({"door": load_settings().camera("door", table)}) as service:
        await watch(page, server, service.camera("door"))
        (viewer,) = server.viewers.values()
        switch = viewer.rendition
        assert switch is not None
        before = (await stats_of(page))["inbound-rtp"]
        await page.evaluate(SAMPLE)

        async def shows(width: int, frames: int) -> bool:
            samples: list[dict[str, Any]] = await page.evaluate("samples")
            return len(samples) >= frames and all(each["width"] == width for each in samples[-frames:])

        for name, width in (("sub", 320), ("main", 640), ("sub", 320), ("main", 640)):
            switch.ask(RenditionRequest(RenditionName(name)))
            viewer.update_rendition()
            await eventually(lambda width=width: shows(width, 10), f"the {name} stream is shown")  # type: ignore[misc]
        samples = await page.evaluate("samples")
        assert min(each["light"] for each in samples) > 40, "no black frame"
        assert {each["width"] for each in samples} == {640, 320}
        changes = sum(a["width"] != b["width"] for a, b in itertools.pairwise(samples))
        assert changes == 4, "each frame is of the stream before or of the one after"
        steps = [(b["rtp"] - a["rtp"]) & 0xFFFFFFFF for a, b in itertools.pairwise(samples)]
        assert all(step < 1 << 31 for step in steps)
        after = (await stats_of(page))["inbound-rtp"]
        assert after["ssrc"] == before["ssrc"]
        assert after["packetsLost"] == 0
        assert await page.evaluate("() => peer.connectionState") == "connected"
