"""A Chromium whose tabs are hidden, frozen and throttled as in a real window.

Playwright emulates a visible page in every page that it opens itself. Here Chromium is started separately, and
Playwright only connects to it: the tab in front is visible, the others are hidden, and a frozen tab runs nothing.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import BrowserContext, Page, async_playwright

from tests.support.browser import CHROMIUM, FLAGS
from tests.support.eventually import eventually

START_S = 30.0
"""Far more than a start takes, even on a loaded machine."""


@asynccontextmanager
async def chromium_process(*flags: str) -> AsyncIterator[tuple[int, str]]:
    """A Chromium with a blank tab in front that nobody drives yet: its process id, and the address of its DevTools."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *FLAGS,
            *flags,
            "--headless=new",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "about:blank",
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            yield process.pid, await _endpoint(process, Path(profile))
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


@asynccontextmanager
async def chromium_with_tabs() -> AsyncIterator[BrowserContext]:
    """The browser's default context, with a blank tab in front."""
    async with chromium_process("--window-size=1280,1000") as (_, endpoint), async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(endpoint, no_defaults=True)
        yield browser.contexts[0]
        await browser.close()


@asynccontextmanager
async def frozen(page: Page) -> AsyncIterator[None]:
    """Hide the tab behind another one and freeze it. Afterwards it runs, and is still hidden."""
    cdp = await page.context.new_cdp_session(page)
    other = await page.context.new_page()
    await cdp.send("Page.setWebLifecycleState", {"state": "frozen"})
    try:
        yield
    finally:
        await cdp.send("Page.setWebLifecycleState", {"state": "active"})
        await cdp.detach()
        # Closing the other tab would make the first one visible. The test decides when that happens.
        await other.evaluate("document.title = 'another tab'")


async def _endpoint(process: asyncio.subprocess.Process, profile: Path) -> str:
    async def written() -> str | None:
        assert process.returncode is None, "Chromium ended before it listened; start it manually to see why"
        with contextlib.suppress(FileNotFoundError):
            lines = (profile / "DevToolsActivePort").read_text().splitlines()
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}" if len(lines) == 2 else None
        return None

    address: str = await eventually(written, "Chromium listens", START_S)
    return address
