"""The cameras of a cluster are changed at two nodes, before each of them knows what the other did."""

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine

from gateway.errors import ConflictError, NotFoundError
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
