"""Tokens and links on the page, in a real Chromium: by keyboard, on a phone, in both languages and themes."""

import time
from collections.abc import Callable
from pathlib import Path

from playwright.async_api import Browser, expect

from gateway.clock import CLOCK_RATE
from tests.support.accessibility import violations
from tests.support.gateway_process import GatewayProcess
from tests.support.player import TIMEOUT_MS, cameras, plays
from tests.support.recording import index_of, record
from tests.support.sources.encoded import EncoderSettings, encode

TOKEN = "correct-horse-battery-staple"


async def test_tokens_and_links_are_made_listed_and_revoked(
    gateways: Callable[..., GatewayProcess], tmp_path: Path, browser: Browser
) -> None:
    cameras(tmp_path, "door", "yard", extra='record = "never"\nstart = "on-demand"\n')
    gateway = gateways(AUTH_TOKEN=TOKEN)
    page = await browser.new_page(viewport={"width": 1280, "height": 800}, locale="en")
    page.on("dialog", lambda dialog: dialog.accept())
    await page.goto(gateway.url)
    await page.get_by_role("dialog").get_by_label("Token").fill(TOKEN)
    await page.keyboard.press("Enter")
    await page.get_by_role("dialog").wait_for(state="detached")
    await page.get_by_role("link", name="Tokens and links").press("Enter")
    form = page.locator("form").filter(has_text="Make the token")
    await form.get_by_label("Name").fill("gate guard")
    await form.get_by_label("Role").select_option("reviewer")
    await form.get_by_label("All cameras").press("Space")
    await form.get_by_label("yard").press("Space")
    await form.get_by_role("button", name="Make the token").press("Enter")
    secret = page.get_by_label("The token gate guard")
    await secret.wait_for(timeout=TIMEOUT_MS)
    token = await secret.input_value()
    await expect(secret).to_be_focused()
    headers = {"Authorization": f"Bearer {token}"}
    assert gateway.fetch("/api/cameras/yard", headers=headers)[0] == 200
    assert gateway.fetch("/api/cameras/door", headers=headers)[0] == 403
    row = page.locator("li").filter(has_text="gate guard")
    assert "Reviewer · yard" in await row.inner_text()
    assert await page.locator("li").filter(has_text="from the settings").count() == 1

    links = page.locator("form").filter(has_text="Make the link")
    await links.get_by_label("Name").fill("for the police")
    await links.get_by_label("Camera").select_option("door")
    await links.get_by_label("Shows").select_option("hls")
    await links.get_by_role("button", name="Make the link").press("Enter")
    made = page.get_by_label("The link for the police")
    await made.wait_for(timeout=TIMEOUT_MS)
    path = (await made.input_value()).removeprefix(gateway.url)
    assert gateway.fetch(path)[0] != 401
    assert await violations(page) == []

    await page.get_by_role("button", name="Revoke: for the police").press("Enter")
    await page.get_by_text("revoked").wait_for(timeout=TIMEOUT_MS)
    assert gateway.fetch(path)[0] == 401
    await page.get_by_role("button", name="Revoke: gate guard").press("Enter")
    await row.wait_for(state="detached", timeout=TIMEOUT_MS)
    assert gateway.fetch("/api/cameras/yard", headers=headers)[0] == 401

    # The switch of the language is remembered, also by another page of this browser.
    await page.get_by_role("button", name="한국어로 보기").press("Enter")
    await page.get_by_role("heading", name="토큰 목록").wait_for(timeout=TIMEOUT_MS)
    assert await page.evaluate("document.documentElement.lang") == "ko"
    await page.set_viewport_size({"width": 390, "height": 700})
    await page.emulate_media(color_scheme="dark")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await violations(page) == []
    await page.goto(f"{gateway.url}/?again#/access")
    await page.get_by_role("heading", name="토큰 목록").wait_for(timeout=TIMEOUT_MS)
    await page.get_by_role("button", name="Show in English").press("Enter")
    await page.get_by_role("heading", name="Tokens and links").wait_for(timeout=TIMEOUT_MS)


async def test_a_token_sees_no_button_that_it_may_not_use(
    gateways: Callable[..., GatewayProcess], tmp_path: Path, browser: Browser
) -> None:
    start_s = int(time.time()) - 60
    recordings = record(tmp_path / "data", encode(EncoderSettings(seconds=5), start_s * CLOCK_RATE), "yard")
    index_of(tmp_path / "data", recordings).close()
    cameras(tmp_path, "yard", extra='record = "never"\nstart = "on-demand"\n')
    gateway = gateways(AUTH_TOKEN=TOKEN)
    gateway.headers = {"Authorization": f"Bearer {TOKEN}"}
    tokens = {
        role: gateway.json("/api/tokens", "POST", {"name": role, "role": role})["token"]
        for role in ("viewer", "reviewer")
    }
    span = {"cameras": ["yard"], "start": str(start_s), "end": str(start_s + 4)}
    assert gateway.json("/api/exports", "POST", span)["by"] == "admin"

    page = await browser.new_page(locale="en")
    refused: list[str] = []
    page.on("response", lambda answer: refused.append(answer.url) if answer.status == 403 else None)

    async def sign_in(role: str) -> None:
        await page.goto(f"{gateway.url}/health")
        await page.evaluate("(token) => sessionStorage.setItem('liveedge-token', token)", tokens[role])
        await page.goto(f"{gateway.url}/?{role}#/camera/yard")

    await sign_in("viewer")
    await plays(page)
    # No key leads to the recordings either.
    await page.keyboard.press("ArrowLeft")
    assert await page.evaluate("document.querySelector('live-edge-player').state.mode") == "live"
    moment = f"#/camera/yard?t={start_s}"
    for view, scope in ((moment, "archive"), ("#/playback?cameras=yard", "archive"), ("#/exports", "archive")):
        await page.evaluate("(hash) => (location.hash = hash)", view)
        await page.get_by_role("alert").get_by_text(f"a token with the scope {scope}").wait_for(timeout=TIMEOUT_MS)
        assert await page.locator("main :is(button, input, form, live-edge-player)").count() == 0
    await page.evaluate("(hash) => (location.hash = hash)", moment)
    await page.get_by_role("link", name="yard: Live").click()
    await plays(page)
    assert refused == []

    await sign_in("reviewer")
    await page.evaluate("(hash) => (location.hash = hash)", "#/access")
    await page.get_by_role("alert").get_by_text("a token with the scope admin").wait_for(timeout=TIMEOUT_MS)
    assert await violations(page) == []
    await page.evaluate("(hash) => (location.hash = hash)", "#/exports")
    await page.get_by_role("button", name="Download: yard").wait_for(timeout=TIMEOUT_MS)
    assert await page.get_by_role("button", name="Delete: yard").count() == 0
    assert refused == []
