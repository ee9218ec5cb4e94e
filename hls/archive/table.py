"""SegmentTable: the table of archive segments. :mod:`hls.archive.segment_queries` reads it, this module writes it.

Blocking; :mod:`hls.archive.index` calls it from the event loop.

Rules:

1. A row never has more than the disk: the file is synced before the row is written.
2. A row is deleted in two steps: it is ``deleting`` before the file is unlinked, and removed after.
"""

from collections.abc import Sequence
from itertools import accumulate

from sqlalchemy import bindparam, delete, insert, select, update

from gateway.camera_settings import RenditionName
from hls.archive import activity_table, schema
from hls.archive.event_cover import cover_of
from hls.archive.fragment import Fragment, pack_fragments
from hls.archive.hls_segments import hls_segments, pack_hls
from hls.archive.segment import RecordedStream, Segment, SegmentState, SegmentWithFragments
from hls.archive.segment_queries import (
    GROWING_COLUMNS,
    LISTED,
    OLDEST_FIRST,
    SELECTED,
    SegmentQueries,
    from_row,
    is_named,
    is_of,
    overlaps,
    to_row,
)


class SegmentTable(SegmentQueries):
    """See the module. Every method raises :class:`~gateway.errors.StorageError` if the database fails."""

    def save(self, segment: Segment, fragments: tuple[Fragment, ...]) -> None:
        """Insert the segment, or replace its row; its protection does not change."""
        with self.transaction() as connection:
            row = to_row(segment)
            if segment.state is not SegmentState.GROWING:
                span = segment.start_90k, segment.end_90k
                cover = cover_of(connection, segment.camera_id, *span, self.rolls_of(segment.camera_id))
                row["event_cover"] = cover.value
            key = is_named(segment.camera_id, segment.name)
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
                activity_table.save(connection, {row_id: segment})
                return
            del row["is_protected"]
            connection.execute(update(schema.segment).where(schema.segment.c.id == row_id).values(row))
            connection.execute(
                update(schema.fragment_list)
                .where(schema.fragment_list.c.segment_id == row_id)
                .values(packed=packed, packed_hls=packed_hls)
            )
            activity_table.save(connection, {row_id: segment})

    def save_growing(self, growing: Sequence[SegmentWithFragments]) -> None:
        """:meth:`save` of growing segments, of which only what grows is written, in one transaction."""
        table, lists = schema.segment.c, schema.fragment_list.c
        with self.transaction() as connection:
            rows = connection.execute(
                select(table.id, table.camera_id, table.name).where(table.state == SegmentState.GROWING)
            )
            ids = {(camera_id, name): row_id for row_id, camera_id, name in rows}
            known = [
                (ids[each.segment.camera_id, each.segment.name], each)
                for each in growing
                if (each.segment.camera_id, each.segment.name) in ids
            ]
            if known:
                connection.execute(
                    update(schema.segment)
                    .where(table.id == bindparam("row_id"))
                    .values({name: bindparam(f"new_{name}") for name in GROWING_COLUMNS}),
                    [
                        {"row_id": row_id} | {f"new_{name}": getattr(segment, name) for name in GROWING_COLUMNS}
                        for row_id, (segment, _) in known
                    ],
                )
                connection.execute(
                    update(schema.fragment_list)
                    .where(lists.segment_id == bindparam("row_id"))
                    .values(packed=bindparam("new_packed"), packed_hls=bindparam("new_packed_hls")),
                    [
                        {
                            "row_id": row_id,
                            "new_packed": pack_fragments(fragments),
                            "new_packed_hls": pack_hls(hls_segments(fragments, is_complete=False)),
                        }
                        for row_id, (_, fragments) in known
                    ],
                )
                activity_table.save(connection, {row_id: segment for row_id, (segment, _) in known})
        for each in growing:
            if (each.segment.camera_id, each.segment.name) not in ids:
                self.save(*each)

    def add_if_missing(self, segment: Segment, fragments: tuple[Fragment, ...]) -> bool:
        """Insert a segment found on disk. False if there is a row already: that of its recorder is more recent."""
        with self.transaction() as connection:
            if connection.scalar(select(schema.segment.c.id).where(is_named(segment.camera_id, segment.name))):
                return False
        self.save(segment, fragments)
        return True

    def set_protected(self, camera_id: str, name: str, is_protected: bool) -> bool:
        """Protect a segment from retention, or stop protecting it. Returns whether it exists.

        What the camera's other stream recorded of that time goes with it: its segments that are in the time of this
        one for at least half of their own.
        """
        table = schema.segment.c
        with self.transaction() as connection:
            row = connection.execute(select(*SELECTED).where(is_named(camera_id, name), LISTED)).first()
            if row is None:
                return False
            segment = from_row(row)
            other = RenditionName.SUB if segment.rendition is RenditionName.MAIN else RenditionName.MAIN
            overlap = overlaps(RecordedStream(camera_id, other), segment.start_90k, segment.end_90k)
            beside = map(from_row, connection.execute(select(*SELECTED).where(*overlap)).all())
            names = [name, *(each.name for each in beside if _is_mostly_in(each, segment))]
            connection.execute(
                update(schema.segment)
                .where(table.camera_id == camera_id, table.name.in_(names), LISTED)
                .values(is_protected=is_protected)
            )
            return True

    def set_metadata(self, segment: Segment) -> None:
        """Write only ``sha256`` and ``metadata``."""
        with self.transaction() as connection:
            connection.execute(
                update(schema.segment)
                .where(is_named(segment.camera_id, segment.name))
                .values(sha256=segment.sha256, metadata=segment.metadata)
            )

    def begin_delete(self, segments: Sequence[Segment]) -> None:
        """Rule 2, before the files are removed."""
        with self.transaction() as connection:
            for segment in segments:
                connection.execute(
                    update(schema.segment)
                    .where(is_named(segment.camera_id, segment.name))
                    .values(state=SegmentState.DELETING.value)
                )

    def end_delete(self, segments: Sequence[Segment]) -> None:
        """Rule 2, after the files are removed. A clock that was set back may have begun a file of that name since."""
        is_deleting = schema.segment.c.state == SegmentState.DELETING.value
        with self.transaction() as connection:
            for segment in segments:
                key = is_named(segment.camera_id, segment.name)
                connection.execute(delete(schema.segment).where(key, is_deleting))

    def remove(self, camera_id: str, name: str) -> None:
        """Remove a row without a file."""
        with self.transaction() as connection:
            connection.execute(delete(schema.segment).where(is_named(camera_id, name)))

    def renumber(self, stream: RecordedStream, known: Segment | None = None) -> None:
        """Renumber the HLS segments of a stream by time, after rows were inserted between others.

        ``known`` keeps its numbers and the others are counted from it, so that players of the recording continue.
        """
        table = schema.segment.c
        with self.transaction() as connection:
            rows = list(
                connection.execute(
                    select(table.id, table.name, table.hls_segments, table.sequence)
                    .where(is_of(stream))
                    .order_by(*OLDEST_FIRST)
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


def _is_mostly_in(segment: Segment, span: Segment) -> bool:
    inside_90k = min(segment.end_90k, span.end_90k) - max(segment.start_90k, span.start_90k)
    return 2 * inside_90k >= segment.duration_90k
