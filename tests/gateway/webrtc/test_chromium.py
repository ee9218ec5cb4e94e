"""A real Chromium watches a real stream."""

from playwright.async_api import Page

from gateway.webrtc.server import WebRtcServer
from tests.gateway.webrtc.conftest import Cameras, stats_of, watch
from tests.support.browser import assert_moving_picture, look
from tests.support.cinema import film


async def test_it_plays_h264_as_the_camera_sends_it(server: WebRtcServer, camera_with: Cameras, page: Page) -> None:
    await watch(page, server, camera_with(film()))
    assert_moving_picture(await look(page))
    stats = await stats_of(page)
    assert stats["inbound-rtp"]["packetsLost"] == 0
    assert stats["inbound-rtp"]["frameWidth"] == 320
