"""Database: where the index lies. SQLite in ``DATA_DIR``, or whatever ``DATABASE_URL`` names.

SQLite runs in WAL mode, so that readers never wait for the writer. The index can be made again from the files at any
time, so it is synced by the database's own habit and not per row, and a damaged file is put aside for a new one.
"""

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from gateway.errors import SettingsError, StorageError, redact
from hls import schema

log = logging.getLogger(__name__)

INDEX_FILE = "index.sqlite3"

BUSY_TIMEOUT_S = 5.0
"""How long SQLite waits for another process, such as ``liveedge check``, to end its transaction."""


class Database:
    """See the module. Blocking; one thread at a time."""

    def __init__(self, data_dir: Path, database_url: str | None = None) -> None:
        self._path = data_dir / INDEX_FILE if database_url is None else None
        self._url = database_url or f"sqlite:///{self._path}"
        self._engine: Engine | None = None

    @property
    def is_open(self) -> bool:
        return self._engine is not None

    def open(self) -> None:
        """Connect and migrate. Raises :class:`~gateway.errors.SettingsError` where that cannot be."""
        try:
            url = make_url(self._url)
            # A server may have been restarted since the last call.
            options: dict[str, Any] = {"pool_pre_ping": True}
            if url.get_backend_name() == "sqlite":
                options = {"connect_args": {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}}
            engine = create_engine(url, **options)
        except (ArgumentError, NoSuchModuleError) as error:
            raise SettingsError(f"DATABASE_URL cannot be used: {redact(error)}") from None
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"DATABASE_URL wants the Python package {error.name!r}, which is not there: install it beside liveedge"
                " (for PostgreSQL: pip install 'liveedge[postgres]')"
            ) from None
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _prepare_sqlite)
        try:
            try:
                with engine.begin() as connection:
                    schema.migrate(connection)
            except DatabaseError as error:
                engine.dispose()
                if self._path is None or isinstance(error, OperationalError):
                    raise
                _put_aside(self._path)
                with engine.begin() as connection:
                    schema.migrate(connection)
        except SQLAlchemyError as error:
            engine.dispose()
            raise SettingsError(f"the index cannot be opened: {_cause(error)}; see DATA_DIR and DATABASE_URL") from None
        except SettingsError:
            engine.dispose()
            raise
        self._engine = engine

    def close(self) -> None:
        """Disconnect. Twice is fine."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction. Raises :class:`~gateway.errors.StorageError`."""
        if self._engine is None:
            raise StorageError("the index is not open")
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StorageError(f"the index failed: {_cause(error)}") from None


def _put_aside(path: Path) -> None:
    """A file that is no database (any more) makes room for a new index, which recovery fills from the recordings."""
    aside = path.with_name(f"{path.name}.broken-{time.time_ns() // 1_000_000}")
    log.error("%s is damaged: it is kept as %s, and the index is made again from the recordings", path, aside.name)
    try:
        path.rename(aside)
        for companion in ("-wal", "-shm"):
            path.with_name(path.name + companion).unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"{path} is damaged and cannot be put aside: {error.strerror}") from None


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "cache_size=-8192"):
        connection.execute(f"PRAGMA {pragma}")


def _cause(error: SQLAlchemyError) -> str:
    return redact(error.orig if isinstance(error, DBAPIError) and error.orig else error)
