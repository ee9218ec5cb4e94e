"""What the nodes of a cluster share besides cameras: tokens, links, marks of cameras and documents, in PostgreSQL."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.access import Scope
from gateway.clock import SYSTEM_CLOCK
from gateway.errors import ConflictError, NotFoundError, UnavailableError
from hls.cluster import shared
from hls.cluster.store import PostgresStore
from tests.support.manual_clock import OffsetClock
from tests.support.shared_access import cluster_shared
from web import wall_store
from web.auth.access_table import IssuedLink
from web.auth.issued import IssuedAccess
from web.auth.roles import Role
from web.auth.shared_access import SharedAccess
from web.cluster.documents import ClusterDocuments, DocumentKind
from web.cluster.marks import ClusterMarks
from web.cluster.shared import ClusterIndex, ClusterShared
from web.wall_store import WallSettings, WallStore

pytestmark = pytest.mark.integration

VIEW = frozenset({Scope.VIEW})

WALL = WallSettings.model_validate({"name": "gates", "tiles": [{"camera_id": "door", "rendition": "auto"}]})


@pytest.fixture
def nodes(postgres_url: str) -> Iterator[list[ClusterShared]]:
    with cluster_shared(postgres_url, OffsetClock()) as both:
        yield both


async def test_tokens_and_links_of_one_node_are_those_of_the_other(nodes: list[ClusterShared]) -> None:
    access = [SharedAccess(each, SYSTEM_CLOCK) for each in nodes]
    first, second = (
        IssuedAccess(ClusterIndex(each), SYSTEM_CLOCK, both) for each, both in zip(nodes, access, strict=True)
    )
    revoked: list[str] = []
    first.on_revoked = lambda: revoked.append("first")
    second.on_revoked = lambda: revoked.append("second")
    for issued, both in zip((first, second), access, strict=True):
        both.on_changed.append(issued.reload)
    token, text = await first.tokens.create("guard", Role.VIEWER, VIEW, None, None, "admin")
    with pytest.raises(ConflictError):
        await second.tokens.create("guard", Role.VIEWER, VIEW, None, None, "admin")
    for each in access:
        assert await each.refresh()
    assert second.tokens.find(text) is not None
    await second.tokens.flush()
    assert not await access[0].refresh(), "when a token was used is no news"
    link = IssuedLink("id", "for the police", "/mjpeg/door", 0, "admin", SYSTEM_CLOCK.wall_90k() + 90_000 * 600)
    await second.links.add(link)
    await first.refresh()
    await first.links.revoke("id")
    await first.tokens.revoke(token.id)
    await second.refresh()
    assert (second.links.is_revoked("id"), second.tokens.find(text)) == (True, None)
    assert revoked == ["first", "first", "second", "second"]
    with pytest.raises(NotFoundError):
        await second.tokens.revoke(token.id)


async def test_a_removed_camera_has_one_mark_at_all_nodes(nodes: list[ClusterShared], postgres_url: str) -> None:
    store = PostgresStore(postgres_url)
    store.open()
    marks = [ClusterMarks(each) for each in nodes]
    numbers = [await nodes[0].call(lambda connection, _: shared.number(connection))]
    store.set_camera("door")
    store.remove_camera("door")
    for each in marks:
        await each.update(is_kept=True)
    mark = marks[0].of("door")
    assert mark
    assert (marks[1].of("door"), marks[0].of("gate")) == (mark, "")
    numbers.append(await nodes[1].call(lambda connection, _: shared.number(connection)))
    assert numbers[0] != numbers[1], "nodes learn of it"
    store.set_camera("door")
    assert store.edit_cameras(lambda _: {}) == {}
    assert ClusterMarks(nodes[1]).of("door") not in ("", mark)
    store.close()


async def test_walls_of_one_node_are_those_of_the_other_within_their_limit(
    nodes: list[ClusterShared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wall_store, "WALLS_MAX", 2)
    first, second = (WallStore(tmp_path, ClusterDocuments(each, DocumentKind.WALL)) for each in nodes)
    assert await first.put("b", WALL)
    assert await second.put("a", WALL)
    with pytest.raises(ConflictError):
        await first.put("c", WALL)  # it does not know of the other's
    assert not await first.put("a", WALL.model_copy(update={"name": "other"}))
    await second.refresh()
    assert [(key, wall.name) for key, wall in second.walls.items()] == [("b", "gates"), ("a", "other")]
    await second.remove("b")
    with pytest.raises(NotFoundError):
        await first.remove("b")
    assert WallStore(tmp_path, ClusterDocuments(nodes[0], DocumentKind.WALL)).walls.keys() == {"a"}
    assert list(tmp_path.iterdir()) == []


async def test_a_document_of_a_newer_liveedge_is_left_out(nodes: list[ClusterShared], tmp_path: Path) -> None:
    documents = ClusterDocuments(nodes[0], DocumentKind.WALL)

    def check(_: Mapping[str, str]) -> None:
        pass

    await documents.put("new", '{"name": "gates", "rings": 3}', check)
    await documents.put("old", WALL.model_dump_json(), check)
    assert WallStore(tmp_path, documents).walls == {"old": WALL}
    assert await documents.remove(["new", "none"])
    assert (await documents.read()).keys() == {"old"}


async def test_while_the_database_is_away_one_request_at_a_time_tries_it(
    nodes: list[ClusterShared], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, tried = nodes[0], 0
    call, store = made.thread.call, made.thread.store

    async def counted(*arguments: Any) -> Any:
        nonlocal tried
        tried += 1
        return await call(*arguments)

    monkeypatch.setattr(made.thread, "call", counted)
    monkeypatch.setattr("web.cluster.shared.AGAIN_S", 3600.0)
    access = SharedAccess(made, SYSTEM_CLOCK)
    assert await access.refresh()
    made.thread.now(store.close)
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await access.find("key")
    assert tried == 2, "the others fail at once"
    monkeypatch.setattr("web.cluster.shared.AGAIN_S", 0.0)
    made.thread.open()
    monkeypatch.setattr(made, "_again_s", 0.0)
    assert [await access.find("key") for _ in range(2)] == [None, None]
