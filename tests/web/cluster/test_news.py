"""What another node changes in the database is known without asking: with a real PostgreSQL server."""

import logging

import pytest

from gateway.cluster.model import Node
from hls.cluster.shared import SHARED
from hls.cluster.store import PostgresStore
from tests.support.eventually import eventually
from tests.support.postgres import postgres_server
from web.cluster import news
from web.cluster.news import ClusterNews

pytestmark = pytest.mark.integration


async def test_each_change_by_another_node_is_news_also_after_the_database_was_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(news, "AGAIN_S", 0.05)
    heard = 0

    def on_news(about: str | None) -> None:
        nonlocal heard
        heard += about != SHARED

    with postgres_server() as server:
        store = PostgresStore(server.url)
        store.open()
        listening = ClusterNews(server.url, on_news)
        listening.start()
        await eventually(lambda: heard == 1, "it listens")
        node, other = Node("a#1", "a"), Node("b#1", "b")
        for each in (node, other):
            store.renew(each)
        changes = [
            lambda: store.set_camera("door"),
            lambda: store.claim("door", node.id, 0),
            lambda: store.hand_over("door", node.id, 1, other.id),
            lambda: store.claim("door", other.id, 1),
            lambda: store.release("door", other.id, 2),
            lambda: store.want_drain("a"),
            lambda: store.want_rebalance(),
            lambda: store.remove_camera("door"),
            lambda: store.leave(node.id),
        ]
        for number, change in enumerate(changes):
            assert change() is not False
            await eventually(lambda number=number: heard == number + 2, f"change {number} is known")  # type: ignore[misc]
        # What changes nothing is none: neither a claim that fails, nor a renewal.
        assert store.claim("door", other.id, 7) is None
        store.renew(other)
        store.set_camera("gate")
        await eventually(lambda: heard == len(changes) + 2, "the change is known")
        server.stop()
        server.start()
        heard = 0
        await eventually(lambda: heard == 1, "it listens again")
        store.set_camera("door")
        await eventually(lambda: heard == 2, "the change is known")
        await listening.close()
        store.close()


async def test_another_driver_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    listening = ClusterNews("postgresql+psycopg2://a@127.0.0.1/b", lambda _: None)
    listening.start()
    await listening.close()
    assert "sooner with postgresql+psycopg" in caplog.text
