"""The element on somebody else's page: another origin, with and without a token."""

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.support.gateway_process import GatewayProcess
from tests.support.player import cameras, plays

Gateways = Callable[..., GatewayProcess]


@pytest.fixture
def other_origin(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Somebody else's web server, and its folder."""
    folder = tmp_path / "www"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.mark.parametrize("token", [None, "correct-horse-battery-staple"])
async def test_on_somebody_elses_page(
    gateways: Gateways, tmp_path: Path, page: Page, other_origin: tuple[str, Path], token: str | None
) -> None:
    url, folder = other_origin
    cameras(tmp_path, "door")
    settings = {} if token is None else {"AUTH_TOKEN": token}
    door = gateways(CORS_ORIGINS=url, **settings)
    attribute = "" if token is None else f'token="{token}"'
    (folder / "index.html").write_text(
        f'<script type="module" src="{door.url}/static/player.js"></script>'
        f'<live-edge-player camera="door" {attribute} style="width: 480px"></live-edge-player>'
    )
    for transport in ("webrtc", "hls", "jpeg", "mjpeg"):
        await page.goto(url)
        await page.eval_on_selector(
            "live-edge-player", "(player, transport) => (player.transports = [transport])", transport
        )
        await plays(page, transport)
