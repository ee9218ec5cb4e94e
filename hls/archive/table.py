"""SegmentTable: the SQL of the table of archive segments.

Blocking; :mod:`hls.archive.index` calls it from the event loop.

Rules:

1. A row never has more than the disk: the file is synced before the row is written.
2. A row is deleted in two steps: it is ``deleting`` before the file is unlinked, and removed after.
3. Every list has a limit, except those for recovery and the check.
4. Where ``rendition`` may be ``None``, that is both streams of the camera. They are two queries, each in the order of
   an index, whose answers are merged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import Any

from sqlalchemy import Row, and_, case, delete, func, insert, or_, select, update

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from hls.archive import schema
from hls.archive.database import Database
from hls.archive.event_schema import is_protected_by_event
from hls.archive.fragment import Fragment, pack_fragments, unpack_fragments
from hls.archive.hls_segments import HlsSegment, hls_segments, pack_hls, unpack_hls
from hls.archive.segment import EndReason, RecordedStream, Segment, SegmentState, SegmentWithFragments

SEGMENT_MAX_90K = 2 * 86_400 * CLOCK_RATE
"""No segment lasts longer: ``ARCHIVE_SEGMENT_SECONDS`` is a day at most, and then it takes one keyframe more."""

_COLUMNS = tuple(item.name for item in fields(Segment))
_STATE, _END_REASON, _HEAD, _RENDITION = (_COLUMNS.index(name) for name in ("state", "end_reason", "head", "rendition"))
_SELECTED = tuple(schema.segment.c[name] for name in _COLUMNS)


@dataclass(frozen=True, slots=True)
class StreamUsage:
    """What one stream of a camera has on disk, for retention. Sizes in bytes."""

    stream: RecordedStream
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
    values[_RENDITION] = RenditionName(values[_RENDITION])
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
        camera_id: str,
        start_90k: int | None,
        end_90k: int | None,
        limit: int,
        after: tuple[int, str] | None = None,
        rendition: RenditionName | None = None,
    ) -> list[Segment]:
        """Segments that overlap [start, end), oldest first, at most ``limit``, after ``after`` (start, name)."""
        found: list[Segment] = []
        with self.transaction() as connection:
            for stream in _streams(camera_id, rendition):
                query = select(*_SELECTED).where(*self._overlap(stream, start_90k, end_90k))
                if after is not None:
                    query = query.where(_later(*after))
                found += map(from_row, connection.execute(query.order_by(*_OLDEST_FIRST).limit(limit)))
        return sorted(found, key=_age)[:limit]

    def span(
        self,
        camera_id: str,
        start_90k: int | None,
        end_90k: int | None,
        limit: int,
        rendition: RenditionName = RenditionName.MAIN,
    ) -> list[SegmentWithFragments]:
        """As :meth:`page`, of one stream, with fragments."""
        stream = RecordedStream(camera_id, rendition)
        with self.transaction() as connection:
            found = self._with_fragments().where(*self._overlap(stream, start_90k, end_90k))
            rows = connection.execute(found.order_by(*_OLDEST_FIRST).limit(limit)).all()
        return [_unpacked(row) for row in rows]

    def hls_span(
        self,
        camera_id: str,
        start_90k: int | None,
        end_90k: int | None,
        limit: int,
        rendition: RenditionName = RenditionName.MAIN,
    ) -> list[tuple[Segment, list[HlsSegment]]]:
        """As :meth:`page`, of one stream, with HLS segments."""
        stream = RecordedStream(camera_id, rendition)
        with self.transaction() as connection:
            found = select(*_SELECTED, schema.fragment_list.c.packed_hls).join(schema.fragment_list)
            found = found.where(*self._overlap(stream, start_90k, end_90k)).order_by(*_OLDEST_FIRST).limit(limit)
            rows = connection.execute(found).all()
        recordings = [(from_row(row), row.packed_hls) for row in rows]
        return [(segment, unpack_hls(packed, segment.init_size)) for segment, packed in recordings]

    def at(
        self, camera_id: str, time_90k: int, rendition: RenditionName = RenditionName.MAIN
    ) -> tuple[Segment | None, Segment | None]:
        """The newest segment of a stream that begins at or before this wall clock, and the oldest after it."""
        table = schema.segment.c
        mine = select(*_SELECTED).where(_is_of(RecordedStream(camera_id, rendition)), _LISTED)
        before = mine.where(table.start_90k <= time_90k).order_by(table.start_90k.desc(), table.name.desc()).limit(1)
        after = mine.where(table.start_90k > time_90k).order_by(*_OLDEST_FIRST).limit(1)
        with self.transaction() as connection:
            rows = connection.execute(before).first(), connection.execute(after).first()
        return (from_row(rows[0]) if rows[0] else None), (from_row(rows[1]) if rows[1] else None)

    def newest(self, camera_id: str, rendition: RenditionName = RenditionName.MAIN) -> Segment | None:
        """The stream's newest segment by sequence number."""
        mine = select(*_SELECTED).where(_is_of(RecordedStream(camera_id, rendition)))
        newest = mine.order_by(schema.segment.c.sequence.desc()).limit(1)
        with self.transaction() as connection:
            row = connection.execute(newest).first()
        return None if row is None else from_row(row)

    def set_protected(self, camera_id: str, name: str, is_protected: bool) -> bool:
        """Protect a segment from retention, or stop protecting it. Returns whether it exists.

        What the camera's other stream recorded of that time goes with it: its segments that are in the time of this
        one for at least half of their own.
        """
        table = schema.segment.c
        with self.transaction() as connection:
            row = connection.execute(select(*_SELECTED).where(self._is(camera_id, name), _LISTED)).first()
            if row is None:
                return False
            segment = from_row(row)
            other = RenditionName.SUB if segment.rendition is RenditionName.MAIN else RenditionName.MAIN
            overlap = self._overlap(RecordedStream(camera_id, other), segment.start_90k, segment.end_90k)
            beside = map(from_row, connection.execute(select(*_SELECTED).where(*overlap)).all())
            names = [name, *(each.name for each in beside if _is_mostly_in(each, segment))]
            connection.execute(
                update(schema.segment)
                .where(table.camera_id == camera_id, table.name.in_(names), _LISTED)
                .values(is_protected=is_protected)
            )
            return True

    def oldest(self, camera_id: str, limit: int, rendition: RenditionName = RenditionName.MAIN) -> list[Segment]:
        """The segments that were recorded first and that retention may delete: neither growing nor protected.

        An event that protects recordings protects every segment that it covers a part of.
        """
        table = schema.segment.c
        by_event = is_protected_by_event(table.camera_id, table.start_90k, table.start_90k + table.duration_90k)
        is_of = _is_of(RecordedStream(camera_id, rendition))
        query = (
            select(*_SELECTED)
            .where(is_of, table.state.in_(_FINISHED), table.is_protected.is_(False), ~by_event)
            .order_by(table.sequence, table.id)
            .limit(limit)
        )
        with self.transaction() as connection:
            return [from_row(row) for row in connection.execute(query)]

    def start_after(self, stream: RecordedStream, sequence: int, earliest_90k: int, latest_90k: int) -> int | None:
        """The start of the first segment after this number that begins from ``earliest_90k`` to ``latest_90k``."""
        table = schema.segment.c
        query = (
            select(table.start_90k)
            .where(_is_of(stream), table.sequence > sequence, _LISTED)
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
        stream = table.camera_id, table.rendition
        last = select(*stream, func.max(table.sequence).label("sequence")).group_by(*stream).subquery()
        is_last = [table[name] == last.c[name] for name in ("camera_id", "rendition", "sequence")]
        query = select(func.max(table.start_90k + table.duration_90k)).join(last, and_(*is_last))
        with self.transaction() as connection:
            end_90k: int | None = connection.scalar(query)
        return end_90k

    def with_init(self, camera_id: str, init_id: str, start_90k: int | None, end_90k: int | None) -> Segment | None:
        """A segment with this init segment, that overlaps [start, end)."""
        overlap = self._overlap(None, start_90k, end_90k)
        has_init = schema.segment.c.camera_id == camera_id, schema.segment.c.init_id == init_id
        query = select(*_SELECTED).where(*has_init, *overlap).limit(1)
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

    def renumber(self, stream: RecordedStream, known: Segment | None = None) -> None:
        """Renumber the HLS segments of a stream by time, after rows were inserted between others.

        ``known`` keeps its numbers and the others are counted from it, so that players of the recording continue.
        """
        table = schema.segment.c
        with self.transaction() as connection:
            rows = list(
                connection.execute(
                    select(table.id, table.name, table.hls_segments, table.sequence)
                    .where(_is_of(stream))
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

    def usage(self) -> list[StreamUsage]:
        """What each stream has on disk, growing segments included."""
        table = schema.segment.c
        query = (
            select(
                table.camera_id,
                table.rendition,
                func.count(),
                func.sum(table.size),
                func.sum(case((table.is_protected, table.size), else_=0)),
                func.min(table.start_90k),
            )
            .where(_LISTED)
            .group_by(table.camera_id, table.rendition)
        )
        with self.transaction() as connection:
            rows = connection.execute(query).all()
        # The sum of 64-bit integers is a decimal in PostgreSQL.
        return [
            StreamUsage(RecordedStream(camera_id, RenditionName(name)), segments, int(size), int(protected), oldest_90k)
            for camera_id, name, segments, size, protected, oldest_90k in rows
        ]

    @staticmethod
    def _is(camera_id: str, name: str) -> Any:
        return and_(schema.segment.c.camera_id == camera_id, schema.segment.c.name == name)

    @staticmethod
    def _with_fragments() -> Any:
        return select(*_SELECTED, schema.fragment_list.c.packed).join(schema.fragment_list)

    @staticmethod
    def _overlap(stream: RecordedStream | None, start_90k: int | None, end_90k: int | None) -> list[Any]:
        table = schema.segment.c
        conditions: list[Any] = [_LISTED]
        if stream is not None:
            conditions.append(_is_of(stream))
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


def _streams(camera_id: str, rendition: RenditionName | None) -> list[RecordedStream]:
    return [RecordedStream(camera_id, each) for each in RenditionName if rendition in (None, each)]


def _is_of(stream: RecordedStream) -> Any:
    table = schema.segment.c
    return and_(table.camera_id == stream.camera_id, table.rendition == stream.rendition.value)


def _age(segment: Segment) -> tuple[int, str]:
    """As :data:`_OLDEST_FIRST`."""
    return segment.start_90k, segment.name


def _is_mostly_in(segment: Segment, span: Segment) -> bool:
    inside_90k = min(segment.end_90k, span.end_90k) - max(segment.start_90k, span.start_90k)
    return 2 * inside_90k >= segment.duration_90k


def _later(start_90k: int, name: str) -> Any:
    table = schema.segment.c
    # The first condition only helps the time index, which cannot use a condition with "or".
    return and_(table.start_90k >= start_90k, or_(table.start_90k > start_90k, table.name > name))


def _unpacked(row: Row[Any]) -> SegmentWithFragments:
    segment = from_row(row)
    return SegmentWithFragments(segment, unpack_fragments(row._mapping["packed"], segment.init_size))
