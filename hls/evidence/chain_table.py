"""The SQL of evidence: records of segments, and public keys. Blocking; in the thread of the index.

Rules:

1. Each stream has one chain. Its numbers have no gaps but at its beginning.
2. A segment gets one record, after those before it in its stream: one that waits for its hash keeps the later ones.
3. A segment that is put into the index again has the record that it had. The record tells if the file is another now.
4. Records of deleted segments are kept up to :data:`DELETED_MAX` a stream; then the oldest are dropped.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, false, func, insert, select, tuple_, update

from gateway.camera_settings import RenditionName
from hls.archive import schema
from hls.archive.database import Database
from hls.archive.evidence_schema import key as key_table
from hls.archive.evidence_schema import record as record_table
from hls.archive.segment import RecordedStream, Segment, SegmentState
from hls.archive.segment_queries import OLDEST_FIRST, SELECTED, from_row, is_named
from hls.evidence.signing import PublicKey, SigningKey
from hls.evidence.statement import Record, sign_deletion, sign_segment

BATCH = 16
"""Segments signed in one transaction: 16 ms, in which no other query of the index runs."""

DELETED_MAX = 20_000
"""140 days of files of ten minutes; 20 MB."""

_COLUMNS = tuple(column for column in record_table.c if column.name != "id")
_FINISHED = (SegmentState.CLOSED.value, SegmentState.TRUNCATED.value)


def add_key(database: Database, key: PublicKey, now_90k: int) -> None:
    """Keep a public key, unless it is kept already."""
    with database.transaction(is_synced=True) as connection:
        if connection.scalar(select(key_table.c.key_id).where(key_table.c.key_id == key.key_id)) is None:
            connection.execute(
                insert(key_table).values(key_id=key.key_id, public_key=key.raw.hex(), created_90k=now_90k)
            )


def keys(database: Database) -> dict[str, PublicKey]:
    """All public keys that signed, by their id, the first one first."""
    with database.transaction() as connection:
        rows = connection.execute(select(key_table).order_by(key_table.c.created_90k)).all()
    return {row.key_id: PublicKey(bytes.fromhex(row.public_key)) for row in rows}


def sign_batch(database: Database, key: SigningKey, now_90k: int) -> int:
    """Sign the oldest segments without a record. Returns how many; 0: those that are left wait for their hash."""
    table = schema.segment.c
    query = select(*SELECTED).where(table.is_signed.is_(false()), table.state.in_(_FINISHED))
    with database.transaction() as connection:
        waiting: set[RecordedStream] = set()
        tails: dict[RecordedStream, tuple[int, str | None]] = {}
        done = 0
        for segment in map(from_row, connection.execute(query.order_by(*OLDEST_FIRST).limit(BATCH)).all()):
            stream = segment.stream
            if segment.sha256 is None:
                waiting.add(stream)
            if stream in waiting:
                continue
            if not _has_record(connection, segment):
                number, previous = tails.get(stream) or _tail(connection, stream)
                made = sign_segment(segment, number, previous, key, now_90k)
                connection.execute(
                    insert(record_table).values({each.name: getattr(made, each.name) for each in _COLUMNS})
                )
                tails[stream] = number + 1, made.digest
            connection.execute(
                update(schema.segment).where(is_named(segment.camera_id, segment.name)).values(is_signed=True)
            )
            done += 1
        return done


def sign_deletions(database: Database, deleted: Sequence[tuple[Segment, str]], key: SigningKey, now_90k: int) -> None:
    """Say of segments that retention deletes them, and why."""
    streams = {segment.stream for segment, _ in deleted}
    with database.transaction(is_synced=True) as connection:
        for segment, reason in deleted:
            for record in _records(connection, _is_segment(segment.camera_id, segment.name), limit=1):
                statement, signature = sign_deletion(record, reason, key, now_90k)
                connection.execute(
                    update(record_table)
                    .where(_is_record(record))
                    .values(deletion=statement, deletion_signature=signature)
                )
        for stream in streams:
            _drop_oldest(connection, stream)


def of_segment(database: Database, camera_id: str, name: str) -> Record | None:
    """The newest record of a segment by this name."""
    with database.transaction() as connection:
        return next(iter(_records(connection, _is_segment(camera_id, name), limit=1)), None)


def of_sha256(database: Database, sha256: str, limit: int = 16) -> list[Record]:
    """The records of files with this hash."""
    with database.transaction() as connection:
        return _records(connection, record_table.c.sha256 == sha256, limit=limit)


def span(
    database: Database, stream: RecordedStream, start_90k: int | None, end_90k: int | None, limit: int
) -> list[Record]:
    """The records of a stream from the first to the last that overlaps [start, end), by number.

    Those between them are among them, also where a clock was set.
    """
    table = record_table.c
    overlaps: list[Any] = [_is_of(stream)]
    if start_90k is not None:
        overlaps.append(table.end_90k > start_90k)
    if end_90k is not None:
        overlaps.append(table.start_90k < end_90k)
    with database.transaction() as connection:
        first, last = connection.execute(select(func.min(table.number), func.max(table.number)).where(*overlaps)).one()
        if first is None:
            return []
        condition = and_(_is_of(stream), table.number >= first, table.number <= last)
        return _records(connection, condition, limit=limit, is_newest_first=False)


def page(database: Database, stream: RecordedStream, after: int, limit: int) -> list[Record]:
    """The records of a stream with numbers after ``after``."""
    condition = and_(_is_of(stream), record_table.c.number > after)
    with database.transaction() as connection:
        return _records(connection, condition, limit=limit, is_newest_first=False)


def streams(database: Database) -> list[RecordedStream]:
    """The streams that have records."""
    table = record_table.c
    with database.transaction() as connection:
        rows = connection.execute(select(table.camera_id, table.rendition).distinct()).all()
    return sorted(RecordedStream(camera_id, RenditionName(name)) for camera_id, name in rows)


def present(database: Database, records: Sequence[Record]) -> set[tuple[str, str]]:
    """Camera and name of those segments of records that are in the index."""
    table = schema.segment.c
    found: set[tuple[str, str]] = set()
    with database.transaction() as connection:
        for at in range(0, len(records), 400):
            names = [(record.camera_id, record.segment) for record in records[at : at + 400]]
            query = select(table.camera_id, table.name).where(
                tuple_(table.camera_id, table.name).in_(names), table.state != SegmentState.DELETING.value
            )
            found.update((camera_id, name) for camera_id, name in connection.execute(query))
    return found


def counts(database: Database) -> tuple[int, int]:
    """How many segments have a record, and how many finished ones wait for theirs."""
    table = schema.segment.c
    with database.transaction() as connection:
        waiting = connection.scalar(
            select(func.count()).where(table.is_signed.is_(false()), table.state.in_(_FINISHED))
        )
        return connection.scalar(select(func.count()).select_from(record_table)) or 0, waiting or 0


def _has_record(connection: Connection, segment: Segment) -> bool:
    """Rule 3. A deleted segment's name may be that of another one since a clock was set back."""
    named = _is_segment(segment.camera_id, segment.name)
    return bool(_records(connection, and_(named, record_table.c.deletion.is_(None)), limit=1))


