"""Fixtures that the whole suite shares: real cameras and free ports."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import rtsp
from tests.support.gateway_process import GatewayProcess
from tests.support.rtsp import RtspServer


@pytest.fixture(scope="session")
def rtsp_server() -> Iterator[RtspServer]:
    """A camera for everyone; leave it running."""
    with RtspServer() as server:
        yield server


@pytest.fixture
def own_rtsp_server() -> Iterator[RtspServer]:
    """A camera for one test, which may kill, freeze and restart it."""
    with RtspServer() as server:
        yield server


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nobody listens."""
    return rtsp.free_port()


@pytest.fixture
def gateways(tmp_path: Path) -> Iterator[Callable[..., GatewayProcess]]:
    """Makes and starts gateways in the test's folder, and ends them."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(GatewayProcess(tmp_path, **settings))
