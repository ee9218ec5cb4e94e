"""A gateway as a node of a cluster, with a PostgreSQL server: what goes on when a part of it fails or is slow."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from gateway.cluster.actions import Claim
from gateway.cluster.model import Node
from gateway.cluster.placement import ranked
from hls.archive.access_schema import access_tables
from hls.cluster import schema
from hls.cluster.store import PostgresStore
from tests.gateway.rtsp_server.test_server import TCP, Line, Open
from tests.support.eventually import eventually
from tests.support.whip import publish
from web.gateway import Gateway
from web.observability.health import problems
from web.settings import load_settings

pytestmark = pytest.mark.integration

CAMERAS = {
    "door": {"url": "fake://door?width=160&height=96", "engine": "fake", "record": "never"},
    "phone": {"url": "whip:", "record": "never"},
}


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    made = create_engine(postgres_url)
    yield made
    with made.begin() as connection:
        schema.tables.drop_all(connection)
        access_tables.drop_all(connection)
    made.dispose()


@pytest.fixture
def other(postgres_url: str, engine: Engine) -> Iterator[PostgresStore]:
    """The store of another node, which has the cameras."""
    store = PostgresStore(postgres_url)
    store.open()
    for camera_id, table in CAMERAS.items():
        store.set_camera(camera_id, (), table)
    yield store
    store.close()


@pytest.fixture
async def gateway(
    postgres_url: str, other: PostgresStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Gateway]:
    monkeypatch.setattr("gateway.cluster.coordinator.JOIN_S", 0.0)
    monkeypatch.chdir(tmp_path)
    settings = {"data_dir": tmp_path / "data", "archive_min_free_bytes": 0, "webrtc_udp_port": 0}
    made = Gateway(load_settings(cluster_url=postgres_url, node_name="a", **settings))
    await made.start()
    yield made
    await made.close()


def owned(gateway: Gateway) -> set[str]:
    assert gateway.cluster is not None
    return set(gateway.cluster.coordinator.owned)


async def test_who_publishes_a_camera_is_disconnected_when_another_node_has_it_and_viewers_stay(
    gateway: Gateway, other: PostgresStore
) -> None:
    assert gateway.cluster is not None
    node_id = gateway.cluster.coordinator.node.id
    await eventually(lambda: owned(gateway) == CAMERAS.keys(), "the node owns the cameras")
    peer, publisher = await publish(gateway.whip, gateway.service.camera("phone"))
    await gateway.rtsp.start("127.0.0.1", 0, Open())
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.rtsp.port)
    line = Line(f"rtsp://127.0.0.1:{gateway.rtsp.port}", reader, writer)
    try:
        await line.ask("DESCRIBE")
        _, headers, _ = await line.ask("SETUP", "/door/trackID=0", Transport=TCP)
        assert (await line.ask("PLAY", Session=headers["session"]))[0] == 200
        talk = gateway.talk.of(gateway.service.camera("door"))
        other.renew(Node("b#1", "b", "http://b.example"))
        for camera_id, epoch in dict(gateway.cluster.coordinator.owned).items():
            assert other.hand_over(camera_id, node_id, epoch, "b#1")
            assert other.claim(camera_id, "b#1", epoch)
        await eventually(lambda: publisher.id not in gateway.whip.publishers, "the publisher is ended")
        assert gateway.talk.talks.get("door") is not talk
        assert gateway.service.camera("door").viewers == {"rtsp": 1}
        assert gateway.cluster.elsewhere("phone") == "the node b of the cluster captures it: use http://b.example"
    finally:
        writer.close()
        await peer.close()


async def test_an_exception_in_the_coordinator_is_told_and_the_lease_is_renewed(
    gateway: Gateway, engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert gateway.cluster is not None
    cluster = gateway.cluster
    await eventually(lambda: owned(gateway) == CAMERAS.keys(), "the node owns the cameras")

    def fail(*_: Any) -> Any:
        raise ValueError("postgresql://user:Hunter2@host")

    monkeypatch.setattr("gateway.cluster.coordinator.ranked", fail)
    with caplog.at_level(logging.ERROR):
        await eventually(lambda: cluster.faults.count >= 2, "the decision has failed twice")
    assert "Traceback" in caplog.text
    assert sum("could not be decided" in record.message for record in caplog.records) == 1
    (problem,) = [each for each in problems(gateway) if each.code == "cluster_fault"]
    assert "ValueError" in problem.message
    assert "Hunter2" not in problem.message
    assert cluster.status().fault == problem.message

    def lease() -> Any:
        with engine.begin() as connection:
            return connection.scalar(text("SELECT expires_at FROM cluster_node"))

    before = lease()
    await eventually(lambda: lease() > before, "the lease is renewed")
    monkeypatch.setattr("gateway.cluster.coordinator.ranked", ranked)
    await cluster.edit_cameras(lambda tables: tables | {"gate": CAMERAS["door"]})
    await eventually(lambda: "gate" in owned(gateway), "it decides again")


async def test_a_claim_that_waits_does_not_delay_the_lease(gateway: Gateway, engine: Engine) -> None:
    assert gateway.cluster is not None
    cluster = gateway.cluster
    await eventually(lambda: owned(gateway) == CAMERAS.keys(), "the node owns the cameras")
    with engine.begin() as connection:
        # Claims wait for this transaction, readers do not.
        connection.execute(text("LOCK TABLE cluster_owner IN EXCLUSIVE MODE"))
        await cluster.edit_cameras(lambda tables: tables | {"gate": CAMERAS["door"]})

        def claim() -> int:
            pending = cluster.coordinator._pending.items()
            return next((number for number, (request, _) in pending if isinstance(request, Claim)), 0)

        number = await eventually(claim, "the camera is claimed")
        before = cluster.coordinator._view_s

        def is_renewed() -> bool:
            assert claim() == number, "the claim was answered or given up before"
            return cluster.coordinator._view_s != before

        await eventually(is_renewed, "the lease is renewed while the claim waits")
    await eventually(lambda: "gate" in owned(gateway), "the claim is made afterwards")
