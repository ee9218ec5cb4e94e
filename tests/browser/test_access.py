"""Access in a browser: the content security policy, pages of another origin, signed URLs, and revoked tokens."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.conftest import OtherOrigin
from tests.support.browser import headless_shell
from tests.support.eventually import eventually_sync
from tests.support.ffprobe import decode, ffprobe
from tests.support.gateway_process import GatewayProcess
from tests.support.player import TIMEOUT_MS

Gateways = Callable[..., GatewayProcess]

TOKEN = "correct-horse-battery-staple"

RECORD_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""

ATTACK = """
async ([gateway, path]) => {
  // Everything that a page of another origin can try, and the result of each.
  const port = new URL(gateway).port;
  const results = {};
  const attempt = async (name, what) => { try { results[name] = await what(); } catch { results[name] = "failed"; } };
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
  return results;
}
"""


def door(folder: Path, extra: str = "") -> None:
    (folder / "liveedge.toml").write_text(
        f'[cameras.door]\nurl = "packets://gop=30"\nengine = "tests.support.sources.engine:SourceEngine"\n{extra}'
    )


async def test_page_and_transports_work_under_the_content_security_policy(
    gateways: Gateways, tmp_path: Path, page: Page
) -> None:
    door(tmp_path)
    gateway = gateways()
    await page.add_init_script(RECORD_VIOLATIONS)
    logged: list[str] = []
    page.on("console", lambda message: logged.append(message.text))
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
            timeout=TIMEOUT_MS,
        )
        assert await page.evaluate("violations") == [], transport
    assert not [text for text in logged if "Content Security Policy" in text]
    # The policy is applied: an inline script does not run.
    await page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.pwned = true\">')")
    await page.wait_for_function("() => violations.length > 0")
    assert await page.evaluate("window.pwned") is None


async def test_page_of_another_origin_cannot_read_or_control_a_gateway_without_authentication(
    gateways: Gateways, tmp_path: Path, page: Page, other_origin: OtherOrigin
) -> None:
    door(tmp_path, 'start = "on-demand"\n')
    gateway = gateways()
    await page.goto(other_origin.url)
    results: dict[str, Any] = await page.evaluate(ATTACK, [gateway.url, ""])
    assert results.pop("form") in ("opaque", "failed"), "sent, and rejected"
    assert set(results.values()) == {"failed"}, results
    assert [camera["camera_id"] for camera in gateway.json("/api/cameras")["cameras"]] == ["door"]
    camera = gateway.camera("door")
    assert (camera["state"], camera["clients"], camera["viewers"]) == ("stopped", 0, {})


async def test_a_name_of_an_attacker_that_leads_to_the_gateway_shows_nothing(
    gateways: Gateways, tmp_path: Path
) -> None:
    """DNS rebinding: for the browser, gateway and page are one origin."""
    door(tmp_path)
    gateway = gateways()
    port = gateway.url.rsplit(":", 1)[1]
    async with headless_shell("--host-resolver-rules=MAP evil.example 127.0.0.1") as browser:
        page = await browser.new_page()
        answer = await page.goto(f"http://evil.example:{port}/static/player.js")
        assert answer is not None
        assert answer.status == 403
        assert "forbidden_host" in await page.content()
        for path in (
            "/api/cameras",
            "/snapshot/door.jpg",
            "/hls/door/index.m3u8",
            "/socket.io/?EIO=4&transport=polling",
        ):
            assert await page.evaluate("async (path) => (await fetch(path)).status", path) == 403, path


async def test_signed_urls_work_without_headers(gateways: Gateways, tmp_path: Path, page: Page) -> None:
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
    segments: list[dict[str, Any]] = eventually_sync(
        lambda: ask("/api/cameras/door/segments")["segments"], "a segment is listed"
    )
    eventually_sync(
        lambda: gateway.fetch(sign("/hls/door/dvr.m3u8").removeprefix(gateway.url))[0] == 200, "the DVR playlist exists"
    )
    end = eventually_sync(
        lambda: (s := ask("/api/cameras/door/segments")["segments"][-1])["duration_s"] > 4 and s["end"],
        "the segment is longer than 4 s",
    )
    found = await asyncio.to_thread(ffprobe, sign(f"/hls/door/dvr.m3u8?start={segments[0]['start']}&end={end}"))
    assert found["streams"][0]["codec_name"] == "h264"
    status, _, picture = gateway.fetch(sign(segments[0]["thumbnail"]).removeprefix(gateway.url))
    assert (status, picture[:2]) == (200, b"\xff\xd8")
    # In an <img> of a page.
    await page.goto(gateway.url)
    loads = "(url) => new Promise((resolve) => { const image = new Image();"
    loads += " image.onload = () => resolve(image.naturalWidth); image.onerror = () => resolve(0); image.src = url; })"
    assert await page.evaluate(loads, sign("/snapshot/door.jpg")) > 0
    assert await page.evaluate(loads, gateway.url + "/snapshot/door.jpg") == 0


@pytest.mark.parametrize("transport", ["webrtc", "hls", "jpeg", "mjpeg"])
async def test_revoked_token_ends_playback_and_the_player_says_why(
    gateways: Gateways, tmp_path: Path, page: Page, transport: str
) -> None:
    guest = '\n[auth.tokens.guest]\ntoken = "guest-token-to-revoke"\nscopes = ["view"]\n'
    door(tmp_path, guest)
    gateway = gateways(AUTH_TOKEN=TOKEN)
    await page.goto(gateway.url)
    await page.evaluate(
        """([token, transport, count]) => {
          const players = Array.from({ length: count }, () => document.createElement("live-edge-player"));
          for (const player of players) {
            Object.assign(player, { camera: "door", token, transports: [transport], lang: "en" });
          }
          document.body.replaceChildren(...players);
        }""",
        # A wall of cameras, but of MJPEG, which takes one of the six connections of a browser for each.
        ["guest-token-to-revoke", transport, 1 if transport == "mjpeg" else 12],
    )
    # As functions, because the content security policy of the page forbids eval of strings.
    every = "() => [...document.querySelectorAll('live-edge-player')].every(({ state }) =>"
    await page.wait_for_function(f"{every} state.latencyMs !== null)", timeout=TIMEOUT_MS)
    door(tmp_path)
    notice = "Sign in to watch this camera."
    await page.wait_for_function(f"{every} state.notice === '{notice}')", timeout=TIMEOUT_MS)
    assert "settings read again" in gateway.log()
