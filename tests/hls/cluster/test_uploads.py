"""Unfinished uploads in PostgreSQL: who may complete whose, and what becomes of nodes that stay away."""

from dataclasses import replace

import pytest

from gateway.clock import CLOCK_RATE
from hls.archive.segment import Segment, SegmentState, SegmentWithFragments, segment_name
from hls.archive.upload import Upload
from hls.cluster import uploads
from hls.cluster.recordings import ClusterRecordings, RecordedFile
from hls.cluster.uploads import ADOPT_AFTER_S, FORGET_AFTER_S, ClusterUploads, Orphan
from hls.storage.client import PartDone
from tests.support.stepped_store import NODES, SteppedStore

pytestmark = pytest.mark.integration

A, B, C = NODES

START_90K = 1_800_000_000 * CLOCK_RATE


def growing(camera_id: str = "door") -> SegmentWithFragments:
    segment = Segment(
        *(camera_id, segment_name(START_90K), SegmentState.GROWING, START_90K, 100 * CLOCK_RATE, 1000),
        *("h264", "avc1.42e01f", 640, 360, b"\0\1\2", 100),
    )
    return SegmentWithFragments(segment, ())


UPLOAD = Upload(500, upload_id="upload-1", parts=(PartDone(1, '"etag"', 500),), head="x", is_local=False)


def of(store: SteppedStore, node_id: str) -> ClusterUploads:
    return ClusterUploads(store, node_id.partition("#")[0], node_id)


def file_of(node_name: str, segment: Segment) -> RecordedFile:
    return RecordedFile(
        *(segment.camera_id, "main", node_name, segment.name, segment.start_90k, segment.end_90k, segment.size)
    )


@pytest.fixture
def lost(store: SteppedStore) -> Orphan:
    """Node ``a`` owned the camera and was uploading a segment when it was lost, for as long as it takes to say so."""
    store.set_camera("door")
    for node in (A, B, C):
        store.renew(node)
    assert store.claim("door", A.id, 0) == 1
    found = growing()
    assert ClusterRecordings(store).record(file_of("a", found.segment), 1)
    of(store, A.id).write([(found, UPLOAD)], [])
    store.tick(ADOPT_AFTER_S)
    for node in (B, C):
        store.renew(node)
    assert not of(store, B.id).adopt(9), "it may come back"
    store.tick(ADOPT_AFTER_S + 1)
    return Orphan("a", found, UPLOAD)


def test_the_owner_of_the_camera_completes_the_upload_of_a_node_that_is_lost(store: SteppedStore, lost: Orphan) -> None:
    assert store.claim("door", B.id, 1) == 2
    assert not of(store, C.id).adopt(9), "another node owns the camera"
    assert of(store, B.id).adopt(9) == [lost]
    assert of(store, B.id).adopt(9) == [lost], "until it says that it is done"
    ended = replace(
        lost.found.segment, name=f"{lost.found.segment.name}_001", state=SegmentState.TRUNCATED, duration_90k=90_000
    )
    # The index of the adopter has said first that there is a file.
    assert ClusterRecordings(store).record(file_of("b", ended), 2)
    of(store, B.id).adopted(lost, ended)
    (row,) = store.rows().values()
    assert (row.node_name, row.name, row.epoch) == ("b", ended.name, 1)
    assert (row.from_90k, row.to_90k) == (START_90K, ended.end_90k), "it counts, for what is left of it"
    assert not of(store, B.id).adopt(9)
    # The node comes back with its disk, and uploads the whole file: a spare.
    store.renew(A)
    assert not ClusterRecordings(store).record(file_of("a", lost.found.segment), 1)
    assert store.rows()["door", "a", lost.found.segment.name].from_90k is None


def test_one_node_completes_it_where_nobody_owns_the_camera(store: SteppedStore, lost: Orphan) -> None:
    store.remove_camera("door")
    assert of(store, C.id).adopt(9) == [lost]
    assert not of(store, B.id).adopt(9)
    store.tick(2 * ADOPT_AFTER_S)
    store.renew(B)
    assert of(store, B.id).adopt(9) == [lost], "the first adopter was lost, too"
    of(store, C.id).adopted(lost, None)
    assert of(store, B.id).adopt(9) == [lost], "it has nothing to say any more"
    of(store, B.id).adopted(lost, None)
    assert not of(store, B.id).adopt(9)
    assert store.rows().keys() == {("door", "a", lost.found.segment.name)}, "its file may be on its disk"


def test_a_new_process_of_a_node_completes_what_the_one_before_began(store: SteppedStore, lost: Orphan) -> None:
    again = replace(A, id="a#2")
    for node in (A, again):
        store.renew(node)
    assert not of(store, again.id).adopt(9), "the former process runs still"
    assert store.find_node("a") == A
    store.leave(A.id)
    assert store.find_node("a") == again
    assert not of(store, B.id).adopt(9), "the node is alive"
    assert of(store, again.id).adopt(9) == [lost]
    of(store, again.id).write([(lost.found, UPLOAD)], [])
    assert not of(store, again.id).adopt(9), "it has its disk, and goes on"
    of(store, again.id).write([], [("door", lost.found.segment.name)])
    store.tick(9 * ADOPT_AFTER_S)
    store.renew(B)
    assert not of(store, B.id).adopt(9), "it was uploaded"


def test_a_node_that_stays_away_is_forgotten(
    store: SteppedStore, lost: Orphan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "FORGET_BATCH", 2)
    table = of(store, B.id)
    for number in range(4):
        ClusterRecordings(store).record(replace(file_of("a", lost.found.segment), name=str(number)), 0)
    assert ClusterRecordings(store).record(file_of("b", replace(lost.found.segment, start_90k=0)), 0) is False
    store.leave(C.id)
    assert [(node.name, node.has_left) for node in table.absent()] == [("a", False), ("c", True)]
    assert not table.forget()
    store.tick(FORGET_AFTER_S + ADOPT_AFTER_S + 2)
    store.renew(B)
    while table.forget():
        pass
    assert {node_name for _, node_name, _ in store.rows()} == {"b"}
    assert not table.absent()
    assert not table.adopt(9)
