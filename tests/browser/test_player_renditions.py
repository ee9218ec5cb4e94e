"""The player chooses between main and sub stream: by its size, and as the user wants it, over WebRTC and LL-HLS."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import Page

from tests.support.gateway_process import GatewayProcess
from tests.support.netem import TcpNetwork
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


async def test_a_wall_of_sub_streams_is_live(
    rtsp_server: RtspServer, gateways: Callable[..., GatewayProcess], tmp_path: Path, page: Page
) -> None:
    urls = f'url = "{rtsp_server.url("/large")}"\nsub_url = "{rtsp_server.url("/gop1")}"'
    table = f'[cameras.door]\n{urls}\nrecord = "never"\nstart = "on-demand"\ncapture_linger = 0\n'
    (tmp_path / "liveedge.toml").write_text(table)
    gateway = gateways()
    await page.set_viewport_size({"width": 360, "height": 700})
    await page.goto(gateway.url)
    await plays(page, "webrtc")
    await page.wait_for_function(
        "() => document.querySelector('.summary').textContent === '1 of 1 live'", timeout=TIMEOUT_MS
    )
    status = await (await page.request.get(f"{gateway.url}/api/cameras/door")).json()
    assert (status["state"], status["sub"]["state"]) == ("stopped", "live")


async def test_a_player_that_began_while_the_main_stream_was_away_gets_it_over_hls(
    rtsp_server: RtspServer, gateways: Callable[..., GatewayProcess], tmp_path: Path, page: Page
) -> None:
    main = urlsplit(rtsp_server.url("/large"))
    assert main.port is not None
    cable = TcpNetwork(main.port)
    await cable.start()
    cable.cut()
    try:
        urls = f'url = "rtsp://127.0.0.1:{cable.port}/large"\nsub_url = "{rtsp_server.url("/gop1")}"'
        timing = "capture_timeout = 1000\nconnection_retry_delay = 0.2\nconnection_retry_attempts = 1000"
        (tmp_path / "liveedge.toml").write_text(f'[cameras.door]\n{urls}\n{timing}\nrecord = "never"\n')
        await embed(page, gateways().url, 'transports="hls" style="display: block; width: 640px; height: 480px"')
        await shows(page, "sub", 320)
        cable.restore()
        await shows(page, "main", 640)
        await plays(page, "hls")
    finally:
        await cable.close()


async def test_a_camera_without_a_sub_stream_has_nothing_to_choose(door: GatewayProcess, page: Page) -> None:
    await embed(page, door.url, 'controls transports="webrtc"')
    await plays(page, "webrtc")
    await page.wait_for_function(f"{STATE}.rendition === 'main'", timeout=TIMEOUT_MS)
    assert not (await page.evaluate(f"{STATE}.detail")).startswith("WebRTC · Main")
    assert await page.get_by_role("button", name="Quality").count() == 0
