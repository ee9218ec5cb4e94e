"""Fixtures of the whole thing: gateways, a browser."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.support.browser import chromium
from tests.support.gateway import Gateway


@pytest.fixture
def gateways(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Makes and starts gateways in the test's folder, and ends them."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Gateway(tmp_path, **settings))


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """An empty page of a real Chromium."""
    async with chromium() as browser:
        yield await browser.new_page(viewport={"width": 1280, "height": 800})
