"""The player in a real Chromium: every transport, fallback and upgrade. For recovery, see test_player_recovery.py."""

import asyncio
import re

from playwright.async_api import Page, Route, WebSocketRoute

from tests.support.browser import count_kept
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.player import TIMEOUT_MS, embed, notice, plays
from tests.support.rtsp import free_port

MOMENTS_OF_LEAVING = [
    ("signalingstatechange", "have-local-offer"),
    ("icegatheringstatechange", "have-local-offer"),
    ("signalingstatechange", "stable"),
    ("iceconnectionstatechange", "checking"),
    ("icecandidate", "stable"),
    ("iceconnectionstatechange", "connected"),
    ("connectionstatechange", "connecting"),
    ("connectionstatechange", "connected"),
]
"""Events of an RTCPeerConnection, each with a state that it has then."""


async def test_every_transport_plays_and_measures_its_latency(door: GatewayProcess, page: Page) -> None:
    for attributes in ("webrtc", 'webrtc" signaling="socketio', "hls", "jpeg", "mjpeg"):
        await embed(page, door.url, f'transports="{attributes}"')
        await plays(page, attributes.split('"')[0])
        if "signaling" not in attributes:
            await page.wait_for_function("() => document.querySelector('live-edge-player').state.latencyMs !== null")
            latency_ms = await page.eval_on_selector("live-edge-player", "(player) => player.state.latencyMs")
            assert -1000 < latency_ms < 20_000, "not a limit on speed: the two clocks must agree"


async def test_blocked_transport_falls_back_and_upgrades_again(door: GatewayProcess, page: Page) -> None:
    blocked = {"whep", "hls", "socket.io"}

    async def guard(route: Route) -> None:
        await (route.abort() if route.request.url.split("/")[3] in blocked else route.continue_())

    async def guard_socket(socket: WebSocketRoute) -> None:
        if "socket.io" in blocked:
            await socket.close()
        else:
            socket.connect_to_server()

    await page.route_web_socket("**/socket.io/**", guard_socket)
    for path in blocked:
        await page.route(f"**/{path}/**", guard)
    await embed(page, door.url)
    await plays(page, "mjpeg")
    assert await notice(page) == "MJPEG instead of WebRTC: the connection was lost"

    blocked.remove("socket.io")
    await plays(page, "jpeg")
    # The player upgrades after a delay, or at once when the network has changed.
    for path, transport in (("hls", "hls"), ("whep", "webrtc")):
        blocked.remove(path)
        await page.evaluate("dispatchEvent(new Event('online'))")
        await plays(page, transport)
    assert await notice(page) == ""


async def test_fallback_when_media_does_not_arrive(door: GatewayProcess, page: Page) -> None:
    unused_port = free_port()

    async def misdirect(route: Route) -> None:
        # Point every candidate, UDP and TCP, at an unused port. Chromium would not try a port below 1024.
        answer = await route.fetch()
        sdp = re.sub(r"(a=candidate:\S+ \d \S+ \d+ \S+ )\d+", rf"\g<1>{unused_port}", await answer.text())
        await route.fulfill(response=answer, body=sdp)

    await page.route(re.compile(r"/whep/door(\?|$)"), misdirect)
    await embed(page, door.url)
    await plays(page, "hls")
    assert await notice(page) == "LL-HLS instead of WebRTC: no video in time"

    # Parts fail during playback.
    await page.route("**/hls/**", lambda route: route.abort())
    await plays(page, "jpeg")


async def test_snapshot_is_shown_before_the_first_frame(door: GatewayProcess, page: Page) -> None:
    for pattern in ("**/whep/**", "**/hls/**", "**/socket.io/**", "**/mjpeg/**"):
        await page.route(pattern, lambda _: asyncio.sleep(0))
    await page.route_web_socket("**/socket.io/**", lambda _: None)
    await embed(page, door.url)
    poster = page.locator("live-edge-player img")
    await poster.wait_for(state="visible", timeout=TIMEOUT_MS)
    assert await poster.evaluate("(image) => image.naturalWidth") > 0


async def test_the_badge_of_live_video_becomes_a_dot_until_the_pointer_is_there(
    door: GatewayProcess, page: Page
) -> None:
    await embed(page, door.url)
    await plays(page, "webrtc")
    await page.mouse.move(1270, 790)  # not over the player
    width = "document.querySelector('live-edge-player').shadowRoot.querySelector('.badge').offsetWidth"
    await page.wait_for_function(f"() => {width} < 40", timeout=TIMEOUT_MS)
    await page.hover("live-edge-player")
    assert await page.evaluate(width) > 60


