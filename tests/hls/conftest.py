"""Fixtures of the package hls: a PostgreSQL server."""

from collections.abc import Iterator

import pytest

from tests.support.postgres import postgres


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The ``DATABASE_URL`` of a server that all tests share: leave its database empty."""
    with postgres() as url:
        yield url
