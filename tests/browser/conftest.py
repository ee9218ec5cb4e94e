"""Fixtures of the browser tests: a browser, its pages, and gateways for it to look at."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from tests.support.browser import chromium
from tests.support.gateway_process import GatewayProcess
from tests.support.player import cameras
from tests.support.two_hours import two_hours_of
from tests.support.webrtc import camera_with, join, server

__all__ = ["camera_with", "join", "server"]


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
def door(gateways: Callable[..., GatewayProcess], tmp_path: Path) -> GatewayProcess:
    """A gateway with one camera, ``door``."""
    cameras(tmp_path, "door")
    return gateways()


@pytest.fixture
def two_hours(gateways: Callable[..., GatewayProcess], tmp_path: Path) -> tuple[GatewayProcess, int]:
    """A gateway with two hours of archive and a gap between them; when they began, Unix s."""
    start_s = two_hours_of(tmp_path)
    return gateways(), start_s
