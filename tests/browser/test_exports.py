"""Exports and the verifier on the page, in a real Chromium: by keyboard, on a phone, in both languages."""

import time
from collections.abc import Callable
from pathlib import Path

from playwright.async_api import Browser, Page

from gateway.clock import CLOCK_RATE
from tests.support.accessibility import violations
from tests.support.gateway_process import GatewayProcess
from tests.support.player import TIMEOUT_MS, cameras
from tests.support.recording import index_of, record
from tests.support.sources.encoded import EncoderSettings, encode


async def verdict(page: Page, file: Path, expected: str) -> str:
    """Choose a file in the verifier, and wait for what it says."""
    await page.set_input_files("#verify-file", file)
    await page.locator(f".verdict[data-verdict={expected}]").wait_for(timeout=TIMEOUT_MS)
    return await page.locator(".findings").inner_text()


async def test_cameras_are_exported_shared_and_verified(
    gateways: Callable[..., GatewayProcess], tmp_path: Path, browser: Browser
) -> None:
    start_90k = (int(time.time()) - 120) * CLOCK_RATE
    recordings = []
    for camera_id in ("door", "yard"):
        recordings += record(tmp_path / "data", encode(EncoderSettings(seconds=6), start_90k), camera_id, segment_s=2)
    index_of(tmp_path / "data", recordings).close()
    cameras(tmp_path, "door", "yard", extra='record = "never"\nstart = "on-demand"\n')
    gateway = gateways()
    page = await browser.new_page(viewport={"width": 1280, "height": 800}, locale="en")
    await page.goto(f"{gateway.url}/#/camera/door")
    await page.get_by_role("button", name="Export recordings").press("Enter")
    await page.wait_for_url("**/#/exports?camera=door**")
    # The camera and a span are chosen already; the other camera is added by the keyboard.
    assert await page.get_by_role("checkbox", name="door").is_checked()
    await page.get_by_label("yard").press("Space")
    await page.get_by_role("button", name="Export", exact=True).press("Enter")
    row = page.locator(".exports li[data-state=done]")
    await row.wait_for(timeout=TIMEOUT_MS)
    assert await violations(page) == []

    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download: door, yard").press("Enter")
    file = tmp_path / "export.zip"
    await (await download.value).save_as(file)
    said = await verdict(page, file, "right")
    assert "Signed by this gateway" in said
    assert said.count("is as it was exported") == 2
    data = file.read_bytes()
    at = data.index(b"mdat") + 3000
    changed = tmp_path / "changed.zip"
    changed.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    await verdict(page, changed, "wrong")
    assert "was changed" in await page.locator(".findings [data-fault]").inner_text()
    segment, _ = recordings[0]
    assert "It is as it was recorded: door" in await verdict(page, segment.path(tmp_path / "data"), "right")

    await page.get_by_role("button", name="Share a link").press("Enter")
    link = await page.get_by_label("Link to the export of door, yard").input_value()
    assert gateway.fetch(link.removeprefix(gateway.url))[2] == data
    page.on("dialog", lambda dialog: dialog.accept())
    await page.get_by_role("button", name="Delete: door, yard").press("Enter")
    await page.get_by_text("Nothing has been exported.").wait_for(timeout=TIMEOUT_MS)
    await page.get_by_role("checkbox", name="door").uncheck()
    await page.get_by_role("checkbox", name="yard").uncheck()
    await page.get_by_role("button", name="Export", exact=True).click()
    await page.get_by_role("alert").get_by_text("Choose a camera.").wait_for(timeout=TIMEOUT_MS)

    await page.get_by_role("checkbox", name="door").check()
    await page.get_by_label("From", exact=True).fill("2100-01-01T00:00:00")
    await page.get_by_label("To", exact=True).fill("2100-01-01T00:09:00")
    await page.get_by_role("button", name="Export", exact=True).click()
    await page.get_by_role("alert").get_by_text("This moment has not come yet.").wait_for(timeout=TIMEOUT_MS)

    phone = await browser.new_page(
        viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True, locale="ko", color_scheme="dark"
    )
    await phone.goto(gateway.url)
    await phone.get_by_role("link", name="내보내기와 증거").tap()
    await phone.get_by_role("heading", name="파일 검증").wait_for(timeout=TIMEOUT_MS)
    assert await phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await violations(phone) == []
