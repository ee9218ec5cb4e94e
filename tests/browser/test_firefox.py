"""The player and the page in a real Firefox. Debian's has no decoder of H.264 for WebRTC before it has fetched one."""

from tests.support.firefox import Tab, firefox
from tests.support.gateway_process import GatewayProcess
from tests.support.player import SAMPLE

PLAYER = "document.querySelector('live-edge-player')"
HOME, END = "\ue011", "\ue010"
"""WebDriver §17.4.2."""


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
    seen = await tab.evaluate(f"() => ({SAMPLE})({PLAYER}, 8)")
    assert max(seen) > 8, seen
    assert len({round(light, 2) for light in seen}) > 2, seen


async def test_what_firefox_can_play_it_plays_and_for_the_rest_it_says_why(door: GatewayProcess) -> None:
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


async def test_a_browser_without_webrtc_has_the_page_and_its_keyboard_all_the_same(door: GatewayProcess) -> None:
    async with firefox({"media.peerconnection.enabled": False}) as tab:
        await tab.goto(f"{door.url}/?lang=en#/camera/door")
        await plays(tab, "hls")
        assert await tab.evaluate(f"() => {PLAYER}.state.notice") == (
            "LL-HLS instead of WebRTC: this browser has no WebRTC"
        )
        # As on an iPhone: no element can fill the screen but a video, and by another name.
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
