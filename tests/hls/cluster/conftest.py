"""The stores of a cluster, with a clock that tests set."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert

from hls.archive.access_schema import access_tables
from hls.cluster import schema
from tests.support.stepped_store import NOW, SteppedPostgresStore, SteppedSqliteStore, SteppedStore, clock


@pytest.fixture
def postgres_store(postgres_url: str) -> Iterator[SteppedStore]:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        clock.create(connection)
        connection.execute(insert(clock).values(now_s=0))
    made = SteppedPostgresStore(postgres_url, NOW)
    made.open()
    yield made
    made.close()
    with engine.begin() as connection:
        schema.tables.drop_all(connection)
        access_tables.drop_all(connection)
        clock.drop(connection)
    engine.dispose()


@pytest.fixture(params=["postgres", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SteppedStore]:
    if request.param == "postgres":
        yield request.getfixturevalue("postgres_store")
        return
    made = SteppedSqliteStore(tmp_path / "cluster.sqlite3")
    made.open()
    yield made
    made.close()
