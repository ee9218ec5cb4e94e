"""ClusterUploads: the table of unfinished uploads, and what is done for nodes that are away.

Rules:

1. A node writes the rows of its own uploads: when a part goes off, and when the storage has it.
2. A row of a node that has been away for :data:`ADOPT_AFTER_S` may be *adopted*: one living node completes the upload.
   The owner of the camera does, or any node where nobody owns it.
3. A node adopts the rows of an earlier process of its own name as soon as that is dead: its disk may have been lost.
4. What counts for a moment keeps counting: the row of the index goes to the adopter with its epoch and its span.
5. A node that has been away for :data:`FORGET_AFTER_S` is forgotten: its rows of the index and of uploads are removed.
   If it comes back, it tells of its files again, as spares.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, select, text

from hls.archive.segment import Segment, SegmentWithFragments
from hls.archive.segment_record import read_record, write_record
from hls.archive.upload import Upload, pack_parts, unpack_parts
from hls.cluster import schema
from hls.cluster.recordings import ClusterRecordings, RecordedFile
from hls.cluster.store import PostgresStore

ADOPT_AFTER_S = 300
"""Longer than a machine needs to start again: with its disk, it completes its uploads itself, without a loss."""

FORGET_AFTER_S = 30 * 86_400

FORGET_BATCH = 1000
"""Rows that are removed in one transaction."""


class Orphan(NamedTuple):
    """An unfinished upload of another process. ``found``: the segment as its node knew it then."""

    node_name: str
    found: SegmentWithFragments
    upload: Upload


class AbsentNode(NamedTuple):
    """A node that is not alive, when it was last, and whether it ended in order."""

    name: str
    seen_at: datetime
    has_left: bool


class ClusterUploads:
    """See the module. Blocking; in the thread of its store. Every method raises ``StorageError``."""

    def __init__(self, store: PostgresStore, node_name: str, node_id: str) -> None:
        self._store = store
        self._recordings = ClusterRecordings(store)
        self._node_name = node_name
        self._node_id = node_id

    def write(self, uploads: Sequence[tuple[SegmentWithFragments, Upload]], ended: Sequence[tuple[str, str]]) -> None:
        """Write the state of uploads of this node, and remove the rows of others (camera and name)."""
        table = schema.upload.c
        with self._store.transaction() as connection:
            for camera_id, name in ended:
                mine = table.node_name == self._node_name, table.camera_id == camera_id, table.name == name
                connection.execute(delete(schema.upload).where(*mine))
            for found, upload in uploads:
                keys = {
                    "node_name": self._node_name,
                    "camera_id": found.segment.camera_id,
                    "name": found.segment.name,
                }
                values = {
                    "node_id": self._node_id,
                    "part_size": upload.part_size,
                    "upload_id": upload.upload_id,
                    "parts": pack_parts(upload.parts),
                    "head": upload.head,
                    "record": write_record(found.segment, found.fragments, None),
                    "adopter_id": None,
                }
                written = self._store.insert(schema.upload).values(**keys, **values)
                connection.execute(written.on_conflict_do_update(index_elements=list(keys), set_=values))

    def adopt(self, limit: int) -> list[Orphan]:
        """Take uploads that this node may complete; rules 2 and 3."""
        values = {"me": self._node_id, "name": self._node_name, "limit": limit}
        query = self._store.sql(_ADOPT, oldest=-ADOPT_AFTER_S)
        with self._store.transaction() as connection:
            rows = connection.execute(query, values).all()
        orphans = []
        for row in rows:
            found = read_record(bytes(row.record))
            if found is not None:  # a newer liveedge wrote it, and will read it
                state = {"upload_id": row.upload_id, "parts": unpack_parts(row.parts), "head": row.head}
                upload = Upload(row.part_size, **state, is_local=False)
                orphans.append(Orphan(row.node_name, found, upload))
        return orphans

    def adopted(self, orphan: Orphan, segment: Segment | None) -> None:
        """The upload is completed, and this node has it as ``segment``; ``None``: the storage had nothing of it."""
        before = orphan.found.segment
        table, rows = schema.upload.c, schema.recording.c
        row = table.node_name == orphan.node_name, table.camera_id == before.camera_id, table.name == before.name
        with self._store.transaction() as connection:
            mine = connection.execute(
                delete(schema.upload).where(*row, table.adopter_id == self._node_id).returning(table.name)
            ).all()
            if segment is None or not mine:
                return
            file = RecordedFile(
                segment.camera_id,
                segment.rendition.value,
                self._node_name,
                segment.name,
                segment.start_90k,
                segment.end_90k,
                segment.size,
            )
            values = {"of": orphan.node_name, "before": before.name, **_values(file)}
            if (orphan.node_name, before.name) != (file.node_name, file.name):
                same = rows.camera_id == file.camera_id, rows.node_name == file.node_name, rows.name == file.name
                connection.execute(delete(schema.recording).where(*same))
            if not connection.execute(self._store.sql(_MOVE), values).rowcount:
                self._recordings.write_row(connection, file, 0)

    def absent(self) -> list[AbsentNode]:
        """The nodes that are not alive, by name."""
        table = schema.member.c
        query = self._store.sql(_ABSENT).columns(table.name, table.seen_at, table.has_left)
        with self._store.transaction() as connection:
            return [AbsentNode(*row) for row in connection.execute(query)]

    def forget(self) -> bool:
        """Remove rows by rule 5. Returns whether there may be more."""
        table = schema.member.c
        old = text(f"seen_at < {self._store.at(-FORGET_AFTER_S)}")
        with self._store.transaction() as connection:
            name = connection.scalar(select(table.name).where(old).order_by(table.name).limit(1))
            if name is None:
                return False
            removed = connection.execute(self._store.sql(_FORGET), {"name": name, "limit": FORGET_BATCH}).rowcount
            if removed < FORGET_BATCH:
                connection.execute(delete(schema.upload).where(schema.upload.c.node_name == name))
                connection.execute(delete(schema.member).where(table.name == name))
        return True


def _values(file: RecordedFile) -> dict[str, object]:
    return {name: getattr(file, name) for name in RecordedFile.__slots__}


_ADOPT = """
WITH alive AS (
    SELECT id, name FROM cluster_node WHERE expires_at > {now}
), free AS (
    SELECT node_name, camera_id, name FROM cluster_upload AS u
    WHERE EXISTS (SELECT 1 FROM alive WHERE id = :me)
      AND (adopter_id IS NULL OR adopter_id = :me OR adopter_id NOT IN (SELECT id FROM alive))
      AND ((node_name = :name AND node_id NOT IN (SELECT id FROM alive))
        OR (node_name NOT IN (SELECT name FROM alive)
          AND EXISTS (SELECT 1 FROM cluster_member AS m WHERE m.name = u.node_name
                      AND m.seen_at < {oldest})
          AND NOT EXISTS (SELECT 1 FROM cluster_owner AS o JOIN alive ON alive.id = o.node_id
                          WHERE o.camera_id = u.camera_id AND o.node_id <> :me)))
    ORDER BY u.name DESC LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE cluster_upload AS u SET adopter_id = :me FROM free
WHERE u.node_name = free.node_name AND u.camera_id = free.camera_id AND u.name = free.name
RETURNING u.node_name, u.part_size, u.upload_id, u.parts, u.head, u.record
"""

_MOVE = """
UPDATE cluster_recording SET node_name = :node_name, name = :name, size = :size, end_90k = :end_90k,
    from_90k = CASE WHEN from_90k < :end_90k THEN from_90k END,
    to_90k = CASE WHEN from_90k < :end_90k THEN least(to_90k, :end_90k) END
WHERE camera_id = :camera_id AND rendition = :rendition AND node_name = :of AND name = :before
"""

_ABSENT = """
SELECT name, seen_at, has_left FROM cluster_member
WHERE name NOT IN (SELECT name FROM cluster_node WHERE expires_at > {now}) ORDER BY name
"""

_FORGET = """
DELETE FROM cluster_recording WHERE ctid IN (SELECT ctid FROM cluster_recording WHERE node_name = :name LIMIT :limit)
"""
