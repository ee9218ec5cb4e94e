"""Fixtures of the browser tests: a browser, pages, gateways, and a web server of another origin."""

import functools
import http.server
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from tests.support.browser import headless_shell
from tests.support.gateway_process import GatewayProcess
from tests.support.player import cameras
from tests.support.two_hours import two_hours_of
from tests.support.webrtc import camera_with, join, server

__all__ = ["camera_with", "join", "server"]


@dataclass(frozen=True)
class OtherOrigin:
    """A web server of another origin. It serves the files in ``folder``."""

    url: str
    folder: Path


@pytest.fixture
def other_origin(tmp_path: Path) -> Iterator[OtherOrigin]:
    """A web server of another origin, with an empty page."""
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>other origin</title>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield OtherOrigin(f"http://127.0.0.1:{server.server_address[1]}", folder)
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """An empty page of a real Chromium."""
    async with headless_shell() as browser:
        yield await browser.new_page(viewport={"width": 1280, "height": 800})


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A real Chromium, for pages of other sizes and languages."""
    async with headless_shell() as browser:
        yield browser


@pytest.fixture
def door(gateways: Callable[..., GatewayProcess], tmp_path: Path) -> GatewayProcess:
    """A gateway with one camera, ``door``."""
    cameras(tmp_path, "door")
    return gateways()


@pytest.fixture
def two_hours(gateways: Callable[..., GatewayProcess], tmp_path: Path) -> tuple[GatewayProcess, int]:
    """A gateway with two hours of recordings and a gap between them, and the start of the first, Unix s."""
    start_s = two_hours_of(tmp_path)
    return gateways(), start_s
