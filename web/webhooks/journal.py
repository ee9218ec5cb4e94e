"""Journal: the outbox of webhooks on the disk, in ``DATA_DIR/webhooks.db``. Blocking; :class:`Outbox` calls it.

Rules:

1. One call of :meth:`Journal.write` is one transaction, synced to the disk when it returns.
2. A file that is damaged is set aside, and an empty one begun.
3. The file has URLs' digests, never a URL or a secret.
"""

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hls.archive.data_dir import make_private_dir

log = logging.getLogger(__name__)

VERSION = 1

_SCHEMA = """
CREATE TABLE message (
    number INTEGER PRIMARY KEY, endpoint TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, body BLOB NOT NULL,
    created_s REAL NOT NULL
);
CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL);
PRAGMA user_version = 1;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message for one endpoint. ``id`` is its webhook-id, and ``created_s`` Unix seconds.

    ``added_s`` is when this process got it, monotonic: a wrong clock must not make it old.
    """

    number: int
    endpoint: str
    id: str
    type: str
    body: bytes
    created_s: float
    added_s: float = field(default_factory=time.monotonic, compare=False)


@dataclass(frozen=True)
class Contents:
    """What a journal has: messages in the order of their numbers, and texts by name."""

    entries: list[Entry] = field(default_factory=list)
    state: dict[str, str] = field(default_factory=dict)


FILES = ("", "-wal", "-shm")
"""What SQLite adds to the name of the file."""


def remove_journal(path: Path) -> None:
    """Remove a journal: no endpoint is configured any more. Raises ``OSError``."""
    for suffix in FILES:
        Path(f"{path}{suffix}").unlink(missing_ok=True)


class Journal:
    """See the module."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def read(self) -> Contents:
        """Everything in it. Raises ``sqlite3.Error`` or ``OSError`` if the disk fails."""
        try:
            return self._read()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # the disk, not the file
            self.close()
            log.error("webhooks: %s is damaged (%s): it is set aside, and what waited in it is lost", self._path, error)  # noqa: TRY400
            for suffix in FILES:
                with contextlib.suppress(FileNotFoundError):
                    os.replace(f"{self._path}{suffix}", f"{self._path}.damaged{suffix}")
            return self._read()

    def _read(self) -> Contents:
        connection = self._open()
        rows = connection.execute("SELECT number, endpoint, id, type, body, created_s FROM message ORDER BY number")
        entries = [Entry(*row) for row in rows]
        return Contents(entries, dict(connection.execute("SELECT name, value FROM state").fetchall()))

    def write(self, added: Collection[Entry], removed: Collection[int], state: Mapping[str, str | None]) -> None:
        """Rule 1. ``None`` removes a text. Raises ``sqlite3.Error`` or ``OSError``; nothing is changed then."""
        connection = self._open()
        with connection:  # commits, or rolls back
            connection.executemany(
                "INSERT OR REPLACE INTO message VALUES (?, ?, ?, ?, ?, ?)",
                [(each.number, each.endpoint, each.id, each.type, each.body, each.created_s) for each in added],
            )
            connection.executemany("DELETE FROM message WHERE number = ?", [(number,) for number in removed])
            kept = [(name, value) for name, value in state.items() if value is not None]
            connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", kept)
            gone = [(name,) for name, value in state.items() if value is None]
            connection.executemany("DELETE FROM state WHERE name = ?", gone)

    def close(self) -> None:
        """Close the file. The next call opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            make_private_dir(self._path.parent)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = sqlite3.connect(self._path, check_same_thread=False, timeout=1)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA wal_autocheckpoint = 250")
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    connection.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
                elif version != VERSION:
                    raise sqlite3.DatabaseError(f"its version is {version}, and not {VERSION}")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection
