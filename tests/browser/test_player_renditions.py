"""The player chooses between main and sub stream: by its size, and as the user wants it, over WebRTC and LL-HLS."""

from collections.abc import Callable
from pathlib import Path

from playwright.async_api import Page

from tests.support.gateway_process import GatewayProcess
from tests.support.player import TIMEOUT_MS, embed, plays
from tests.support.rtsp import RtspServer

STATE = "document.querySelector('live-edge-player').state"
RESIZE = "([width, height]) => Object.assign(document.querySelector('live-edge-player').style, { width, height })"


async def shows(page: Page, rendition: str, width: int) -> None:
    """Wait until the player shows frames of this stream, and says so."""
    await page.wait_for_function(
        f"""([rendition, width]) => {STATE}.rendition === rendition
          && document.querySelector('live-edge-player').surface?.videoWidth === width""",
        arg=[rendition, width],
        timeout=TIMEOUT_MS,
    )


async def test_the_size_of_the_player_and_its_button_choose_the_stream(
    rtsp_server: RtspServer, gateways: Callable[..., GatewayProcess], tmp_path: Path, page: Page
) -> None:
    urls = f'url = "{rtsp_server.url("/large")}"\nsub_url = "{rtsp_server.url("/gop1")}"'
    (tmp_path / "liveedge.toml").write_text(f'[cameras.door]\n{urls}\nrecord = "never"\n')
    gateway = gateways()
    size = 'controls style="display: block; width: 320px; height: 180px"'
    await embed(page, gateway.url, f'transports="webrtc" {size}')
    await shows(page, "sub", 320)
    await plays(page, "webrtc")
    detail = await page.evaluate(f"{STATE}.detail")
    assert detail.startswith("WebRTC · Sub"), detail
    await page.evaluate(RESIZE, ["1200px", "700px"])
    await shows(page, "main", 640)
    button = page.get_by_role("button", name="Quality: automatic")
    await button.click()
    await page.get_by_role("button", name="Quality: main stream").click()
    await shows(page, "sub", 320)
    assert await page.get_attribute("live-edge-player", "rendition") == "sub"
    await page.get_by_role("button", name="Quality: sub stream").click()
    await shows(page, "main", 640)
    # One connection for all of it.
    viewers = await (await page.request.get(f"{gateway.url}/api/cameras/door")).json()
    assert viewers["viewers"] == {"webrtc": 1}
    assert viewers["webrtc"]["viewers"] == 1

    await embed(page, gateway.url, f'transports="hls" rendition="sub" {size}')
    await shows(page, "sub", 320)
    await page.evaluate("document.querySelector('live-edge-player').rendition = 'main'")
    await shows(page, "main", 640)
    await plays(page, "hls")


async def test_a_camera_without_a_sub_stream_has_nothing_to_choose(door: GatewayProcess, page: Page) -> None:
    await embed(page, door.url, 'controls transports="webrtc"')
    await plays(page, "webrtc")
    await page.wait_for_function(f"{STATE}.rendition === 'main'", timeout=TIMEOUT_MS)
    assert not (await page.evaluate(f"{STATE}.detail")).startswith("WebRTC · Main")
    assert await page.get_by_role("button", name="Quality").count() == 0
