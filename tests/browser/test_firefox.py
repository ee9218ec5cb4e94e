"""The player and the page in a real Firefox. Debian's has no H.264 decoder for WebRTC until it has downloaded one."""

from tests.support.firefox import Tab, firefox
from tests.support.gateway_process import GatewayProcess
from tests.support.player import BRIGHTNESS

PLAYER = "document.querySelector('live-edge-player')"
HOME, END = "\ue011", "\ue010"
"""Key codes of WebDriver, section 17.4.2."""


async def embed(tab: Tab, url: str, attributes: str) -> None:
    await tab.goto(f"{url}/health")
    await tab.evaluate(
        """(base, attributes) => {
          document.body.innerHTML = `<live-edge-player camera="door" lang="en" ${attributes}></live-edge-player>`;
          return import(`${base}/static/player.js`).then(() => null);
        }""",
        url,
        attributes,
    )


async def plays(tab: Tab, transport: str) -> None:
    await tab.wait_for(f"(wanted) => {PLAYER}?.state.transport === wanted", transport)
    brightness = await tab.evaluate(f"() => ({BRIGHTNESS})({PLAYER}, 8)")
    assert max(brightness) > 8, brightness
    assert len({round(light, 2) for light in brightness}) > 2, brightness


async def test_firefox_plays_what_it_can_and_the_player_says_why_not_webrtc(door: GatewayProcess) -> None:
    async with firefox() as tab:
        for transport in ("hls", "jpeg", "mjpeg"):
            await embed(tab, door.url, f'transports="{transport}"')
            await plays(tab, transport)
            await tab.wait_for(f"() => {PLAYER}.state.latencyMs !== null")

        await embed(tab, door.url, "")
        await plays(tab, "hls")
        assert await tab.evaluate(f"() => {PLAYER}.state.notice") == (
            "LL-HLS instead of WebRTC: this browser cannot decode H.264 in WebRTC"
        )
        await embed(tab, door.url, 'transports="webrtc"')
        await tab.wait_for(f"() => {PLAYER}.state.notice.startsWith('WebRTC: this browser cannot')")


async def test_page_and_keyboard_work_in_a_browser_without_webrtc(door: GatewayProcess) -> None:
    async with firefox({"media.peerconnection.enabled": False}) as tab:
        await tab.goto(f"{door.url}/?lang=en#/camera/door")
        await plays(tab, "hls")
        assert await tab.evaluate(f"() => {PLAYER}.state.notice") == (
            "LL-HLS instead of WebRTC: this browser has no WebRTC"
        )
        # As on an iPhone: only a <video> can fill the screen, with webkitEnterFullscreen.
        await tab.evaluate(
            """() => {
              delete Element.prototype.requestFullscreen;
              HTMLVideoElement.prototype.webkitEnterFullscreen = function () { window.filled = this.tagName; };
            }"""
        )
        await tab.press("f")
        await tab.wait_for("() => window.filled === 'VIDEO'")
        await tab.evaluate("() => document.querySelector('[role=slider]').focus()")
        await tab.press(HOME)
        await tab.wait_for(f"() => {PLAYER}.state.mode === 'recording' && {PLAYER}.surface.readyState >= 2")
        await tab.press(END)
        await plays(tab, "hls")
        assert await tab.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        assert not tab.errors
