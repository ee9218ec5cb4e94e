"""EventService: the order of changes, hearing of them, and the limits."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from gateway.clock import CLOCK_RATE
from gateway.errors import NotFoundError, StorageError
from gateway.event import ChangeKind, EventChange, EventFilter, EventOrder, IdempotencyKey
from hls.archive.index import SegmentIndex
from hls.archive.table import SegmentTable
from hls.events import service as service_module
from hls.events import table
from hls.events.service import EventService
from hls.settings import EventSettings
from tests.hls.events.test_table import make
from tests.support.eventually import eventually
from tests.support.index_tables import drop_tables
from tests.support.manual_clock import ManualClock
from tests.support.sources.encoded import START_90K


class Place:
    """An index in a folder, and the service over it, which a test opens again as a restart does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock(START_90K)
        self.age_now_90k: int | None = START_90K
        self.settings = EventSettings()

    async def open(self) -> EventService:
        self.index = SegmentIndex(self.folder)
        await self.index.open()
        self.events = EventService(self.index, self.settings, self.clock, lambda: self.age_now_90k)
        await self.events.start()
        return self.events

    async def close(self) -> None:
        await self.events.close()
        await self.index.close()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path)
    await made.open()
    yield made
    await made.close()


async def test_a_client_continues_after_its_last_change_over_a_restart(place: Place) -> None:
    events = place.events
    await events.create(make(0))
    seen = events.position
    await events.create(make(1))
    await place.close()
    events = await place.open()
    await events.update(make(0).id, lambda e: replace(e, is_reviewed=True))
    changes = await events.changes_after(seen)
    assert changes is not None
    assert [(change.kind, change.event.id) for change in changes] == [
        (ChangeKind.CREATED, make(1).id),
        (ChangeKind.UPDATED, make(0).id),
    ]
    assert await events.changes_after(events.position) == []


async def test_a_place_that_the_log_does_not_have_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CHANGES_MAX", 3)
    start = place.events.position
    for number in range(5):
        await place.events.create(make(number))
    await place.close()
    events = await place.open()
    assert await events.changes_after(start) is None
    epoch = start.partition("-")[0]
    assert [each.number for each in await events.changes_after(f"{epoch}-2") or []] == [3, 4, 5]
    for wrong in ("", "5", "-5", f"{epoch}-", f"{epoch}-6", f"{epoch}--1", "00000000-5", f"{epoch}-{'9' * 40}"):
        assert await events.changes_after(wrong) is None


async def test_many_changes_come_from_memory_then_from_the_database(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "READ_MAX", 4)
    position, start = place.events.position, place.events.position
    place.events._recent = type(place.events._recent)(maxlen=3)
    for number in range(10):
        await place.events.create(make(number))
    found: list[EventChange] = []
    while changes := await place.events.changes_after(position):
        found += changes
        position = place.events.position_of(changes[-1].number)
    assert [change.event for change in found] == [make(number) for number in range(10)]
    assert start != position == place.events.position


async def test_who_waits_hears_of_a_change_and_of_the_end(place: Place) -> None:
    events = place.events
    waiting = asyncio.create_task(events.wait_for_change(events.position, 60))
    old = events.position
    await asyncio.sleep(0)
    await events.create(make(0))
    await waiting
    await events.wait_for_change(old, 60)  # at once
    last = asyncio.create_task(events.wait_for_change(events.position, 60))
    await asyncio.sleep(0)
    events.end_streams()
    await last


async def test_a_change_is_told_in_order_also_if_its_client_hangs_up(place: Place) -> None:
    heard: list[int] = []
    end = place.events.on_change(lambda change: heard.append(change.number))
    tasks = [asyncio.create_task(place.events.create(make(number))) for number in range(6)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await eventually(lambda: len(heard) == 6, "the listener has all")
    assert heard == [1, 2, 3, 4, 5, 6]
    end()
    await place.events.create(make(7))
    assert len(heard) == 6


async def test_limits_delete_the_oldest_and_no_wrong_clock_does(place: Place) -> None:
    for number in range(4):
        await place.events.create(make(number))
    place.events.reload(EventSettings(event_max_age=60))
    place.age_now_90k = None
    assert await place.events.run_retention() == 0
    place.age_now_90k = START_90K + 150 * CLOCK_RATE
    assert await place.events.run_retention() == 2
    place.events.reload(EventSettings(events_max=1))
    assert await place.events.run_retention() == 1
    page = await place.events.page(EventFilter(), EventOrder.NEWEST, 10)
    assert (page.events, page.next_cursor) == ([make(3)], None)
    assert (place.events.expired, place.events.stored) == (3, 1)
    assert place.events.counted["door", ChangeKind.DELETED] == 3


async def test_an_index_that_is_another_file_ends_every_place_in_the_log(place: Place) -> None:
    await place.events.create(make(0))
    before = place.events.position
    (place.folder / "index.sqlite3").unlink()
    await place.index.call(SegmentTable.repair)
    await place.events.index_repaired()
    assert place.events.stored == 0
    assert await place.events.changes_after(before) is None
    with pytest.raises(NotFoundError):
        await place.events.delete(make(0).id)


async def test_nobody_sees_events_of_no_camera(place: Place) -> None:
    await place.events.create(make(0))
    assert (await place.events.page(EventFilter(frozenset()), EventOrder.NEWEST, 10)).events == []


class Commits:
    """A relay to PostgreSQL that can lose the answer to a COMMIT, with the connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.loses_next = False
        self.running: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection."""
        task = asyncio.current_task()
        assert task is not None
        self.running.add(task)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        lost = asyncio.Event()

        async def forward() -> None:
            while data := await reader.read(65536):
                if self.loses_next and b"COMMIT" in data:
                    self.loses_next = False
                    lost.set()
                far_writer.write(data)

        sending = asyncio.create_task(forward())
        while data := await far_reader.read(65536):
            if lost.is_set():
                break  # the server has committed: this is its answer
            writer.write(data)
        sending.cancel()
        for each in (writer, far_writer):
            each.close()
            with contextlib.suppress(ConnectionError):
                await each.wait_closed()


@pytest.mark.integration
async def test_a_change_whose_answer_was_lost_is_told_later(postgres_url: str) -> None:
    url = make_url(postgres_url)
    assert url.port is not None
    commits = Commits(url.port)
    async with await asyncio.start_server(commits.serve, "127.0.0.1", 0) as relay:
        port = relay.sockets[0].getsockname()[1]
        index = SegmentIndex(Path("/nowhere"), url.set(port=port).render_as_string(hide_password=False))
        await index.open()
        events = EventService(index, EventSettings(), ManualClock(START_90K), lambda: START_90K)
        await events.start()
        heard: list[EventChange] = []
        events.on_change(heard.append)
        seen = events.position
        key = IdempotencyKey("ems", "1", "digest")
        commits.loses_next = True
        with pytest.raises(StorageError):
            await events.create(make(0), key)
        assert not heard
        kept, is_new = await events.create(make(0, label="repeated"), key)
        assert (kept, is_new) == (make(0), False)
        assert [(change.kind, change.event.id) for change in heard] == [(ChangeKind.CREATED, make(0).id)]
        await events.create(make(1))
        changes = await events.changes_after(seen)
        assert changes is not None
        assert [change.event.id for change in changes] == [make(0).id, make(1).id]
        assert events.stored == 2
        await events.close()
        await index.call(drop_tables)
        await index.close()
        await asyncio.wait(commits.running)
