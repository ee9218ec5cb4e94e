"""SegmentTable: the SQL of the table of archive segments.

Blocking; :mod:`hls.archive.index` calls it from the event loop.

Rules:

1. A row never has more than the disk: the file is synced before the row is written.
2. A row is deleted in two steps: it is ``deleting`` before the file is unlinked, and removed after.
3. Every list has a limit, except those for recovery and the check.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import Any

from sqlalchemy import Row, and_, case, delete, func, insert, or_, select, update

from gateway.clock import CLOCK_RATE
from hls.archive import schema
from hls.archive.database import Database
from hls.archive.fragment import Fragment, pack_fragments, unpack_fragments
from hls.archive.hls_segments import HlsSegment, hls_segments, pack_hls, unpack_hls
from hls.archive.segment import EndReason, Segment, SegmentState, SegmentWithFragments

SEGMENT_MAX_90K = 2 * 86_400 * CLOCK_RATE
"""No segment lasts longer: ``ARCHIVE_SEGMENT_SECONDS`` is a day at most, and then it takes one keyframe more."""

_COLUMNS = tuple(item.name for item in fields(Segment))
_STATE, _END_REASON, _HEAD = (_COLUMNS.index(name) for name in ("state", "end_reason", "head"))
_SELECTED = tuple(schema.segment.c[name] for name in _COLUMNS)


@dataclass(frozen=True, slots=True)
class CameraUsage:
    """What one camera has on disk, for retention. Sizes in bytes."""

    camera_id: str
    segments: int
    size: int
    protected_size: int
    oldest_90k: int


def to_row(segment: Segment) -> dict[str, Any]:
    """A segment as column values."""
    return {name: getattr(segment, name) for name in _COLUMNS}


def from_row(row: Sequence[Any]) -> Segment:
    """The inverse of :func:`to_row`, for a row that begins with :data:`_SELECTED`."""
    values = list(row[: len(_COLUMNS)])
    values[_STATE] = SegmentState(values[_STATE])
    values[_END_REASON] = EndReason(values[_END_REASON]) if values[_END_REASON] else None
    values[_HEAD] = bytes(values[_HEAD])
    return Segment(*values)


class SegmentTable(Database):
    """See the module. Every method raises :class:`~gateway.errors.StorageError` if the database fails."""

    def save(self, segment: Segment, fragments: tuple[Fragment, ...]) -> None:
        """Insert the segment, or replace its row; its protection does not change."""
        with self.transaction() as connection:
            row = to_row(segment)
            key = self._is(segment.camera_id, segment.name)
            row_id = connection.scalar(select(schema.segment.c.id).where(key))
            packed = pack_fragments(fragments)
            packed_hls = pack_hls(hls_segments(fragments, is_complete=segment.state is not SegmentState.GROWING))
            if row_id is None:
                row["is_protected"] |= (segment.camera_id, segment.name) in self._salvaged
                inserted = connection.execute(insert(schema.segment).values(row)).inserted_primary_key
                assert inserted is not None
                row_id = inserted[0]
                connection.execute(
                    insert(schema.fragment_list).values(segment_id=row_id, packed=packed, packed_hls=packed_hls)
                )
                return
            del row["is_protected"]
            connection.execute(update(schema.segment).where(schema.segment.c.id == row_id).values(row))
            connection.execute(
                update(schema.fragment_list)
                .where(schema.fragment_list.c.segment_id == row_id)
                .values(packed=packed, packed_hls=packed_hls)
            )

    def add_if_missing(self, segment: Segment, fragments: tuple[Fragment, ...]) -> bool:
        """Insert a segment found on disk. False if there is a row already: that of its recorder is more recent."""
        with self.transaction() as connection:
            if connection.scalar(select(schema.segment.c.id).where(self._is(segment.camera_id, segment.name))):
                return False
        self.save(segment, fragments)
        return True

    def get(self, camera_id: str, name: str) -> SegmentWithFragments | None:
        """A segment and its fragments."""
        with self.transaction() as connection:
            row = connection.execute(self._with_fragments().where(self._is(camera_id, name), _LISTED)).first()
        return None if row is None else _unpacked(row)

    def page(
        self,
        camera_id: str | None,
        start_90k: int | None,
        end_90k: int | None,
        limit: int,
        after: tuple[int, str] | None = None,
    ) -> list[Segment]:
        """Segments that overlap [start, end), oldest first, at most ``limit``, after ``after`` (start, name)."""
        with self.transaction() as connection:
            found = select(*_SELECTED).where(*self._overlap(camera_id, start_90k, end_90k))
            if after is not None:
                found = found.where(_later(*after))
            rows = connection.execute(found.order_by(*_OLDEST_FIRST).limit(limit)).all()
        return [from_row(row) for row in rows]

    def span(
        self, camera_id: str, start_90k: int | None, end_90k: int | None, limit: int
    ) -> list[SegmentWithFragments]:
        """As :meth:`page`, with fragments."""
        with self.transaction() as connection:
            found = self._with_fragments().where(*self._overlap(camera_id, start_90k, end_90k))
            rows = connection.execute(found.order_by(*_OLDEST_FIRST).limit(limit)).all()
        return [_unpacked(row) for row in rows]

    def hls_span(
        self, camera_id: str, start_90k: int | None, end_90k: int | None, limit: int
    ) -> list[tuple[Segment, list[HlsSegment]]]:
        """As :meth:`page`, with HLS segments."""
        with self.transaction() as connection:
            found = select(*_SELECTED, schema.fragment_list.c.packed_hls).join(schema.fragment_list)
            found = found.where(*self._overlap(camera_id, start_90k, end_90k)).order_by(*_OLDEST_FIRST).limit(limit)
            rows = connection.execute(found).all()
        recordings = [(from_row(row), row.packed_hls) for row in rows]
        return [(segment, unpack_hls(packed, segment.init_size)) for segment, packed in recordings]

    def at(self, camera_id: str, time_90k: int) -> tuple[Segment | None, Segment | None]:
        """The newest segment that begins at or before this wall clock, and the oldest after it."""
        table = schema.segment.c
        mine = select(*_SELECTED).where(table.camera_id == camera_id, _LISTED)
        before = mine.where(table.start_90k <= time_90k).order_by(table.start_90k.desc(), table.name.desc()).limit(1)
        after = mine.where(table.start_90k > time_90k).order_by(*_OLDEST_FIRST).limit(1)
        with self.transaction() as connection:
            rows = connection.execute(before).first(), connection.execute(after).first()
        return (from_row(rows[0]) if rows[0] else None), (from_row(rows[1]) if rows[1] else None)

    def newest(self, camera_id: str) -> Segment | None:
        """The camera's newest segment by sequence number."""
        table = schema.segment.c
        newest = select(*_SELECTED).where(table.camera_id == camera_id).order_by(table.sequence.desc()).limit(1)
        with self.transaction() as connection:
            row = connection.execute(newest).first()
        return None if row is None else from_row(row)

    def set_protected(self, camera_id: str, name: str, is_protected: bool) -> bool:
        """Protect a segment from retention, or stop protecting it. Returns whether it exists."""
        with self.transaction() as connection:
            done = connection.execute(
                update(schema.segment).where(self._is(camera_id, name), _LISTED).values(is_protected=is_protected)
            )
            return done.rowcount > 0

    def oldest(self, camera_id: str, limit: int) -> list[Segment]:
        """The segments that were recorded first and that retention may delete: neither growing nor protected."""
        table = schema.segment.c
        query = (
            select(*_SELECTED)
            .where(table.camera_id == camera_id, table.state.in_(_FINISHED), table.is_protected.is_(False))
            .order_by(table.sequence, table.id)
            .limit(limit)
        )
        with self.transaction() as connection:
            return [from_row(row) for row in connection.execute(query)]

    def start_after(self, camera_id: str, sequence: int, earliest_90k: int, latest_90k: int) -> int | None:
        """The start of the first segment after this number that begins from ``earliest_90k`` to ``latest_90k``."""
        table = schema.segment.c
        query = (
            select(table.start_90k)
            .where(table.camera_id == camera_id, table.sequence > sequence, _LISTED)
            .where(table.start_90k.between(earliest_90k, latest_90k))
            .order_by(table.sequence)
            .limit(1)
        )
        with self.transaction() as connection:
            start_90k: int | None = connection.scalar(query)
        return start_90k

    def newest_end_90k(self) -> int | None:
        """When the segment ended that was recorded last, of all cameras; ``None`` without one."""
        table = schema.segment.c
        last = select(table.camera_id, func.max(table.sequence).label("sequence")).group_by(table.camera_id).subquery()
        query = select(func.max(table.start_90k + table.duration_90k)).join(
            last, and_(table.camera_id == last.c.camera_id, table.sequence == last.c.sequence)
        )
        with self.transaction() as connection:
            end_90k: int | None = connection.scalar(query)
        return end_90k

    def with_init(self, camera_id: str, init_id: str, start_90k: int | None, end_90k: int | None) -> Segment | None:
        """A segment with this init segment, that overlaps [start, end)."""
        overlap = self._overlap(camera_id, start_90k, end_90k)
        query = select(*_SELECTED).where(schema.segment.c.init_id == init_id, *overlap).limit(1)
        with self.transaction() as connection:
            row = connection.execute(query).first()
        return None if row is None else from_row(row)

    def set_metadata(self, segment: Segment) -> None:
        """Write only ``sha256`` and ``metadata``."""
        with self.transaction() as connection:
            connection.execute(
                update(schema.segment)
                .where(self._is(segment.camera_id, segment.name))
                .values(sha256=segment.sha256, metadata=segment.metadata)
            )

    def without_hash(self, limit: int) -> list[Segment]:
        """Finished segments without a ``sha256``, newest first."""
        table = schema.segment.c
        query = (
            select(*_SELECTED)
            .where(table.sha256.is_(None), table.state.not_in(_UNFINISHED))
            .order_by(table.start_90k.desc())
            .limit(limit)
        )
        with self.transaction() as connection:
            return [from_row(row) for row in connection.execute(query)]

    def in_state(self, state: SegmentState) -> list[Segment]:
        """All segments in a state; for states with few segments."""
        with self.transaction() as connection:
            rows = connection.execute(select(*_SELECTED).where(schema.segment.c.state == state.value)).all()
        return [from_row(row) for row in rows]

    def names(self, camera_id: str) -> dict[str, tuple[SegmentState, int]]:
        """Every name of a camera, with state and size."""
        table = schema.segment.c
        with self.transaction() as connection:
            rows = connection.execute(select(table.name, table.state, table.size).where(table.camera_id == camera_id))
            return {row.name: (SegmentState(row.state), row.size) for row in rows}

    def cameras(self) -> list[str]:
        """Every camera with a row."""
        with self.transaction() as connection:
            return list(connection.scalars(select(schema.segment.c.camera_id).distinct()))

    def begin_delete(self, segments: Sequence[Segment]) -> None:
        """Rule 2, before the files are removed."""
        with self.transaction() as connection:
            for segment in segments:
                connection.execute(
                    update(schema.segment)
                    .where(self._is(segment.camera_id, segment.name))
                    .values(state=SegmentState.DELETING.value)
                )

    def end_delete(self, segments: Sequence[Segment]) -> None:
        """Rule 2, after the files are removed. A clock that was set back may have begun a file of that name since."""
        is_deleting = schema.segment.c.state == SegmentState.DELETING.value
        with self.transaction() as connection:
            for segment in segments:
                key = self._is(segment.camera_id, segment.name)
                connection.execute(delete(schema.segment).where(key, is_deleting))

    def remove(self, camera_id: str, name: str) -> None:
        """Remove a row without a file."""
        with self.transaction() as connection:
            connection.execute(delete(schema.segment).where(self._is(camera_id, name)))

    def renumber(self, camera_id: str, known: Segment | None = None) -> None:
        """Renumber the HLS segments of a camera by time, after rows were inserted between others.

        ``known`` keeps its numbers and the others are counted from it, so that players of the recording continue.
        """
        table = schema.segment.c
        with self.transaction() as connection:
            rows = list(
                connection.execute(
                    select(table.id, table.name, table.hls_segments, table.sequence)
                    .where(table.camera_id == camera_id)
                    .order_by(*_OLDEST_FIRST)
                )
            )
            if known is not None:
                # Nothing was recorded after it but what is numbered so: other later dates are those of a wrong clock.
                after = [row for row in rows if row.name == known.name or row.sequence > known.sequence]
                rows = [row for row in rows if row not in after] + sorted(after, key=lambda row: row.sequence)
            sequences = list(accumulate((row.hls_segments for row in rows), initial=0))
            first, first_sequence = 0, 0
            for number, row in enumerate(rows):
                if known is not None and row.name == known.name:
                    first_sequence = max(0, known.sequence - sequences[number])
                    first = max(0, known.discontinuities - number)
            for number, row in enumerate(rows):
                values = {"sequence": first_sequence + sequences[number], "discontinuities": first + number}
                connection.execute(update(schema.segment).where(table.id == row.id).values(values))

    def camera_usage(self) -> list[CameraUsage]:
        """What each camera has on disk, growing segments included."""
        table = schema.segment.c
        query = (
            select(
                table.camera_id,
                func.count(),
                func.sum(table.size),
                func.sum(case((table.is_protected, table.size), else_=0)),
                func.min(table.start_90k),
            )
            .where(_LISTED)
            .group_by(table.camera_id)
        )
        with self.transaction() as connection:
            rows = connection.execute(query).all()
        # The sum of 64-bit integers is a decimal in PostgreSQL.
        return [CameraUsage(row[0], row[1], int(row[2]), int(row[3]), row[4]) for row in rows]

    @staticmethod
    def _is(camera_id: str, name: str) -> Any:
        return and_(schema.segment.c.camera_id == camera_id, schema.segment.c.name == name)

    @staticmethod
    def _with_fragments() -> Any:
        return select(*_SELECTED, schema.fragment_list.c.packed).join(schema.fragment_list)

    @staticmethod
    def _overlap(camera_id: str | None, start_90k: int | None, end_90k: int | None) -> list[Any]:
        table = schema.segment.c
        conditions: list[Any] = [_LISTED]
        if camera_id is not None:
            conditions.append(table.camera_id == camera_id)
        if end_90k is not None:
            conditions.append(table.start_90k < end_90k)
        if start_90k is not None:
            # The first condition only helps the time index: without it the scan would begin years ago.
            conditions.append(table.start_90k > start_90k - SEGMENT_MAX_90K)
            conditions.append(table.start_90k + table.duration_90k > start_90k)
        return conditions


_LISTED = schema.segment.c.state != SegmentState.DELETING.value
_UNFINISHED = (SegmentState.GROWING.value, SegmentState.DELETING.value)
_FINISHED = (SegmentState.CLOSED.value, SegmentState.TRUNCATED.value)
_OLDEST_FIRST = (schema.segment.c.start_90k, schema.segment.c.name)


def _later(start_90k: int, name: str) -> Any:
    table = schema.segment.c
    # The first condition only helps the time index, which cannot use a condition with "or".
    return and_(table.start_90k >= start_90k, or_(table.start_90k > start_90k, table.name > name))


def _unpacked(row: Row[Any]) -> SegmentWithFragments:
    segment = from_row(row)
    return SegmentWithFragments(segment, unpack_fragments(row._mapping["packed"], segment.init_size))
