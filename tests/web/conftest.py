"""Fixtures of the roof: a house that asks who one is."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.guarded import Client, guarded


@pytest.fixture
async def shut(tmp_path: Path) -> AsyncIterator[Client]:
    """A house with tokens; see :mod:`tests.support.guarded`."""
    async with guarded(tmp_path) as client:
        yield client


@pytest.fixture
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without settings."""
    monkeypatch.chdir(tmp_path)
