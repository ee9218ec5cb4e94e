"""EventWriter: what the index cannot keep waits, in order, up to a limit."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import ConflictError, StorageError
from gateway.event import Event
from hls.archive.index import SegmentIndex
from hls.events import writer as writer_module
from hls.events.service import EventService
from hls.events.writer import EventWriter
from hls.settings import EventSettings
from tests.hls.events.test_table import make
from tests.support.manual_clock import ManualClock
from tests.support.sources.encoded import START_90K


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[SegmentIndex]:
    made = SegmentIndex(tmp_path)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def events(index: SegmentIndex) -> AsyncIterator[EventService]:
    made = EventService(index, EventSettings(events_max=2), ManualClock(START_90K), lambda: START_90K)
    await made.start()
    yield made
    await made.close()


def reviewed(event: Event) -> Event:
    return replace(event, is_reviewed=True)


async def test_what_waits_is_written_in_order_once_the_index_is_back(
    index: SegmentIndex, events: EventService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "WAITING_MAX", 2)
    writer = EventWriter(events)
    await index.call(lambda table: table.close())
    assert writer.make(make(0))
    writer.change(make(0).id, reviewed)
    assert not writer.make(make(1))
    assert events.unwritten_dropped == 1
    for _ in range(2):
        with pytest.raises(StorageError):
            await writer.write()
    assert len(writer) == 2
    await index.call(lambda table: table.open())
    await writer.write()
    assert len(writer) == 0
    assert await events.get(make(0).id) == reviewed(make(0))


async def test_an_event_that_was_made_although_the_answer_was_lost_is_not_made_again(
    index: SegmentIndex, events: EventService
) -> None:
    writer = EventWriter(events)
    writer.make(make(0))
    await index.call(lambda table: table.close())
    with pytest.raises(StorageError):
        await writer.write()
    await index.call(lambda table: table.open())
    await events.create(make(0))
    await writer.write()
    assert events.stored == 1


async def test_what_is_refused_is_given_up(events: EventService) -> None:
    for number in range(2):
        await events.create(make(number, is_protected=True))
    writer = EventWriter(events)
    writer.make(make(2))
    writer.change(make(2).id, reviewed)
    with pytest.raises(ConflictError):
        await writer.write()
    await writer.write()  # there is no such event: nothing happens
    assert len(writer) == 0
