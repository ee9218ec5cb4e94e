"""ReadOnlyTable: the index in the folder of another process, which does not run, or may begin to run at any moment.

Rules (sqlite.org/wal.html):

1. The file is opened read-only (``mode=ro``), never as ``immutable``: what a process that was killed has left in its
   write-ahead log is read too, with the locks that keep a process right which opens the file meanwhile.
2. Each transaction has a connection of its own, which is closed after it. So nothing keeps that process from putting
   a damaged file aside, or from shortening the log. SQLite may leave an empty log and its shared memory there.
3. A write fails in SQLite, whatever asks for it.
"""

import sqlite3
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from hls.archive.database import INDEX_FILE
from hls.archive.table import SegmentTable

BUSY_S = 2.0
"""Readers of a write-ahead log wait for nobody, but while the log is recovered, or the file has a rollback journal."""


class ReadOnlyTable(SegmentTable):
    """See the module. Needs no :meth:`~hls.archive.database.Database.open`. Blocking; from any thread."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        place = f"{(data_dir / INDEX_FILE).absolute().as_uri()}?mode=ro"

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(place, uri=True, timeout=BUSY_S, check_same_thread=False)

        self._engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
