"""The SQL of activity: what :mod:`hls.archive.activity` says of each segment. Blocking; in the thread of the index.

Rules:

1. The activity of a segment is written with its row, and goes with it.
2. Levels of sound are kept where a file does not tell them: one that was cut by a crash.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, insert, select, update

from hls.archive import schema
from hls.archive.activity import Activity
from hls.archive.baseline import Baseline, baseline_of, baseline_text
from hls.archive.database import Database
from hls.archive.segment import RecordedStream, Segment
from hls.archive.segment_queries import OLDEST_FIRST, is_named, is_of, overlaps


class RecordedActivity(NamedTuple):
    """A segment's activity: ``levels`` and ``sound`` are bytes a second from its start, see :class:`Activity`."""

    name: str
    start_90k: int
    levels: bytes
    sound: bytes


def save(connection: Connection, segments: Mapping[int, Segment]) -> None:
    """Write the activity of segments, by the id of their row."""
    known = {row_id: segment.activity for row_id, segment in segments.items() if segment.activity is not None}
    if not known:
        return
    table = schema.activity.c
    present = set(connection.scalars(select(table.segment_id).where(table.segment_id.in_(known))))
    new = [{"segment_id": row_id} | _values(each) for row_id, each in known.items() if row_id not in present]
    if new:
        connection.execute(insert(schema.activity), new)
    values = {row_id: _values(each) for row_id, each in known.items() if row_id in present}
    for has_sound in (False, True):
        names = ("levels", "baseline", "sound") if has_sound else ("levels", "baseline")
        changed = [
            {"row_id": row_id} | {f"new_{name}": each[name] for name in names}
            for row_id, each in values.items()
            if bool(each["sound"]) is has_sound
        ]
        if changed:
            statement = update(schema.activity).where(table.segment_id == bindparam("row_id"))
            connection.execute(statement.values({name: bindparam(f"new_{name}") for name in names}), changed)


def baseline(database: Database, stream: RecordedStream) -> Baseline:
    """What was learned of a stream at the end of its newest segment."""
    query = select(schema.activity.c.baseline).join(schema.segment).where(is_of(stream))
    with database.transaction() as connection:
        return baseline_of(connection.scalar(query.order_by(schema.segment.c.sequence.desc()).limit(1)))


def of_segment(database: Database, segment: Segment) -> Activity | None:
    """The activity of a segment; ``None``: unknown."""
    table = schema.activity.c
    query = select(table.levels, table.sound, table.baseline).join(schema.segment)
    query = query.where(is_named(segment.camera_id, segment.name))
    with database.transaction() as connection:
        row = connection.execute(query).first()
    return None if row is None else Activity(bytes(row.levels), bytes(row.sound), baseline_of(row.baseline))


def span(
    database: Database, stream: RecordedStream, start_90k: int, end_90k: int, limit: int
) -> list[RecordedActivity]:
    """The activity of the segments of a stream that overlap [start, end), oldest first, of ``limit`` at most."""
    table, activity = schema.segment.c, schema.activity.c
    query = select(table.name, table.start_90k, activity.levels, activity.sound).join(schema.activity)
    query = query.where(*overlaps(stream, start_90k, end_90k)).order_by(*OLDEST_FIRST).limit(limit)
    with database.transaction() as connection:
        rows = connection.execute(query).all()
    return [RecordedActivity(name, at_90k, bytes(levels), bytes(sound)) for name, at_90k, levels, sound in rows]


def _values(activity: Activity) -> dict[str, Any]:
    return {"levels": activity.levels, "sound": activity.sound, "baseline": baseline_text(activity.baseline)}
