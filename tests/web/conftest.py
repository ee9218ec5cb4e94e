"""Fixtures for the web package: a gateway with authentication, and one with a settings file that changes."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from tests.support.auth_gateway import Client, auth_gateway
from tests.support.configured import load
from tests.support.serving import GatewayServer
from web.app import create_app
from web.settings import Settings


@pytest.fixture
async def auth_client(tmp_path: Path) -> AsyncIterator[Client]:
    """A client of a gateway with tokens; see :mod:`tests.support.auth_gateway`."""
    async with auth_gateway(tmp_path) as client:
        yield client


@pytest.fixture
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without settings."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, and no settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [*Settings.model_fields, "environment", "liveedge_config"]:
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path


@pytest.fixture
async def open_gateway(place: Path) -> AsyncIterator[Callable[[], Any]]:
    """Opens a gateway with the settings file of the moment."""
    clients: list[Client] = []

    async def open_it() -> Client:
        client = TestClient(GatewayServer(create_app(load())))
        await client.start_server()
        clients.append(client)
        return client

    yield open_it
    for client in clients:
        await client.close()
