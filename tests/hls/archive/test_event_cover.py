"""Event cover: what events want of segments, after every change of either, in both databases."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

from sqlalchemy import select, text

from gateway.clock import CLOCK_RATE
from gateway.event import Event
from hls.archive import schema
from hls.archive.event_cover import DEFAULT_ROLLS, EventCover, Rolls
from hls.archive.segment import Segment, SegmentState
from hls.archive.table import SegmentTable
from hls.events import table as event_table
from tests.hls.archive.test_index import make, make_sub
from tests.support.sources.encoded import START_90K


def mark(index: SegmentTable, number: int, start_s: float, end_s: float | None, *, protects: bool = False) -> Event:
    start_90k = START_90K + round(start_s * CLOCK_RATE)
    end_90k = None if end_s is None else START_90K + round(end_s * CLOCK_RATE)
    event = Event(f"{number:036}", "door", start_90k, end_90k, "ring", "ems", is_protected=protects)
    return event_table.create(index, event, None, 9999)[0]


def covers(index: SegmentTable, camera_id: str = "door") -> list[int]:
    """Of each segment, in the order of time."""
    table = schema.segment.c
    query = select(table.event_cover).where(table.camera_id == camera_id).order_by(table.start_90k, table.rendition)
    with index.transaction() as connection:
        return list(connection.scalars(query))


def expected(segments: list[Segment], events: list[Event], rolls: Rolls = DEFAULT_ROLLS) -> list[int]:
    """By the definition."""
    found = []
    for segment in segments:
        of = [
            1 + event.is_protected
            for event in events
            if event.start_90k - rolls.before_90k < segment.end_90k
            and (event.end_90k is None or event.end_90k + rolls.after_90k > segment.start_90k)
        ]
        found.append(max(of, default=0))
    return found


def test_the_clip_of_an_event_is_covered_and_what_is_beside_it_is_not(any_index: SegmentTable) -> None:
    for number in range(4):
        any_index.save(make(number), ())
    any_index.save(make_sub(1), ())
    any_index.save(make(1, "yard"), ())
    mark(any_index, 1, 605, 606)
    assert covers(any_index) == [1, 1, 1, 0, 0]  # ten seconds before are in the first segment; both streams
    assert covers(any_index, "yard") == [0]
    assert any_index.oldest("door", 9, cover=EventCover.NONE) == [make(2), make(3)]
    assert any_index.oldest("door", 9, cover=EventCover.COVERED) == [make(0), make(1)]


def test_the_rolls_of_the_camera_count(any_index: SegmentTable) -> None:
    any_index.rolls_of = lambda _: Rolls(0, 120 * CLOCK_RATE)
    for number in range(3):
        any_index.save(make(number), ())
    mark(any_index, 1, 601, 1100)
    assert covers(any_index) == [0, 1, 1]


def test_a_segment_gets_its_cover_when_it_is_finished(any_index: SegmentTable) -> None:
    going_on = mark(any_index, 1, 100, None)
    growing = make(1, state=SegmentState.GROWING, end_reason=None)
    any_index.save(growing, ())
    assert any_index.oldest("door", 9) == []
    any_index.save(make(1), ())
    any_index.add_if_missing(make(0), ())
    assert covers(any_index) == [1, 1]
    event_table.change(any_index, going_on.id, lambda event: replace(event, end_90k=START_90K + 101 * CLOCK_RATE))
    assert covers(any_index) == [1, 0]
    event_table.remove(any_index, going_on.id)
    assert covers(any_index) == [0, 0]


def test_random_changes_leave_the_cover_that_the_events_say(any_index: SegmentTable) -> None:
    random = Random(7)
    segments = [make(number) for number in range(12)]
    for segment in segments:
        any_index.save(segment, ())
    events: dict[str, Event] = {}
    for number in range(30):
        what = random.choice(("create", "create", "change", "remove"))
        if what == "create" or not events:
            start_s = random.uniform(-1000, 8000)
            end_s = random.choice((None, start_s, start_s + random.uniform(0, 9000), start_s + 30))
            event = mark(any_index, number, start_s, end_s, protects=random.random() < 0.3)
            events[event.id] = event
        elif what == "change":
            event = random.choice(list(events.values()))
            start_90k = START_90K + round(random.uniform(-1000, 8000) * CLOCK_RATE)
            values = random.choice(
                (
                    {"start_90k": start_90k, "end_90k": start_90k + 600 * CLOCK_RATE},
                    {"is_protected": not event.is_protected},
                    {"end_90k": None},
                )
            )
            changed = replace(event, **values)
            events[event.id] = event_table.change(any_index, event.id, partial(_become, changed))[0]
        else:
            event_table.remove(any_index, random.choice(list(events)))
            events = {key: each for key, each in events.items() if event_table.get(any_index, key) is not None}
        assert covers(any_index) == expected(segments, list(events.values())), (number, what)


def test_an_index_of_version_6_gets_the_cover_of_its_events(tmp_path: Path) -> None:
    for made in _opened(tmp_path):
        for number in range(3):
            made.save(make(number), ())
        mark(made, 1, 700, 701, protects=True)
        with made.transaction() as connection:
            connection.execute(text("DROP INDEX segment_retention"))
            connection.execute(text("ALTER TABLE segment DROP COLUMN event_cover"))
            connection.execute(text("UPDATE schema_version SET version = 6"))
    for made in _opened(tmp_path):
        assert covers(made) == [0, 2, 0]


def _become(after: Event, _: Event) -> Event:
    return after


def _opened(folder: Path) -> Iterator[SegmentTable]:
    made = SegmentTable(folder)
    made.open()
    yield made
    made.close()
