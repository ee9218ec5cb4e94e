"""The cameras of a cluster are changed at two nodes, before each of them knows what the other did."""

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine

from gateway.errors import ConflictError, NotFoundError
from hls.archive.access_schema import access_tables
from hls.cluster import schema
from web.camera_store import CameraStore
from web.cluster.service import Cluster
from web.settings import load_settings

pytestmark = pytest.mark.integration


@pytest.fixture
def stores(postgres_url: str) -> Iterator[tuple[CameraStore, CameraStore]]:
    """Those of two nodes."""
    settings = load_settings(cluster_url=postgres_url)
    clusters = Cluster(settings), Cluster(settings)
    yield CameraStore(settings, clusters[0]), CameraStore(settings, clusters[1])
    for cluster in clusters:
        cluster.close()
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        schema.tables.drop_all(connection)
        access_tables.drop_all(connection)
    engine.dispose()


async def test_a_change_at_one_node_undoes_none_of_another(stores: tuple[CameraStore, CameraStore]) -> None:
    a, b = stores
    await a.add("door", {"url": "rtsp://192.0.2.1/"})
    with pytest.raises(ConflictError, match="already"):
        await b.add("door", {"url": "rtsp://192.0.2.2/"})
    await a.patch("door", {"name": "Front door"})
    changed = await b.patch("door", {"record": "never"})
    assert (changed.name, changed.record) == ("Front door", "never")
    await b.remove("door")
    with pytest.raises(NotFoundError, match="another node removed it"):
        await a.patch("door", {"name": "Back door"})
    assert a.cameras() == {}


async def test_changes_at_two_nodes_at_once_undo_none(stores: tuple[CameraStore, CameraStore]) -> None:
    a, b = stores
    for number in range(10):
        camera_id = f"door{number}"
        urls = "rtsp://192.0.2.1/", "rtsp://192.0.2.2/"
        both = (each.add(camera_id, {"url": url}) for each, url in zip(stores, urls, strict=True))
        added = await asyncio.gather(*both, return_exceptions=True)
        (made,) = [each for each in added if not isinstance(each, BaseException)]
        assert [type(each) for each in added if each is not made] == [ConflictError]
        await asyncio.gather(a.patch(camera_id, {"name": "Front door"}), b.patch(camera_id, {"record": "never"}))
        await a.read_again()
        kept = a.cameras()[camera_id]
        assert (kept.url, kept.name, kept.record) == (made.url, "Front door", "never")
        await asyncio.gather(a.remove(camera_id), b.patch(camera_id, {"name": "Door"}), return_exceptions=True)
        await b.read_again()
        assert b.cameras() == {}, "a camera that was removed came back"


async def test_a_node_changes_a_camera_that_it_has_not_heard_of(stores: tuple[CameraStore, CameraStore]) -> None:
    a, b = stores
    await a.add("door", {"url": "rtsp://192.0.2.1/"})
    assert (await b.patch("door", {"name": "Front door"})).name == "Front door"
    await b.remove("door")
    with pytest.raises(NotFoundError, match="no camera 'demo'"):
        await b.patch("demo", {"name": "Demo"})
    await a.add("door", {"url": "rtsp://192.0.2.2/"})