async def test_players_that_leave_while_they_connect_are_freed(door: GatewayProcess, page: Page) -> None:
    await embed(page, door.url)
    await plays(page, "webrtc")
    # What is asked for last holds, also while the code of recordings is loading.
    mode = """async (player) => {
      const sought = player.seek(Date.now() - 60_000);
      player.seekToLiveEdge();
      await sought;
      return player.state.mode;
    }"""
    assert await page.eval_on_selector("live-edge-player", mode) == "live"
    # Chromium never frees a connection that is closed while some of its events are still to come. They come late, and
    # together, on a page that is busy.
    await page.evaluate(
        """async ([moments, rounds, busyMs]) => {
      const Peer = RTCPeerConnection;
      const leave = () => document.querySelector("live-edge-player")?.remove();
      let moment = null;
      window.RTCPeerConnection = function (options) {
        const peer = new Peer(options);
        const [name, state] = moment;
        const leaveIf = (wanted) => {
          if (![peer.signalingState, peer.iceConnectionState, peer.connectionState].includes(wanted)) return;
          leave();
          const end = performance.now() + busyMs;
          while (performance.now() < end);
        };
        peer.addEventListener(name, () => leaveIf(state));
        // The moment may not come: all candidates may be there before the answer.
        peer.addEventListener("connectionstatechange", () => leaveIf("connected"));
        return peer;
      };
      const left = () => new Promise((resolve) => {
        const observer = new MutationObserver(() => {
          if (document.querySelector("live-edge-player")) return;
          observer.disconnect();
          resolve();
        });
        observer.observe(document.body, { childList: true });
      });
      leave();
      for (let round = 0; round < rounds; round++) {
        for (moment of moments) {
          const leaves = left();
          document.body.innerHTML = '<live-edge-player camera="door" transports="webrtc"></live-edge-player>';
          await leaves;
        }
      }
      window.RTCPeerConnection = Peer;
    }""",
        [MOMENTS_OF_LEAVING, 2, 150],
    )
    cdp = await page.context.new_cdp_session(page)

    async def all_are_freed() -> bool:
        names = ("RTCPeerConnection", "HTMLVideoElement", "customElements.get('live-edge-player')")
        return [await count_kept(cdp, name) for name in names] == [0, 0, 0]

    await eventually(all_are_freed, "no connection, video or player is kept")


MOVES = {
    "append": "(player, place) => place.append(player)",
    "remove and insert": "async (player, place) => { player.remove(); await null; place.insertBefore(player, null); }",
    "moveBefore": "(player, place) => place.moveBefore(player, null)",
}
"""Each moves the player to another place of the page."""


async def test_a_player_that_is_moved_keeps_what_it_shows(two_hours: tuple[GatewayProcess, int], page: Page) -> None:
    gateway, start_s = two_hours
    await embed(page, gateway.url)
    await plays(page, "webrtc")
    player = page.locator("live-edge-player")

    async def moved(by: str) -> object:
        """What is shown after a move, and whether it is on the surface from before."""
        return await player.evaluate(
            """async (player, move) => {
              const { surface, parentElement } = player;
              const place = document.body.appendChild(document.createElement("div"));
              await eval(move)(player, place);
              await new Promise((resolve) => setTimeout(resolve, 100));
              if (player.parentElement !== place || place === parentElement) return "not moved";
              const { mode, status } = player.state;
              return [mode, status, surface === player.surface, surface?.paused ?? true];
            }""",
            MOVES[by],
        )

    for by in MOVES:
        assert await moved(by) == ["live", "live", True, False], by
    await player.evaluate("(player) => player.pause()")
    for by in MOVES:
        assert await moved(by) == ["paused", "off", True, True], by

    await player.evaluate("(player, time) => player.seek(time)", (start_s + 600) * 1000)
    await page.wait_for_function("() => document.querySelector('live-edge-player').captureTime", timeout=TIMEOUT_MS)
    for by in MOVES:
        assert await moved(by) == ["recording", "recording", True, False], by
    await player.evaluate("(player) => player.pause()")
    time_ms = await player.evaluate("(player) => player.playbackTime")
    for by in MOVES:
        assert await moved(by) == ["recording", "recording", True, True], by
    assert await player.evaluate("(player) => player.playbackTime") == time_ms

    # What changes on the way holds, and a player that does not come back has ended.
    await player.evaluate("""(player) => {
      player.remove();
      player.seekToLiveEdge();
      document.body.append(player);
    }""")
    await plays(page, "webrtc")
    left = await page.evaluate_handle("() => document.querySelector('live-edge-player')")
    await left.evaluate("(player) => player.remove()")
    await page.wait_for_function(
        "(player) => player.surface === null && !player.shadowRoot.querySelector('video')", arg=left, timeout=TIMEOUT_MS
    )
    await eventually(lambda: not any(gateway.camera("door")["viewers"].values()), "the gateway has no viewer")
