"""ClusterRecordings: the index of what all nodes have recorded.

Rules:

1. The index is fenced in the statement that writes it: it locks the row of the owner, and only that of the present
   epoch. So no claim comes between the check and the write.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, func, select

from hls.cluster import schema

if TYPE_CHECKING:
    from hls.cluster.store import PostgresStore


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A file of a node. Times are 90 kHz since the Unix epoch, the size is in bytes."""

    camera_id: str
    rendition: str
    node_name: str
    name: str
    start_90k: int
    end_90k: int
    size: int


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A row of the index. ``from_90k`` and ``to_90k``: the span for which it counts; ``None``: it is a spare."""

    file: RecordedFile
    epoch: int
    from_90k: int | None
    to_90k: int | None


class ClusterRecordings:
    """See the module. Blocking; in the thread of its store. Every method raises ``StorageError``."""

    def __init__(self, store: "PostgresStore") -> None:
        self._store = store

    def record(self, file: RecordedFile, epoch: int) -> bool:
        """Insert or replace a row of the index. Returns whether it was written as that of the owner.

        The row of an owner gets the span of the file that no other row has. With the epoch of a former owner, a row
        keeps the span that it had; a new one gets none, and is a spare.
        """
        with self._store.transaction() as connection:
            return self.write_row(connection, file, epoch)

    def write(
        self, files: Sequence[tuple[RecordedFile, int]], node_name: str, deleted: Sequence[tuple[str, str]]
    ) -> list[bool]:
        """:meth:`record` of several files with their epochs, and remove the rows of others (camera and name)."""
        table = schema.recording.c
        with self._store.transaction() as connection:
            for camera_id, name in deleted:
                gone = table.camera_id == camera_id, table.node_name == node_name, table.name == name
                connection.execute(delete(schema.recording).where(*gone))
            # In one order, so that the transactions of two nodes do not wait for each other.
            done = {number: self.write_row(connection, *files[number]) for number in _in_order(files)}
        return [done[number] for number in range(len(files))]

    def newest(self, node_name: str) -> dict[str, int]:
        """When the newest file of each camera began that the index has of a node."""
        table = schema.recording.c
        query = select(table.camera_id, func.max(table.start_90k)).where(table.node_name == node_name)
        with self._store.transaction() as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(table.camera_id))}

    def write_row(self, connection: Connection, file: RecordedFile, epoch: int) -> bool:
        """:meth:`record`, as a part of a transaction."""
        return bool(connection.scalar(self._store.sql(_RECORD), asdict(file) | {"epoch": epoch}))

    def recorded_spans(self, camera_id: str, spans: Sequence[tuple[int, int]], nodes: Collection[str]) -> list[bool]:
        """For each span [start, end), whether a file of one of the nodes overlaps it."""
        table = schema.recording.c
        found = []
        with self._store.transaction() as connection:
            for start_90k, end_90k in spans:
                query = select(table.name).where(
                    table.camera_id == camera_id,
                    table.node_name.in_(sorted(nodes)),
                    table.end_90k > start_90k,
                    table.start_90k < end_90k,
                )
                found.append(connection.scalar(query.limit(1)) is not None)
        return found

    def find(
        self, camera_id: str, start_90k: int | None, end_90k: int | None, limit: int, rendition: str | None = None
    ) -> list[FoundFile]:
        """What all nodes recorded of a camera that overlaps [start, end), oldest first."""
        table = schema.recording.c
        query = select(schema.recording).where(table.camera_id == camera_id)
        if rendition is not None:
            query = query.where(table.rendition == rendition)
        if start_90k is not None:
            query = query.where(table.end_90k > start_90k)
        if end_90k is not None:
            query = query.where(table.start_90k < end_90k)
        with self._store.transaction() as connection:
            rows = connection.execute(query.order_by(table.start_90k, table.node_name, table.name).limit(limit)).all()
        names = RecordedFile.__slots__
        return [
            FoundFile(RecordedFile(**{name: getattr(row, name) for name in names}), row.epoch, row.from_90k, row.to_90k)
            for row in rows
        ]


def _in_order(files: Sequence[tuple[RecordedFile, int]]) -> list[int]:
    return sorted(range(len(files)), key=lambda number: files[number][0].camera_id)


_RECORD = """
WITH fence AS (
    SELECT 1 FROM cluster_owner WHERE camera_id = :camera_id AND epoch = :epoch FOR NO KEY UPDATE
), other AS (
    SELECT from_90k, to_90k FROM cluster_recording
    WHERE camera_id = :camera_id AND rendition = :rendition AND (node_name, name) <> (:node_name, :name)
      AND from_90k < :end_90k AND to_90k > :start_90k
), span AS (
    SELECT greatest(:start_90k, (SELECT max(to_90k) FROM other WHERE from_90k <= :start_90k)) AS begin_90k,
           least(:end_90k, (SELECT min(from_90k) FROM other WHERE from_90k > :start_90k)) AS end_90k
    FROM fence
), canonical AS (
    SELECT begin_90k, end_90k FROM span WHERE begin_90k < end_90k
)
INSERT INTO cluster_recording AS old
    (camera_id, rendition, node_name, name, epoch, start_90k, end_90k, size, from_90k, to_90k)
SELECT :camera_id, :rendition, :node_name, :name, :epoch, :start_90k, :end_90k, :size,
       (SELECT begin_90k FROM canonical), (SELECT end_90k FROM canonical)
WHERE true
ON CONFLICT (camera_id, rendition, node_name, name) DO UPDATE SET
    start_90k = excluded.start_90k, end_90k = excluded.end_90k, size = excluded.size,
    epoch = CASE WHEN EXISTS (SELECT 1 FROM fence) THEN excluded.epoch ELSE old.epoch END,
    from_90k = CASE WHEN EXISTS (SELECT 1 FROM fence) THEN excluded.from_90k
                    WHEN old.from_90k < excluded.end_90k THEN old.from_90k END,
    to_90k = CASE WHEN EXISTS (SELECT 1 FROM fence) THEN excluded.to_90k
                  WHEN old.from_90k < excluded.end_90k THEN least(old.to_90k, excluded.end_90k) END
RETURNING (SELECT count(*) FROM fence)
"""
