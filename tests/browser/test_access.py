"""Access as people meet it: a strict policy that breaks nothing, a hostile page, players that send no headers."""

import asyncio
import functools
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from tests.support.ffprobe import decode, ffprobe
from tests.support.gateway_process import GatewayProcess, until

Gateways = Callable[..., GatewayProcess]

TOKEN = "correct-horse-battery-staple"

PATIENCE_MS = 30_000
"""How long a test waits for what has to come; no measure of speed."""

LISTEN = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""

ATTACK = """
async ([gateway, path]) => {
  // Everything that a page can try without being asked in, and what came of it.
  const port = new URL(gateway).port;
  const seen = {};
  const attempt = async (name, what) => { try { seen[name] = await what(); } catch { seen[name] = "failed"; } };
  const body = JSON.stringify({ id: "new", url: "rtsp://127.0.0.1:1/" });
  await attempt("read", async () => (await fetch(`${gateway}/api/cameras`)).status);
  await attempt("start", async () =>
    (await fetch(`${gateway}/api/cameras/door/capture/start`, { method: "POST" })).status);
  await attempt("form", async () =>
    (await fetch(`${gateway}/api/cameras`, { method: "POST", mode: "no-cors", body })).type);
  await attempt("json", async () => (await fetch(`${gateway}/api/cameras`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body })).status);
  await attempt("delete", async () => (await fetch(`${gateway}/api/cameras/door`, { method: "DELETE" })).status);
  const load = (element, source) => new Promise((resolve) => {
    element.onload = element.onloadeddata = () => resolve("loaded");
    element.onerror = () => resolve("failed");
    element.src = source;
  });
  await attempt("image", () => load(new Image(), `${gateway}/snapshot/door.jpg`));
  await attempt("mjpeg", () => load(new Image(), `${gateway}/mjpeg/door`));
  await attempt("script", () => {
    const script = document.createElement("script");
    const loaded = load(script, `${gateway}/api/cameras`);
    document.head.append(script);
    return loaded;
  });
  await attempt("socket", () => new Promise((resolve) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/socket.io/?EIO=4&transport=websocket`);
    socket.onopen = () => resolve("open");
    socket.onerror = () => resolve("failed");
  }));
  await attempt("polling", async () => (await fetch(`${gateway}/socket.io/?EIO=4&transport=polling`)).status);
  return seen;
}
"""


@pytest.fixture
def other_origin(tmp_path: Path) -> Iterator[str]:
    """Somebody else's web server, with an empty page."""
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>elsewhere</title>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(5)


def door(folder: Path, extra: str = "") -> None:
    (folder / "liveedge.toml").write_text(
        f'[cameras.door]\nurl = "reel://gop=30"\nengine = "tests.support.reel_engine:ReelEngine"\n{extra}'
    )


async def test_the_page_and_every_transport_live_with_the_policy(
    gateways: Gateways, tmp_path: Path, page: Page
) -> None:
    door(tmp_path)
    gateway = gateways()
    await page.add_init_script(LISTEN)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    for transport in ("webrtc", "hls", "jpeg", "mjpeg"):
        await page.goto(f"{gateway.url}/#/camera/door")
        await page.wait_for_selector("live-edge-player")
        await page.eval_on_selector(
            "live-edge-player", "(player, transport) => { player.transports = [transport] }", transport
        )
        await page.wait_for_function(
            "(transport) => { const { state } = document.querySelector('live-edge-player');"
            " return state.transport === transport && state.latencyMs !== null; }",
            arg=transport,
            timeout=PATIENCE_MS,
        )
        assert await page.evaluate("violations") == [], transport
    assert not [text for text in said if "Content Security Policy" in text]
    # And it is in force: what is inline does not run.
    await page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.pwned = true\">')")
    await page.wait_for_function("violations.length > 0")
    assert await page.evaluate("window.pwned") is None


