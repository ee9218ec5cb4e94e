"""SegmentQueries: what is read of the table of archive segments. :mod:`hls.archive.table` writes it.

Blocking; :mod:`hls.archive.index` calls it from the event loop.

Rules:

1. Every list has a limit, except those for recovery and the check.
2. Where ``rendition`` may be ``None``, that is both streams of the camera. They are two queries, each in the order of
   an index, whose answers are merged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Row, and_, case, false, func, or_, select

from gateway.camera_settings import RenditionName
from hls.archive import schema
from hls.archive.database import Database
from hls.archive.event_cover import SEGMENT_MAX_90K, EventCover
from hls.archive.fragment import unpack_fragments
from hls.archive.hls_segments import HlsSegment, unpack_hls
from hls.archive.segment import EndReason, RecordedStream, Segment, SegmentState, SegmentWithFragments

_COLUMNS = tuple(item.name for item in fields(Segment) if item.name != "activity")
_STATE, _END_REASON, _HEAD, _RENDITION = (_COLUMNS.index(name) for name in ("state", "end_reason", "head", "rendition"))
SELECTED = tuple(schema.segment.c[name] for name in _COLUMNS)

GROWING_COLUMNS = (
    *("start_90k", "duration_90k", "size", "frames", "longest_gap_90k"),
    *("init_id", "audio_codec", "audio_codec_string"),
)
"""What changes of a segment while it grows."""


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
    """The inverse of :func:`to_row`, for a row that begins with :data:`SELECTED`."""
    values = list(row[: len(_COLUMNS)])
    values[_STATE] = SegmentState(values[_STATE])
    values[_END_REASON] = EndReason(values[_END_REASON]) if values[_END_REASON] else None
    values[_HEAD] = bytes(values[_HEAD])
    values[_RENDITION] = RenditionName(values[_RENDITION])
    return Segment(*values)


class SegmentQueries(Database):
    """See the module. Every method raises :class:`~gateway.errors.StorageError` if the database fails."""

    def get(self, camera_id: str, name: str) -> SegmentWithFragments | None:
        """A segment and its fragments."""
        with self.transaction() as connection:
            row = connection.execute(_with_fragments().where(is_named(camera_id, name), LISTED)).first()
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
                query = select(*SELECTED).where(*overlaps(stream, start_90k, end_90k))
                if after is not None:
                    query = query.where(_later(*after))
                found += map(from_row, connection.execute(query.order_by(*OLDEST_FIRST).limit(limit)))
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
            found = _with_fragments().where(*overlaps(stream, start_90k, end_90k))
            rows = connection.execute(found.order_by(*OLDEST_FIRST).limit(limit)).all()
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
            found = select(*SELECTED, schema.fragment_list.c.packed_hls).join(schema.fragment_list)
            found = found.where(*overlaps(stream, start_90k, end_90k)).order_by(*OLDEST_FIRST).limit(limit)
            rows = connection.execute(found).all()
        recordings = [(from_row(row), row.packed_hls) for row in rows]
        return [(segment, unpack_hls(packed, segment.init_size)) for segment, packed in recordings]

    def hls_before(
        self, camera_id: str, sequence: int | None, limit: int, rendition: RenditionName = RenditionName.MAIN
    ) -> list[tuple[Segment, list[HlsSegment]]]:
        """Segments of a stream with HLS segments, the one recorded last first, before this sequence number."""
        found = select(*SELECTED, schema.fragment_list.c.packed_hls).join(schema.fragment_list)
        found = found.where(is_of(RecordedStream(camera_id, rendition)), LISTED)
        if sequence is not None:
            found = found.where(schema.segment.c.sequence < sequence)
        with self.transaction() as connection:
            rows = connection.execute(found.order_by(schema.segment.c.sequence.desc()).limit(limit)).all()
        recordings = [(from_row(row), row.packed_hls) for row in rows]
        return [(segment, unpack_hls(packed, segment.init_size)) for segment, packed in recordings]

    def at(
        self, camera_id: str, time_90k: int, rendition: RenditionName = RenditionName.MAIN
    ) -> tuple[Segment | None, Segment | None]:
        """The newest segment of a stream that begins at or before this wall clock, and the oldest after it."""
        table = schema.segment.c
        mine = select(*SELECTED).where(is_of(RecordedStream(camera_id, rendition)), LISTED)
        before = mine.where(table.start_90k <= time_90k).order_by(table.start_90k.desc(), table.name.desc()).limit(1)
        after = mine.where(table.start_90k > time_90k).order_by(*OLDEST_FIRST).limit(1)
        with self.transaction() as connection:
            rows = connection.execute(before).first(), connection.execute(after).first()
        return (from_row(rows[0]) if rows[0] else None), (from_row(rows[1]) if rows[1] else None)

    def newest_with_sound(self, camera_id: str, rendition: RenditionName | None = None) -> Segment | None:
        """The newest segment with sound, of one stream or of both."""
        found = []
        for stream in _streams(camera_id, rendition):
            mine = select(*SELECTED).where(is_of(stream), schema.segment.c.audio_codec.is_not(None))
            with self.transaction() as connection:
                row = connection.execute(mine.order_by(schema.segment.c.sequence.desc()).limit(1)).first()
            found += [from_row(row)] if row is not None else []
        return max(found, key=lambda segment: segment.start_90k, default=None)

    def newest(self, camera_id: str, rendition: RenditionName = RenditionName.MAIN) -> Segment | None:
        """The stream's newest segment by sequence number."""
        mine = select(*SELECTED).where(is_of(RecordedStream(camera_id, rendition)))
        newest = mine.order_by(schema.segment.c.sequence.desc()).limit(1)
        with self.transaction() as connection:
            row = connection.execute(newest).first()
        return None if row is None else from_row(row)

    def oldest(
        self,
        camera_id: str,
        limit: int,
        rendition: RenditionName = RenditionName.MAIN,
        cover: EventCover | None = None,
    ) -> list[Segment]:
        """The segments that were recorded first and that retention may delete: neither growing nor protected.

        Those with this ``cover`` by events; without it, all that no event protects.
        """
        table = schema.segment.c
        found: list[Segment] = []
        with self.transaction() as connection:
            for each in (EventCover.NONE, EventCover.COVERED) if cover is None else (cover,):
                # Equal, and not "is", so that the index is used.
                is_free = table.is_protected == false(), table.event_cover == each.value
                query = select(*SELECTED).where(is_of(RecordedStream(camera_id, rendition)), *is_free)
                query = query.where(table.state.in_(_FINISHED)).order_by(table.sequence, table.id).limit(limit)
                found += map(from_row, connection.execute(query))
        return sorted(found, key=lambda segment: segment.sequence)[:limit]

    def start_after(self, stream: RecordedStream, sequence: int, earliest_90k: int, latest_90k: int) -> int | None:
        """The start of the first segment after this number that begins from ``earliest_90k`` to ``latest_90k``."""
        table = schema.segment.c
        query = (
            select(table.start_90k)
            .where(is_of(stream), table.sequence > sequence, LISTED)
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
        overlap = overlaps(None, start_90k, end_90k)
        has_init = schema.segment.c.camera_id == camera_id, schema.segment.c.init_id == init_id
        query = select(*SELECTED).where(*has_init, *overlap).limit(1)
        with self.transaction() as connection:
            row = connection.execute(query).first()
        return None if row is None else from_row(row)

    def without_hash(self, limit: int) -> list[Segment]:
        """Finished segments without a ``sha256``, newest first."""
        table = schema.segment.c
        query = (
            select(*SELECTED)
            .where(table.sha256.is_(None), table.state.not_in(_UNFINISHED))
            .order_by(table.start_90k.desc())
            .limit(limit)
        )
        with self.transaction() as connection:
            return [from_row(row) for row in connection.execute(query)]

    def in_state(self, state: SegmentState) -> list[Segment]:
        """All segments in a state; for states with few segments."""
        with self.transaction() as connection:
            rows = connection.execute(select(*SELECTED).where(schema.segment.c.state == state.value)).all()
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
            .where(LISTED)
            .group_by(table.camera_id, table.rendition)
        )
        with self.transaction() as connection:
            rows = connection.execute(query).all()
        # The sum of 64-bit integers is a decimal in PostgreSQL.
        return [
            StreamUsage(RecordedStream(camera_id, RenditionName(name)), segments, int(size), int(protected), oldest_90k)
            for camera_id, name, segments, size, protected, oldest_90k in rows
        ]

    def written_since(self, since_90k: int) -> dict[str, tuple[int, int]]:
        """Bytes of the segments of each camera that begin at or after this wall clock, and when the first one does."""
        table = schema.segment.c
        query = (
            select(table.camera_id, func.sum(table.size), func.min(table.start_90k))
            .where(LISTED, table.start_90k >= since_90k)
            .group_by(table.camera_id)
        )
        with self.transaction() as connection:
            rows = connection.execute(query).all()
        return {camera_id: (int(size), first_90k) for camera_id, size, first_90k in rows}


