"""A Chromium whose tabs are hidden, frozen and throttled as in a real window.

Playwright emulates a visible page in every page that it opens itself. Here Chromium is started separately, and
Playwright only connects to it: the tab in front is visible, the others are hidden, and a frozen tab runs nothing.
"""

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import BrowserContext, Page, async_playwright

from tests.support.browser import CHROMIUM, FLAGS

START_S = 30.0
"""Far more than a start takes, even on a loaded machine."""


@asynccontextmanager
async def chromium_with_tabs() -> AsyncIterator[BrowserContext]:
    """The browser's default context, with a blank tab in front."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *FLAGS,
            "--headless=new",
            "--window-size=1280,1000",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "about:blank",
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with async_playwright() as playwright:
                browser = await playwright.chromium.connect_over_cdp(await _endpoint(process), no_defaults=True)
                yield browser.contexts[0]
                await browser.close()
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()


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


async def _endpoint(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(START_S):
        while line := await process.stderr.readline():
            if found := re.search(rb"(ws://\S+)", line):
                return found[1].decode()
    raise RuntimeError("Chromium ended before it listened; start it manually to see why")