async def test_a_hostile_page_neither_sees_nor_steers_an_open_gateway(
    gateways: Gateways, tmp_path: Path, page: Page, other_origin: str
) -> None:
    door(tmp_path, 'start = "on-demand"\n')
    gateway = gateways()
    await page.goto(other_origin)
    seen: dict[str, Any] = await page.evaluate(ATTACK, [gateway.url, ""])
    assert seen.pop("form") in ("opaque", "failed"), "sent, and refused"
    assert set(seen.values()) == {"failed"}, seen
    assert [camera["camera_id"] for camera in gateway.json("/api/cameras")["cameras"]] == ["door"]
    camera = gateway.camera("door")
    assert (camera["state"], camera["clients"], camera["viewers"]) == ("stopped", 0, {})


async def test_players_that_send_no_headers_play_by_signed_addresses(
    gateways: Gateways, tmp_path: Path, page: Page
) -> None:
    door(tmp_path, 'record = "always"\n')
    gateway = gateways(AUTH_TOKEN=TOKEN)

    def ask(path: str, method: str = "GET", body: object = None) -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        return json.loads(gateway.fetch(path, method, data, headers)[2])

    def sign(path: str) -> str:
        return gateway.url + str(ask("/api/sign", "POST", {"path": path})["url"])

    for path in ("/hls/door/index.m3u8", "/hls/door/dvr.m3u8"):
        assert gateway.fetch(path)[0] == 401
    found = await asyncio.to_thread(ffprobe, sign("/hls/door/index.m3u8"))
    assert found["streams"][0]["codec_name"] == "h264"
    assert await asyncio.to_thread(decode, sign("/hls/door/index.m3u8"), "-t", "2") == ""
    segments: list[dict[str, Any]] = until(lambda: ask("/api/cameras/door/segments")["segments"])
    until(lambda: gateway.fetch(sign("/hls/door/dvr.m3u8").removeprefix(gateway.url))[0] == 200)
    end = until(lambda: (s := ask("/api/cameras/door/segments")["segments"][-1])["duration_s"] > 4 and s["end"])
    found = await asyncio.to_thread(ffprobe, sign(f"/hls/door/dvr.m3u8?start={segments[0]['start']}&end={end}"))
    assert found["streams"][0]["codec_name"] == "h264"
    status, _, picture = gateway.fetch(sign(segments[0]["thumbnail"]).removeprefix(gateway.url))
    assert (status, picture[:2]) == (200, b"\xff\xd8")
    # <video> and <img> of a page, as they are.
    await page.goto(gateway.url)
    loads = "(url) => new Promise((resolve) => { const image = new Image();"
    loads += " image.onload = () => resolve(image.naturalWidth); image.onerror = () => resolve(0); image.src = url; })"
    assert await page.evaluate(loads, sign("/snapshot/door.jpg")) > 0
    assert await page.evaluate(loads, gateway.url + "/snapshot/door.jpg") == 0


@pytest.mark.parametrize("transport", ["webrtc", "hls", "jpeg", "mjpeg"])
async def test_a_token_that_is_taken_back_ends_the_picture_and_the_player_says_so(
    gateways: Gateways, tmp_path: Path, page: Page, transport: str
) -> None:
    guest = '\n[auth.tokens.guest]\ntoken = "a-guest-who-has-to-leave"\nscopes = ["view"]\n'
    door(tmp_path, guest)
    gateway = gateways(AUTH_TOKEN=TOKEN)
    await page.goto(gateway.url)
    await page.evaluate(
        """([token, transport]) => {
          const player = document.createElement("live-edge-player");
          Object.assign(player, { camera: "door", token, transports: [transport], lang: "en" });
          document.body.replaceChildren(player);
        }""",
        ["a-guest-who-has-to-leave", transport],
    )
    watched = "document.querySelector('live-edge-player').state"
    # As functions, since the page's policy lets nothing be evaluated.
    await page.wait_for_function(f"() => {watched}.latencyMs !== null", timeout=PATIENCE_MS)
    door(tmp_path)
    notice = "Sign in to watch this camera."
    await page.wait_for_function(f"() => {watched}.notice === '{notice}'", timeout=PATIENCE_MS)
    assert "settings read again" in gateway.log()
