"""Event cover: whether events want a segment to be kept, in a column of its row.

Theory of operation. Retention asks every few seconds for the oldest segments that no event keeps. To look for the
events of each segment then would take seconds where most of them are kept. So each finished segment has its cover in
the index by which it is found. It is written with the segment, and with each change of an event, in one transaction.

Rules:

1. An event covers the segments of its camera, of both streams, that have a part of its clip: ``PRE_ROLL`` before its
   start to ``POST_ROLL`` after its end, as they are set when the event changes. An open event has no end yet.
2. What an event protects is never deleted; what one covers is kept longer where ``ARCHIVE_EVENT_MAX_AGE`` says so.
3. A segment that grows has no cover: it is not deleted anyway.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, case, func, or_, select, update

from gateway.clock import CLOCK_RATE, seconds_90k
from hls.archive import schema
from hls.archive.event_schema import LONG_90K, event
from hls.settings import POST_ROLL_S, PRE_ROLL_S

SEGMENT_MAX_90K = 2 * 86_400 * CLOCK_RATE
"""No segment lasts longer: ``ARCHIVE_SEGMENT_SECONDS`` is a day at most, and then it takes one keyframe more."""


IDS_MAX = 500
"""Rows that one statement names."""


class EventCover(IntEnum):
    """What events want of a segment."""

    NONE = 0
    COVERED = 1
    PROTECTED = 2


class Rolls(NamedTuple):
    """How much before and after an event belongs to it."""

    before_90k: int
    after_90k: int


DEFAULT_ROLLS = Rolls(seconds_90k(PRE_ROLL_S), seconds_90k(POST_ROLL_S))


class Marked(NamedTuple):
    """What an event covers; ``end_90k`` is ``None`` while it goes on."""

    start_90k: int
    end_90k: int | None
    is_protected: bool


def cover_of(connection: Connection, camera_id: str, start_90k: int, end_90k: int, rolls: Rolls) -> EventCover:
    """The cover of a segment in [start, end)."""
    cover = func.max(case((event.c.is_protected, EventCover.PROTECTED.value), else_=EventCover.COVERED.value))
    found = [
        connection.scalar(select(cover).where(*conditions))
        for conditions in _events(camera_id, start_90k - rolls.after_90k, end_90k + rolls.before_90k)
    ]
    return EventCover(max((value for value in found if value is not None), default=0))


def change_cover(
    connection: Connection, camera_id: str, before: Marked | None, after: Marked | None, rolls: Rolls
) -> None:
    """Write what a change of an event does to the segments, after it was written. ``None``: there is no event."""
    if before == after:
        return
    if before is not None:
        _recompute(connection, camera_id, before, rolls)
    if after is not None:
        cover = EventCover.PROTECTED if after.is_protected else EventCover.COVERED
        table = schema.segment.c
        is_less = table.event_cover < cover.value
        connection.execute(
            update(schema.segment).where(*_segments(camera_id, after, rolls), is_less).values(event_cover=cover.value)
        )


def fill_cover(connection: Connection, rolls: Rolls) -> None:
    """Write the cover of all segments: of an index that had none."""
    for camera_id in connection.scalars(select(event.c.camera_id).distinct()).all():
        _recompute(connection, camera_id, Marked(0, None, False), rolls)


def _recompute(connection: Connection, camera_id: str, span: Marked, rolls: Rolls) -> None:
    """Write the cover of the segments that an event covered, by all events that there are now."""
    table = schema.segment.c
    columns = (table.id, table.start_90k, table.duration_90k, table.event_cover)
    segments = connection.execute(
        select(*columns).where(*_segments(camera_id, span, rolls)).order_by(table.start_90k)
    ).all()
    if not segments:
        return
    first_90k = segments[0].start_90k - rolls.after_90k
    last_90k = max(each.start_90k + each.duration_90k for each in segments) + rolls.before_90k
    marks = [
        Marked(*row)
        for conditions in _events(camera_id, first_90k, last_90k)
        for row in connection.execute(
            select(event.c.start_90k, event.c.end_90k, event.c.is_protected).where(*conditions)
        )
    ]
    changed: dict[EventCover, list[int]] = {}
    for row_id, cover in _covers(segments, marks, rolls):
        changed.setdefault(cover, []).append(row_id)
    for cover, ids in changed.items():
        for at in range(0, len(ids), IDS_MAX):
            chosen = table.id.in_(ids[at : at + IDS_MAX])
            connection.execute(update(schema.segment).where(chosen).values(event_cover=cover.value))


def _covers(segments: Iterable[Any], marks: list[Marked], rolls: Rolls) -> Iterable[tuple[int, EventCover]]:
    """The rows whose cover has changed: segments and events in the order of time, in one pass."""
    marks.sort(key=lambda mark: mark.start_90k)
    going_on: list[tuple[int | None, bool]] = []
    following = 0
    for row in segments:
        before_90k = row.start_90k + row.duration_90k + rolls.before_90k
        while following < len(marks) and marks[following].start_90k < before_90k:
            mark = marks[following]
            end_90k = None if mark.end_90k is None else mark.end_90k + rolls.after_90k
            going_on.append((end_90k, mark.is_protected))
            following += 1
        going_on = [mark for mark in going_on if mark[0] is None or mark[0] > row.start_90k]
        cover = EventCover.NONE
        if going_on:
            cover = EventCover.PROTECTED if any(mark[1] for mark in going_on) else EventCover.COVERED
        if cover != row.event_cover:
            yield row.id, cover


def _segments(camera_id: str, span: Marked, rolls: Rolls) -> list[ColumnElement[bool]]:
    """The segments that an event covers."""
    table = schema.segment.c
    start_90k = span.start_90k - rolls.before_90k
    conditions: list[ColumnElement[bool]] = [
        table.camera_id == camera_id,
        table.rendition.in_(("main", "sub")),  # so that the index by time is used
        table.start_90k > start_90k - SEGMENT_MAX_90K,
        table.start_90k + table.duration_90k > start_90k,
    ]
    if span.end_90k is not None:
        conditions.append(table.start_90k < span.end_90k + rolls.after_90k)
    return conditions


def _events(camera_id: str, start_90k: int, end_90k: int) -> tuple[list[ColumnElement[bool]], ...]:
    """The events in [start, end): short ones, and long ones, which another index finds."""
    table = event.c
    both = [table.camera_id == camera_id, table.start_90k < end_90k]
    short = [*both, table.is_long.is_(False), table.start_90k > start_90k - LONG_90K, table.end_90k > start_90k]
    return short, [*both, table.is_long.is_(True), or_(table.end_90k > start_90k, table.end_90k.is_(None))]
