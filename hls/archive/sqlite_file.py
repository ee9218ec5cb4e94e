"""How SQLite keeps the file of the index: with which journal, which locks, and when it is on the disk.

It runs in WAL mode, so that readers never wait for the writer, except on a network file system, and where the
write-ahead log is refused: there it has a rollback journal.
"""

import contextlib
import fcntl
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

NETWORK_FILE_SYSTEMS = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse", "vboxsf", "prl_fs",
    "beegfs", "orangefs", "gpfs", "coda",
}  # fmt: skip
"""Types in /proc/self/mountinfo. Those of FUSE (``fuse.…``: sshfs, rclone, s3fs) count too: few share memory."""

NO_WAL = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL}
"""Result codes where a file system has no memory that processes share. A broken disk has them too, and then a rollback
journal does not help either."""


def result_code(error: SQLAlchemyError) -> int:
    """SQLite's primary result code; 0 where there is none."""
    code = getattr(error.orig, "sqlite_errorcode", 0) if isinstance(error, DBAPIError) else 0
    return (code or 0) & 0xFF


def lock_refusal(path: Path | None) -> str | None:
    """What to do where the folder's file system refuses locks, which SQLite takes for another program's."""
    if path is None:
        return None
    try:
        with tempfile.TemporaryFile(dir=path.parent) as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return (
            f"the index cannot be opened: the file system of {path.parent} refuses locks ({error.strerror}); mount it"
            " with locks, or set DATABASE_URL to a local file or a PostgreSQL server"
        )
    return None


@contextlib.contextmanager
def synced(connection: Connection, is_synced: bool) -> Iterator[None]:
    """Make SQLite sync the write-ahead log with each commit (sqlite.org/pragma.html#pragma_synchronous)."""
    if not is_synced or connection.dialect.name != "sqlite":
        yield
        return
    raw = connection.connection.cursor()
    before = raw.execute("PRAGMA synchronous").fetchone()[0]
    raw.execute("PRAGMA synchronous=FULL")
    try:
        yield
    finally:
        raw.execute(f"PRAGMA synchronous={before}")


def prepare_with_wal(connection: sqlite3.Connection, _: object) -> None:
    """Begin a connection with a write-ahead log. A listener of SQLAlchemy's event ``connect``."""
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "cache_size=-8192"):
        connection.execute(f"PRAGMA {pragma}")


def prepare_with_rollback(connection: sqlite3.Connection, _: object) -> None:
    """Begin a connection with a rollback journal. Exclusive locks first: then a write-ahead log that is there needs no
    shared memory to be read (sqlite.org/wal.html)."""
    for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=DELETE", "locking_mode=NORMAL"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    # The lock is released with the next read.
    connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "cache_size=-8192"):
        connection.execute(f"PRAGMA {pragma}")


def network_file_system(folder: Path, mounts: str | None = None) -> str | None:
    """The type of the network file system that holds ``folder``; ``None`` for a local one, or where it is unknown.

    ``mounts`` is the text of ``/proc/self/mountinfo`` (proc(5)).
    """
    try:
        text = mounts if mounts is not None else Path("/proc/self/mountinfo").read_text()
        real = folder if mounts is not None else folder.resolve()
    except OSError:
        return None
    longest, found = -1, ""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.partition(" ")[0]
        if len(fields) < 5:
            continue
        place = Path(fields[4].replace("\\040", " "))
        # The last one of equal places lies above the others.
        if (real == place or place in real.parents) and len(place.parts) >= longest:
            longest, found = len(place.parts), kind
    return found if found in NETWORK_FILE_SYSTEMS or found.startswith("fuse.") else None
