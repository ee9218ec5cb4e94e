"""A PostgreSQL server that is away or silent: cameras and recording go on, clients get 503, and it is found again."""

import asyncio
import time
from collections.abc import Iterator

import pytest
import socketio

from tests.faults.conftest import Site, Sites
from tests.support.eventually import eventually
from tests.support.postgres import PostgresServer, postgres_server

pytestmark = pytest.mark.integration

NOW = "2026-11-01T00:00:00Z"

READS = (
    "/api/events",
    "/api/events/01939000-0000-7000-8000-0000000000aa",
    "/api/cameras/door/events",
    "/api/cameras/door/segments",
    f"/api/cameras/door/segments/at?time={NOW}",
    f"/api/cameras/door/activity?start={NOW}&end=2026-11-01T01:00:00Z",
    f"/api/cameras/door/activity/next?time={NOW}",
    f"/api/cameras/door/clip.mp4?start={NOW}&end=2026-11-01T00:01:00Z",
    f"/hls/door/dvr.m3u8?start={NOW}&end=2026-11-01T01:00:00Z",
    "/archive/door/segment_20261101T000000Z.mp4",
    f"/mjpeg/door?at={NOW}",
    f"/snapshot/door.jpg?at={NOW}",
)
EVENT = {"camera_id": "door", "label": "person", "start": NOW, "end": NOW}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as made:
        yield made


async def refused(site: Site, method: str, path: str, server: PostgresServer, body: object = None) -> None:
    async with site.client.request(method, path, json=body) as reply:
        text = await reply.text()
        assert reply.status == 503, (path, reply.status, text)
        assert int(reply.headers["Retry-After"]) > 0, path
        assert (await reply.json())["error"] == "storage", path
        for secret in ("127.0.0.1", str(server.port), "liveedge@", "psycopg"):
            assert secret not in text, (path, text)


async def test_a_database_server_that_is_away(
    sites: Sites, server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    site = await sites({"door": "faulty://door"}, database_url=server.url, archive_segment_seconds=2)
    archive = site.gateway.archive
    await eventually(lambda: archive.recorders()["door"].segments_closed > 0, "a segment is closed")
    async with site.client.post("/api/events", json=EVENT) as reply:
        assert reply.status == 201, await reply.text()
        event = (await reply.json())["id"]
    browser = socketio.AsyncClient()
    await browser.connect(str(site.client.make_url("/")), transports=["websocket"])
    for command in ("segments_list_request", "segment_at_request"):
        # PostgreSQL has no text with NUL.
        assert (await browser.call(command, {"camera_id": "door\0", "time": NOW}))["error"] == "not_found"
    server.stop()
    try:
        count, edge = archive.recorders()["door"].segments_closed, site.media_sequence("door")
        for path in READS:
            await refused(site, "GET", path, server)
        await refused(site, "POST", "/api/events", server, EVENT)
        await refused(site, "PATCH", f"/api/events/{event}", server, {"reviewed": True})
        await refused(site, "DELETE", f"/api/events/{event}", server)
        for path in ("clip.mp4", "clip.jpg"):
            await refused(site, "GET", f"/api/events/{event}/{path}", server)
        for command, request in (
            ("event_create_request", EVENT),
            ("event_list_request", {}),
            ("segments_list_request", {"camera_id": "door"}),
            ("segment_at_request", {"camera_id": "door", "time": NOW}),
        ):
            answer = await browser.call(command, request)
            assert answer["error"] == "storage", (command, answer)
            assert str(server.port) not in str(answer), command
        await browser.disconnect()
        await eventually(lambda: archive.recorders()["door"].segments_closed > count, "another segment is closed")
        assert site.media_sequence("door") > edge
        async with site.client.get("/api/status") as reply:
            assert str(server.port) not in await reply.text()
        assert any("index" in problem for problem in await site.problems())
        assert not [record for record in caplog.records if record.exc_info], "no tracebacks"
    finally:
        server.start()
    await eventually(lambda: archive.status().index_error is None, "the index works again")
    await eventually(lambda: len(archive.unindexed("door")) < 2, "the index has everything that has ended")
    assert len((await site.json("/api/cameras/door/segments"))["segments"]) > count
    assert [each["id"] for each in (await site.json("/api/events"))["events"]] == [event]
    assert not await site.problems()


async def test_a_database_server_that_does_not_answer(
    sites: Sites, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hls.archive.index.WAIT_MAX_S", 0.3)
    monkeypatch.setattr("hls.archive.index.RUN_MAX_S", 0.6)
    url = f"{server.url}?connect_timeout=2"
    site = await sites({"door": "faulty://door"}, database_url=url, archive_segment_seconds=2)
    assert (await site.json("/api/events"))["events"] is not None
    with server.halted():

        async def status_of(path: str) -> int:
            async with site.client.get(path) as reply:
                assert "Retry-After" in reply.headers
                return reply.status

        began_s = time.monotonic()
        answers = await asyncio.gather(*(status_of(path) for path in READS * 2))
        assert set(answers) == {503}
        assert time.monotonic() - began_s < 30  # without a limit: until the server goes on
        assert site.gateway.service.camera("door").session.state.value == "live"

    async def is_listed() -> bool:
        async with site.client.get("/api/cameras/door/segments") as reply:
            return reply.status == 200

    await eventually(is_listed, "the index works again")
    await eventually(lambda: site.gateway.archive.status().index_error is None, "the recorder writes again")