def is_named(camera_id: str, name: str) -> Any:
    return and_(schema.segment.c.camera_id == camera_id, schema.segment.c.name == name)


def _with_fragments() -> Any:
    return select(*SELECTED, schema.fragment_list.c.packed).join(schema.fragment_list)


def overlaps(stream: RecordedStream | None, start_90k: int | None, end_90k: int | None) -> list[Any]:
    table = schema.segment.c
    conditions: list[Any] = [LISTED]
    if stream is not None:
        conditions.append(is_of(stream))
    if end_90k is not None:
        conditions.append(table.start_90k < end_90k)
    if start_90k is not None:
        # The first condition only helps the time index: without it the scan would begin years ago.
        conditions.append(table.start_90k > start_90k - SEGMENT_MAX_90K)
        conditions.append(table.start_90k + table.duration_90k > start_90k)
    return conditions


LISTED = schema.segment.c.state != SegmentState.DELETING.value
_UNFINISHED = (SegmentState.GROWING.value, SegmentState.DELETING.value)
_FINISHED = (SegmentState.CLOSED.value, SegmentState.TRUNCATED.value)
OLDEST_FIRST = (schema.segment.c.start_90k, schema.segment.c.name)


def _streams(camera_id: str, rendition: RenditionName | None) -> list[RecordedStream]:
    return [RecordedStream(camera_id, each) for each in RenditionName if rendition in (None, each)]


def is_of(stream: RecordedStream) -> Any:
    table = schema.segment.c
    return and_(table.camera_id == stream.camera_id, table.rendition == stream.rendition.value)


def _age(segment: Segment) -> tuple[int, str]:
    """As :data:`OLDEST_FIRST`."""
    return segment.start_90k, segment.name


def _later(start_90k: int, name: str) -> Any:
    table = schema.segment.c
    # The first condition only helps the time index, which cannot use a condition with "or".
    return and_(table.start_90k >= start_90k, or_(table.start_90k > start_90k, table.name > name))


def _unpacked(row: Row[Any]) -> SegmentWithFragments:
    segment = from_row(row)
    return SegmentWithFragments(segment, unpack_fragments(row._mapping["packed"], segment.init_size))
