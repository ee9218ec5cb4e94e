"""A whole gateway in this process, with cameras that have faults."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from gateway.clock import SYSTEM_CLOCK, Clock
from tests.support.eventually import eventually
from tests.support.fault_injection import ENGINE, FaultyEngine
from tests.support.serving import GatewayServer
from tests.support.webrtc import camera_with, join, page, server
from web.app import create_app
from web.gateway import GATEWAY, Gateway
from web.settings import load_settings

__all__ = ["camera_with", "join", "page", "server"]

Client = TestClient[web.Request, web.Application]


class Site:
    """One gateway, and an HTTP client of it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        assert client.app is not None
        self.gateway: Gateway = client.app[GATEWAY]

    async def json(self, path: str) -> Any:
        """The JSON of an answer; its status must be 200."""
        async with self.client.get(path) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json()

    async def problems(self) -> list[str]:
        """The problems that /api/status reports, a sentence each."""
        return [problem["message"] for problem in (await self.json("/api/status"))["problems"]]

    def media_sequence(self, camera_id: str) -> int:
        """The media sequence number of a camera's newest HLS segment."""
        edge = self.gateway.live_edge(camera_id)
        assert edge is not None
        assert edge.media_sequence is not None
        return edge.media_sequence

    async def metric(self, name: str) -> float:
        """A sample of ``/metrics``, named with its labels."""
        async with self.client.get("/metrics") as reply:
            lines = (await reply.text()).splitlines()
        return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.rsplit(" ", 1)[0] == name)


Sites = Callable[..., Awaitable[Site]]


@pytest.fixture
async def sites(tmp_path: Path) -> AsyncIterator[Sites]:
    """Makes gateways: ``await sites({"door": "faulty://door"}, archive_segment_seconds=2)``."""
    async with AsyncExitStack() as stack:

        async def build(
            cameras: Mapping[str, str | Mapping[str, object]], clock: Clock = SYSTEM_CLOCK, **settings: object
        ) -> Site:
            tables: dict[str, dict[str, object]] = {}
            for camera_id, camera in cameras.items():
                given: dict[str, object] = {"url": camera} if isinstance(camera, str) else dict(camera)
                tables[camera_id] = {"engine": ENGINE, **given} if str(given["url"]).startswith("faulty:") else given
            values: dict[str, object] = {
                "cameras": tables,
                "data_dir": tmp_path / "data",
                "webrtc_udp_port": 0,
                "archive_min_free_bytes": 0,
                "connection_retry_attempts": 1000,
                "connection_retry_delay": 0.05,
                "capture_linger": 0.0,
                **settings,
            }
            app = create_app(load_settings(**values), clock)
            return Site(await stack.enter_async_context(TestClient(GatewayServer(app))))

        yield build


@pytest.fixture(autouse=True)
def clear_faults() -> Iterator[None]:
    """Every test begins without faults."""
    FaultyEngine.faults.clear()
    FaultyEngine.runs.clear()
    yield
    FaultyEngine.faults.clear()


async def wait_until_playable(site: Site) -> None:
    """Wait until every camera has something to play, live and recorded."""
    await eventually(
        lambda: all(
            site.gateway.live.stream(name).live_edge is not None and status.segments_closed > 0
            for name, status in site.gateway.archive.recorders().items()
        ),
        "every camera has a live edge and a recording",
    )
