"""The SQL of uploads: :class:`~hls.archive.upload.Upload` of each segment. Blocking; in the thread of the index.

Rules:

1. The upload of a segment goes with its row. So a row stays until the object and the unfinished upload are deleted.
2. What is written of a growing segment is written with its fragments, so that they are known as far as they are
   uploaded.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import and_, func, insert, or_, select, update

from hls.archive import schema
from hls.archive.database import Database
from hls.archive.event_cover import EventCover
from hls.archive.fragment import pack_fragments
from hls.archive.hls_segments import hls_segments, pack_hls
from hls.archive.segment import Segment, SegmentState, SegmentWithFragments
from hls.archive.segment_queries import GROWING_COLUMNS, SELECTED, from_row, is_named
from hls.archive.upload import Upload, UploadState, pack_parts, unpack_parts

_TABLE = schema.upload.c
_UPLOAD = (_TABLE.part_size, _TABLE.state, _TABLE.upload_id, _TABLE.parts, _TABLE.head, _TABLE.is_local)
_FINISHED = schema.segment.c.state.in_((SegmentState.CLOSED.value, SegmentState.TRUNCATED.value))


class Backlog(NamedTuple):
    """What waits to be uploaded: finished segments, and the bytes of their files."""

    segments: int
    size: int


class SegmentUpload(NamedTuple):
    """A segment and its upload."""

    segment: Segment
    upload: Upload


def get(database: Database, camera_id: str, name: str) -> Upload | None:
    """The upload of a segment; ``None``: it has none yet."""
    query = select(*_UPLOAD).join(schema.segment).where(is_named(camera_id, name))
    with database.transaction() as connection:
        row = connection.execute(query).first()
    return None if row is None else _from_row(row)


def save(database: Database, segment: Segment, upload: Upload) -> bool:
    """Write the upload of a segment. False if the segment has no row."""
    values = _to_row(upload)
    with database.transaction() as connection:
        row_id = connection.scalar(select(schema.segment.c.id).where(is_named(segment.camera_id, segment.name)))
        if row_id is None:
            return False
        changed = connection.execute(update(schema.upload).where(_TABLE.segment_id == row_id).values(values))
        if not changed.rowcount:
            connection.execute(insert(schema.upload).values(segment_id=row_id, **values))
    return True


def save_growing(database: Database, growing: SegmentWithFragments, upload: Upload) -> bool:
    """:meth:`save` by rule 2, unless the segment has ended since."""
    segment, fragments = growing
    table = schema.segment.c
    behind = and_(
        is_named(segment.camera_id, segment.name),
        table.state == SegmentState.GROWING.value,
        table.size < segment.size,
    )
    with database.transaction() as connection:
        row_id = connection.scalar(select(table.id).where(behind))
        if row_id is not None:
            values = {name: getattr(segment, name) for name in GROWING_COLUMNS}
            connection.execute(update(schema.segment).where(table.id == row_id).values(values))
            packed, packed_hls = pack_fragments(fragments), pack_hls(hls_segments(fragments, is_complete=False))
            connection.execute(
                update(schema.fragment_list)
                .where(schema.fragment_list.c.segment_id == row_id)
                .values(packed=packed, packed_hls=packed_hls)
            )
    return save(database, segment, upload)


def has_objects(database: Database) -> bool:
    """Whether anything is known to be in the storage."""
    query = select(_TABLE.segment_id).where(_TABLE.state == UploadState.UPLOADED.value).limit(1)
    with database.transaction() as connection:
        return connection.scalar(query) is not None


def enlist(database: Database, after_id: int, part_size: int, limit: int) -> int:
    """Give each segment an upload whose row is newer than ``after_id`` and that has none.

    Looks at ``limit`` rows, so that a large archive is no long transaction. Returns the id of the newest of them, which
    is ``after_id`` where there are none.
    """
    table = schema.segment.c
    known = select(_TABLE.segment_id).where(_TABLE.segment_id == table.id).exists()
    looked_at = select(table.id, known, table.state).where(table.id > after_id).order_by(table.id).limit(limit)
    values = _to_row(Upload(part_size))
    with database.transaction() as connection:
        rows = connection.execute(looked_at).all()
        new = [row_id for row_id, is_known, state in rows if not is_known and state != SegmentState.DELETING.value]
        if new:
            connection.execute(insert(schema.upload), [{"segment_id": row_id, **values} for row_id in new])
    return rows[-1][0] if rows else after_id


def pending(database: Database, limit: int) -> list[SegmentUpload]:
    """Finished segments that are not uploaded, newest first: what is seen next, and what a lost disk would cost."""
    query = select(*SELECTED, *_UPLOAD).join(schema.upload).where(_is_pending(), _FINISHED)
    with database.transaction() as connection:
        rows = connection.execute(query.order_by(schema.segment.c.start_90k.desc()).limit(limit)).all()
    return [SegmentUpload(from_row(row), _from_row(row[len(SELECTED) :])) for row in rows]


def backlog(database: Database) -> Backlog:
    """What :func:`pending` has without its limit."""
    query = select(func.count(), func.sum(schema.segment.c.size)).join(schema.upload).where(_is_pending(), _FINISHED)
    with database.transaction() as connection:
        segments, size = connection.execute(query).one()
    return Backlog(segments, int(size or 0))


def in_storage(database: Database, camera_id: str) -> dict[str, Upload]:
    """The uploads of a camera of which the storage has something, by the names of their segments."""
    query = select(schema.segment.c.name, *_UPLOAD).join(schema.segment)
    query = query.where(schema.segment.c.camera_id == camera_id, _has_something())
    with database.transaction() as connection:
        return {row.name: _from_row(row[1:]) for row in connection.execute(query)}


def deleting(database: Database, limit: int) -> list[SegmentUpload]:
    """Segments that are being deleted, and of which the storage has something."""
    query = select(*SELECTED, *_UPLOAD).join(schema.upload)
    query = query.where(schema.segment.c.state == SegmentState.DELETING.value, _has_something()).limit(limit)
    with database.transaction() as connection:
        rows = connection.execute(query).all()
    return [SegmentUpload(from_row(row), _from_row(row[len(SELECTED) :])) for row in rows]


def without_objects(database: Database, segments: Sequence[Segment]) -> list[Segment]:
    """Those of the segments of which the storage has nothing."""
    found = []
    with database.transaction() as connection:
        for segment in segments:
            query = select(_TABLE.segment_id).join(schema.segment)
            query = query.where(is_named(segment.camera_id, segment.name), _has_something())
            if connection.scalar(query) is None:
                found.append(segment)
    return found


def local_copies(database: Database, ended_before_90k: int | None, limit: int) -> list[Segment]:
    """Uploaded segments that are on the disk too, oldest first; with a wall clock, those that ended before."""
    table = schema.segment.c
    query = select(*SELECTED).join(schema.upload).where(_FINISHED, table.sha256.is_not(None))
    query = query.where(_TABLE.state == UploadState.UPLOADED.value, _TABLE.is_local)
    if ended_before_90k is not None:
        query = query.where(table.start_90k + table.duration_90k < ended_before_90k)
    with database.transaction() as connection:
        return [from_row(row) for row in connection.execute(query.order_by(table.start_90k).limit(limit))]


def not_uploaded(database: Database, limit: int) -> list[Segment]:
    """Finished segments that are on the disk alone and that retention may delete, oldest first."""
    table = schema.segment.c
    query = select(*SELECTED).join(schema.upload).where(_is_pending(), _TABLE.is_local, _FINISHED)
    query = query.where(~table.is_protected, table.event_cover < EventCover.PROTECTED.value)
    with database.transaction() as connection:
        return [from_row(row) for row in connection.execute(query.order_by(table.start_90k).limit(limit))]


def set_removed(database: Database, segments: Sequence[Segment]) -> None:
    """The files of segments are not on the disk any more."""
    table = schema.segment.c
    with database.transaction() as connection:
        for segment in segments:
            ids = select(table.id).where(is_named(segment.camera_id, segment.name))
            connection.execute(update(schema.upload).where(_TABLE.segment_id.in_(ids)).values(is_local=False))


def upload_ids(database: Database) -> set[str]:
    """The ids of all unfinished uploads."""
    with database.transaction() as connection:
        return set(connection.scalars(select(_TABLE.upload_id).where(_TABLE.upload_id.is_not(None))))


def _is_pending() -> Any:
    return _TABLE.state == UploadState.UPLOADING.value


def _has_something() -> Any:
    return or_(_TABLE.state == UploadState.UPLOADED.value, and_(_is_pending(), _TABLE.upload_id.is_not(None)))


def _to_row(upload: Upload) -> dict[str, Any]:
    return {
        "part_size": upload.part_size,
        "state": upload.state.value,
        "upload_id": upload.upload_id,
        "parts": pack_parts(upload.parts),
        "head": upload.head,
        "is_local": upload.is_local,
    }


def _from_row(row: Sequence[Any]) -> Upload:
    part_size, state, upload_id, parts, head, is_local = row
    return Upload(part_size, UploadState(state), upload_id, unpack_parts(parts), head, is_local)
