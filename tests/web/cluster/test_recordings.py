"""The shared index: what a node recorded is in it, when the database takes it, and each moment counts once."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from gateway.clock import CLOCK_RATE
from gateway.cluster.model import Node
from hls.archive.access_schema import access_tables
from hls.archive.index import SegmentIndex
from hls.archive.segment import Segment, SegmentState, segment_name
from hls.cluster import schema
from hls.cluster.recordings import FoundFile
from hls.cluster.store import PostgresStore
from tests.support.eventually import eventually
from tests.support.sources.encoded import START_90K
from web.cluster.recordings import SharedIndex
from web.cluster.service import Cluster
from web.settings import load_settings

pytestmark = pytest.mark.integration


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    yield postgres_url
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        schema.tables.drop_all(connection)
        access_tables.drop_all(connection)
    engine.dispose()


def segment(number: int) -> Segment:
    """The n-th segment of the camera, 10 s long."""
    start_90k = START_90K + number * 10 * CLOCK_RATE
    return Segment(
        *("door", segment_name(start_90k), SegmentState.CLOSED, start_90k, 10 * CLOCK_RATE, 1000),
        *("h264", "avc1.42e01f", 640, 360, b"\0\1\2", 100),
    )


@asynccontextmanager
async def running(url: str, folder: Path) -> AsyncIterator[tuple[Cluster, SegmentIndex, SharedIndex]]:
    """The node ``a`` with its index, and what tells the cluster of it."""
    cluster = Cluster(load_settings(cluster_url=url, node_name="a"))
    cluster.open()
    index = SegmentIndex(folder)
    await index.open()
    shared = SharedIndex(cluster, index)
    cluster.start()
    shared.start()
    yield cluster, index, shared
    await cluster.leave()
    await shared.close()
    cluster.close()
    await index.close()


async def listed(shared: SharedIndex) -> list[FoundFile]:
    return list(await shared.find("door", None, None, 100, None))


async def told(shared: SharedIndex, count: int) -> list[FoundFile]:
    """What is in the shared index, once it has so many rows and nothing waits."""

    async def is_told() -> bool:
        return shared.waiting == 0 and len(await listed(shared)) == count

    await eventually(is_told, f"{count} rows are in the shared index")
    return await listed(shared)


async def test_the_shared_index_has_what_a_node_recorded(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(database_url, tmp_path) as (cluster, index, shared):
        await cluster.edit_cameras(lambda tables: tables | {"door": {"url": "fake://door"}})
        await eventually(lambda: "door" in cluster.coordinator.owned, "the node owns the camera")
        await index.save(replace(segment(0), state=SegmentState.GROWING, duration_90k=CLOCK_RATE), ())
        await told(shared, 1)
        await index.save(segment(0), ())
        await index.save(segment(1), ())
        rows = await told(shared, 2)
        assert [(row.from_90k, row.to_90k, row.epoch) for row in rows] == [
            (each.start_90k, each.end_90k, 1) for each in map(segment, (0, 1))
        ]
        # Another node owns the camera now, whether this one knows it yet or not.
        other = PostgresStore(database_url)
        other.open()
        other.renew(Node("b#1", "b"))
        assert other.hand_over("door", cluster.coordinator.node.id, 1, "b#1")
        assert other.claim("door", "b#1", 1) == 2
        other.close()
        await index.save(segment(2), ())
        (*_, spare) = await told(shared, 3)
        assert (spare.from_90k, spare.to_90k) == (None, None)
        assert spare.epoch < 2
        assert shared.spares == 1
        await index.end_delete([segment(0)])
        await told(shared, 2)
    # Recorded, and the process ended before the shared index had it.
    index = SegmentIndex(tmp_path)
    await index.open()
    await index.save(segment(3), ())
    await index.close()
    async with running(database_url, tmp_path) as (_, _, shared):
        rows = await told(shared, 3)
        assert [row.file.name for row in rows] == [segment(number).name for number in (1, 2, 3)]
        assert [row.from_90k is None for row in rows] == [False, True, True]