def _tail(connection: Connection, stream: RecordedStream) -> tuple[int, str | None]:
    newest = _records(connection, _is_of(stream), limit=1)
    return (newest[0].number + 1, newest[0].digest) if newest else (0, None)


def _drop_oldest(connection: Connection, stream: RecordedStream) -> None:
    """Rule 4: never one after a record of a segment that is there."""
    table = record_table.c
    newest_deleted = connection.scalar(
        select(table.number)
        .where(_is_of(stream), table.deletion.is_not(None))
        .order_by(table.number.desc())
        .offset(DELETED_MAX)
        .limit(1)
    )
    if newest_deleted is not None:
        there = and_(schema.segment.c.camera_id == table.camera_id, schema.segment.c.name == table.segment)
        kept = connection.scalar(
            select(func.min(table.number)).where(_is_of(stream), table.deletion.is_(None), exists().where(there))
        )
        before = newest_deleted + 1 if kept is None else min(newest_deleted + 1, kept)
        connection.execute(delete(record_table).where(_is_of(stream), table.number < before))


def _is_of(stream: RecordedStream) -> Any:
    return and_(record_table.c.camera_id == stream.camera_id, record_table.c.rendition == stream.rendition.value)


def _is_segment(camera_id: str, name: str) -> Any:
    return and_(record_table.c.camera_id == camera_id, record_table.c.segment == name)


def _is_record(record: Record) -> Any:
    table = record_table.c
    return and_(table.camera_id == record.camera_id, table.rendition == record.rendition, table.number == record.number)


def _records(connection: Connection, condition: Any, *, limit: int, is_newest_first: bool = True) -> list[Record]:
    number = record_table.c.number
    order = number.desc() if is_newest_first else number
    rows = connection.execute(select(*_COLUMNS).where(condition).order_by(order).limit(limit)).all()
    return [Record(**row._mapping) for row in rows]
