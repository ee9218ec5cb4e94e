"""What shows that the file of the index is damaged, and how such a file is set aside."""

import contextlib
import logging
import sqlite3
from collections.abc import Iterator, Set
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from gateway.errors import SettingsError
from hls.archive import schema

log = logging.getLogger(__name__)

DAMAGED_MAX = 3
"""Damaged files that are kept for investigation; older ones are deleted."""

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN}
_DAMAGE_EXTENDED = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_READONLY_DBMOVED}
"""Result codes of SQLite (sqlite.org/rescode.html) after which the file has to be checked."""


def is_sign_of_damage(error: SQLAlchemyError) -> bool:
    """Whether the file has to be checked after this error."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    code = getattr(cause, "sqlite_errorcode", 0) or 0
    # The tables of an open file do not disappear without damage.
    return code & 0xFF in _DAMAGE or code in _DAMAGE_EXTENDED or "no such table" in str(cause)


def set_aside(path: Path, now_ms: int) -> Set[tuple[str, str]]:
    """Rename a damaged file, so that a new index takes its place, which recovery fills from the recordings.

    Returns camera and name of the protected segments, as far as they can still be read: no recording contains this.
    """
    protected = set(_read_protected(path))
    aside = path.with_name(f"{path.name}.broken-{now_ms}")
    log.error("%s is damaged: it is kept as %s, and the index is rebuilt from the recordings", path, aside.name)
    try:
        path.rename(aside)
        for companion in ("-wal", "-shm"):
            path.with_name(path.name + companion).unlink(missing_ok=True)
        others = [other for other in path.parent.glob(f"{path.name}.broken-*") if other != aside]
        # The one of now stays, whatever the clock says.
        for old in sorted(others, key=lambda other: (len(other.name), other.name))[: -(DAMAGED_MAX - 1)]:
            old.unlink()
    except OSError as error:
        raise SettingsError(f"{path} is damaged and cannot be renamed: {error.strerror}") from None
    return protected


def _read_protected(path: Path) -> Iterator[tuple[str, str]]:
    query = select(schema.segment.c.camera_id, schema.segment.c.name).where(schema.segment.c.is_protected)
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            yield from connection.execute(str(query.compile(dialect=sqlite.dialect())))
    except sqlite3.Error as error:
        log.warning("%s: not all protected segments could be read: %s", path, error)
