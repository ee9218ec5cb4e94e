"""Fixtures of the whole thing: gateways, cameras that cost nothing, a browser."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from tests.support.browser import chromium
from tests.support.gateway import Gateway
from tests.support.player import cameras
from tests.support.two_hours import two_hours_of


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


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A real Chromium, for pages of other sizes and languages."""
    async with chromium() as browser:
        yield browser


@pytest.fixture
def door(gateways: Callable[..., Gateway], tmp_path: Path) -> Gateway:
    """A gateway with one camera, ``door``."""
    cameras(tmp_path, "door")
    return gateways()


@pytest.fixture
def two_hours(gateways: Callable[..., Gateway], tmp_path: Path) -> tuple[Gateway, int]:
    """A gateway with two hours of archive and a gap between them; when they began, Unix s."""
    start_s = two_hours_of(tmp_path)
    return gateways(), start_s
