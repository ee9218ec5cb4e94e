"""Requests of a node to the database of its cluster, and what becomes of them when it is slow."""

import threading

import pytest

from gateway.errors import UnavailableError
from web.cluster.service import Cluster
from web.settings import load_settings


async def test_what_was_refused_because_the_database_was_slow_is_not_done_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("web.cluster.database_thread.REQUEST_MAX_S", 0.05)
    cluster = Cluster(load_settings(cluster_url="postgresql+psycopg://liveedge@192.0.2.1/liveedge"))
    answers, made = threading.Event(), list[str]()

    def change_slowly(change: str) -> None:
        answers.wait(10)
        made.append(change)

    try:
        for change in ("first", "second"):
            with pytest.raises(UnavailableError, match="does not answer"):
                await cluster.call(change_slowly, change)
        answers.set()
        await cluster.call(made.append, "third")
    finally:
        answers.set()
        cluster.close()
    assert made == ["first", "third"], "the second had not begun when it was refused"
