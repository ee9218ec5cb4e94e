"""The index of what all nodes have recorded, in PostgreSQL and SQLite."""

import pytest

from gateway.errors import StorageError
from hls.cluster.recordings import ClusterRecordings, RecordedFile
from hls.cluster.store import PostgresStore
from tests.support.stepped_store import NODES, NOW, SteppedStore

pytestmark = pytest.mark.integration

OWNER, OTHER, _ = NODES


def test_a_claim_waits_for_a_write_of_the_owner_before_it(postgres_store: SteppedStore, postgres_url: str) -> None:
    """Then no row of the owner is written after the claim with what was true before it."""
    postgres_store.set_camera("door")
    postgres_store.renew(OWNER)
    assert postgres_store.claim("door", OWNER.id, 0) == 1
    postgres_store.tick(100)
    postgres_store.renew(OTHER)
    writer = PostgresStore(postgres_url, NOW)
    writer.open()
    file = RecordedFile("door", "main", "a", "file", 0, 10, 100)
    with writer.transaction() as connection:
        assert ClusterRecordings(writer).write_row(connection, file, 1)
        with pytest.raises(StorageError):  # after the time that a statement may take
            postgres_store.claim("door", OTHER.id, 1)
    assert postgres_store.claim("door", OTHER.id, 1) == 2
    assert not ClusterRecordings(writer).record(file, 1)
    writer.close()


def test_spans_with_files_of_some_nodes(store: SteppedStore) -> None:
    store.tick(0.0)
    recordings = ClusterRecordings(store)
    for name, start_90k in (("a", 100), ("b", 300)):
        recordings.write(
            [(RecordedFile("door", "main", name, f"of_{name}", start_90k, start_90k + 50, 1), 0)], name, []
        )
    spans = [(0, 100), (149, 200), (150, 300), (300, 301)]
    for nodes, expected in (
        ({"a"}, [False, True, False, False]),
        ({"a", "b"}, [False, True, False, True]),
        ({"c"}, [False] * 4),
    ):
        assert recordings.recorded_spans("door", spans, nodes) == expected
    assert recordings.recorded_spans("gate", spans, {"a", "b"}) == [False] * 4
