"""Fixtures of the archive: an open index, in each database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hls.archive.table import SegmentTable
from tests.support.index_tables import drop_tables


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SegmentTable]:
    made = SegmentTable(tmp_path)
    made.open()
    yield made
    made.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def any_index(request: pytest.FixtureRequest) -> Iterator[SegmentTable]:
    """The index in each of the databases that it is meant for."""
    if request.param == "sqlite":
        yield request.getfixturevalue("index")
        return
    made = SegmentTable(Path("/nowhere"), request.getfixturevalue("postgres_url"))
    made.open()
    yield made
    drop_tables(made)
    made.close()
