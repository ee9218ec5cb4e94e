"""The element on a page of another origin, with and without a token."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.browser.conftest import OtherOrigin
from tests.support.gateway_process import GatewayProcess
from tests.support.player import TIMEOUT_MS, cameras, plays

Gateways = Callable[..., GatewayProcess]


@pytest.mark.parametrize("token", [None, "correct-horse-battery-staple"])
async def test_every_transport_plays_on_a_page_of_another_origin(
    gateways: Gateways, tmp_path: Path, page: Page, other_origin: OtherOrigin, token: str | None
) -> None:
    cameras(tmp_path, "door")
    settings = {} if token is None else {"AUTH_TOKEN": token}
    door = gateways(CORS_ORIGINS=other_origin.url, **settings)
    attribute = "" if token is None else f'token="{token}"'
    (other_origin.folder / "index.html").write_text(
        f'<script type="module" src="{door.url}/static/player.js"></script>'
        f'<live-edge-player camera="door" {attribute} style="width: 480px"></live-edge-player>'
    )
    for transport in ("webrtc", "hls", "jpeg", "mjpeg"):
        await page.goto(other_origin.url)
        await page.eval_on_selector(
            "live-edge-player", "(player, transport) => (player.transports = [transport])", transport
        )
        await plays(page, transport)


async def test_a_page_that_the_gateway_does_not_allow_says_so(
    gateways: Gateways, tmp_path: Path, page: Page, other_origin: OtherOrigin
) -> None:
    cameras(tmp_path, "door")
    door = gateways()
    (other_origin.folder / "index.html").write_text(
        f'<script type="module" src="{door.url}/static/player.js"></script>'
        '<live-edge-player camera="door" lang="en"></live-edge-player>'
    )
    await page.goto(other_origin.url)
    await page.wait_for_function(
        "(advice) => document.querySelector('live-edge-player').state?.notice.includes(advice)",
        arg=f"{other_origin.url}: add it to CORS_ORIGINS",
        timeout=TIMEOUT_MS,
    )
