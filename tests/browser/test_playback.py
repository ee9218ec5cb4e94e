"""Moments of recordings on the page, in a real Chromium: links, the calendar, and several cameras on one clock."""

from datetime import UTC, datetime

from playwright.async_api import Browser, Page

from tests.support.gateway_process import GatewayProcess
from tests.support.player import TIMEOUT_MS
from tests.support.two_hours import HOUR_S


async def plays_from(page: Page, time_s: float) -> None:
    """Wait until the recording plays from a time, by the player's own account."""
    await page.wait_for_function(
        """(time) => {
          const { state, captureTime } = document.querySelector("live-edge-player");
          return state.mode === "recording" && state.label !== "" && Math.abs(captureTime / 1000 - time) < 5;
        }""",
        arg=time_s,
        timeout=TIMEOUT_MS,
    )


async def test_a_link_and_the_calendar_lead_to_a_moment(
    two_hours: tuple[GatewayProcess, int], browser: Browser
) -> None:
    gateway, start_s = two_hours
    page = await browser.new_page(timezone_id="Asia/Seoul", locale="en-GB")
    moment = datetime.fromtimestamp(start_s + 100, UTC).isoformat().replace("+00:00", "Z")
    await page.goto(f"{gateway.url}/#/camera/door?t={moment}")
    await plays_from(page, start_s + 100)
    # Another link in the open page.
    await page.goto(f"{gateway.url}/#/camera/door?t={start_s + 2 * HOUR_S + 300}")
    await plays_from(page, start_s + 2 * HOUR_S + 300)

    await page.keyboard.press("g")
    dialog = page.get_by_role("dialog", name="Go to a date and time")
    seoul_s = start_s + 1800 + 9 * HOUR_S
    day = datetime.fromtimestamp(seoul_s, UTC)
    await dialog.locator(f'[data-day="{day:%Y-%m-%d}"].recorded').click(timeout=TIMEOUT_MS)
    assert await dialog.locator(".recorded").count() <= 2, "only the days of the recordings are marked"
    time = dialog.get_by_label("Time")
    await time.fill("14:75")
    await time.press("Enter")
    await dialog.get_by_text("Write a time like").wait_for()
    await time.fill(f"{day:%H%M%S}")
    await time.press("Enter")
    await dialog.wait_for(state="detached")
    await plays_from(page, start_s + 1800)
    await page.get_by_role("button", name="Copy a link to this moment").click()
    await page.get_by_role("status").get_by_text("The link is in").wait_for()
    shared = page.url
    assert "t=" in shared

    other = await browser.new_page()
    await other.goto(shared)
    await plays_from(other, start_s + 1800)
