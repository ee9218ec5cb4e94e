"""A Chromium whose tabs are hidden, frozen and throttled as people's are.

Playwright makes every page of its own believe that it is seen. Here Chromium runs by itself, and Playwright only looks
at it: the tab in front is visible, the others are hidden, and what is frozen runs nothing.
"""

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import BrowserContext, Page, async_playwright

from tests.support.browser import CHROMIUM, FLAGS

START_S = 30.0
"""Far more than a start takes."""


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
    """The tab is hidden behind another one and frozen; afterwards it runs, and is still hidden."""
    cdp = await page.context.new_cdp_session(page)
    other = await page.context.new_page()
    await cdp.send("Page.setWebLifecycleState", {"state": "frozen"})
    try:
        yield
    finally:
        await cdp.send("Page.setWebLifecycleState", {"state": "active"})
        await cdp.detach()
        # Closing it would bring the tab to the front: that is for whoever tells the time.
        await other.evaluate("document.title = 'another tab'")


async def _endpoint(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(START_S):
        while line := await process.stderr.readline():
            if found := re.search(rb"(ws://\S+)", line):
                return found[1].decode()
    raise RuntimeError("Chromium ended before it listened; start it by hand to see why")
