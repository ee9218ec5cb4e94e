"""Database: the connection to the index, SQLite in ``DATA_DIR`` or the database of ``DATABASE_URL``.

SQLite has a write-ahead log where the file system permits it (:mod:`hls.archive.sqlite_file`). The rows of segments can
be rebuilt from the files at any time, so they are not synced one by one. Events are in no file: their transactions are
synced, and a new file gets those of the damaged one.

A damaged file is set aside and replaced by a new one (:mod:`hls.archive.damaged_index`), at the start or later. Signs
of damage set :attr:`Database.is_suspect`: an error of SQLite that says so, or a file that is not where it was opened.
:meth:`Database.repair` then connects again, checks the whole file and decides. A full or busy disk is not damage: the
connection stays, and reading continues.

A server behind ``DATABASE_URL`` is repaired by its administrator. While it is away, every transaction fails, and the
next one connects again (:mod:`hls.archive.database_server`).
"""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.config.messages import install_extra
from gateway.errors import SettingsError, StorageError, redact
from hls.archive import event_schema, migrations, salvage, schema
from hls.archive.damaged_index import is_sign_of_damage, set_aside
from hls.archive.database_server import DatabaseServer
from hls.archive.event_cover import DEFAULT_ROLLS, Rolls
from hls.archive.sqlite_file import (
    NO_WAL,
    lock_refusal,
    network_file_system,
    prepare_with_rollback,
    prepare_with_wal,
    result_code,
    synced,
)

log = logging.getLogger(__name__)

INDEX_FILE = "index.sqlite3"

BUSY_TIMEOUT_S = 5.0
"""How long SQLite waits for another process, such as ``liveedge check``, to end its transaction."""

_MAGIC = b"SQLite format 3\0"
"""The first bytes of a database (sqlite.org/fileformat.html §1.3)."""

CHECKED = (schema.segment.name, event_schema.event.name)
"""Tables that a start checks."""

_Place = tuple[int, int]
"""Device and inode."""


class Database:
    """See the module. Blocking; one thread at a time."""

    def __init__(self, data_dir: Path, database_url: str | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._path = data_dir / INDEX_FILE if database_url is None else None
        self._url = database_url or f"sqlite:///{self._path}"
        self.rolls_of: Callable[[str], Rolls] = lambda _: DEFAULT_ROLLS
        """How much before and after an event of a camera belongs to it. Called in any thread."""
        self._engine: Engine | None = None
        self.is_suspect = False
        """Whether there was a sign of damage since the file was opened."""
        self._is_new = False
        self._descriptor: int | None = None
        """Of the file, to look at it. It is closed after SQLite has closed its own: with each descriptor that is
        closed, a process loses all its locks of a file (sqlite.org/howtocorrupt.html §2.2). Then another program that
        leaves the index, such as ``liveedge check``, deletes the write-ahead log that is in use."""
        self._opened: _Place | None = None
        self._opened_wal: _Place | None = None
        self._server = DatabaseServer()
        self._salvaged: Set[tuple[str, str]] = frozenset()
        self._salvaged_events: list[tuple[Any, ...]] = []
        self._salvaged_rows: salvage.Rows = {}

    @property
    def is_open(self) -> bool:
        return self._engine is not None

    def _make_file(self) -> None:
        """Make the file, not readable by others. SQLite gives its mode to the journal too."""
        if self._path is not None:
            with contextlib.suppress(OSError):  # it exists; or SQLite tells why it cannot be made
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o640))

    def open(self, *, check_all: bool = False) -> None:
        """Connect and migrate. Raises :class:`~gateway.errors.SettingsError` if that fails.

        The table of segments is checked, and with ``check_all`` the packed fragments too. These are a gigabyte a year
        and camera, too much for a start to wait for.
        """
        try:
            url = make_url(self._url)
            if url.get_backend_name() == "sqlite":
                if url.database not in (None, "", ":memory:"):
                    self._path = Path(url.database)
                options = {"connect_args": {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}}
            else:
                options = self._server.options(url)
            self._make_file()
            engine = self._connect(url, options)
        except (ArgumentError, NoSuchModuleError):
            raise SettingsError(
                "DATABASE_URL cannot be used: write it as in sqlite:////srv/liveedge/index.db or"
                " postgresql+psycopg://user@host/name"
            ) from None
        except ValueError:
            # The error repeats the text in place of the port, which may be the end of a password.
            raise SettingsError(
                "DATABASE_URL cannot be used: its host or port cannot be read; special characters of user and password"
                " (@ : /) must be percent-encoded"
            ) from None
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"DATABASE_URL needs the Python package {error.name!r}, which is not installed: install it too"
                f" (for PostgreSQL: {install_extra('postgres')})"
            ) from None
        try:
            try:
                engine = self._without_wal_if_refused(engine, options)
                self._prepare(engine, check_all)
            except DatabaseError as error:
                engine.dispose()
                if self._path is None or isinstance(error, OperationalError):
                    raise
                self._salvaged_events = event_schema.read_events(self._path)
                self._salvaged_rows = salvage.read_rows(self._path)
                self._salvaged = set_aside(self._path, self._clock.wall_90k() // 90)
                self._prepare(engine, check_all)
        except SQLAlchemyError as error:
            engine.dispose()
            refusal = lock_refusal(self._path) if result_code(error) == sqlite3.SQLITE_BUSY else None
            raise SettingsError(
                refusal or f"the index cannot be opened: {_cause(error)}; see DATA_DIR and DATABASE_URL"
            ) from None
        except SettingsError:
            engine.dispose()
            raise
        self._engine = engine
        self.is_suspect = False
        self._opened, self._opened_wal = self._place(), self._place("-wal")
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)

    def _connect(self, url: URL, options: dict[str, Any], reason: str | None = None) -> Engine:
        """An engine. ``reason``: why a file has no write-ahead log."""
        engine = create_engine(url, **options)
        if engine.dialect.name != "sqlite":
            self._server.watch(engine)
            return engine
        if reason is None and self._path is not None and (kind := network_file_system(self._path.parent)) is not None:
            # A write-ahead log needs memory that all processes share (sqlite.org/wal.html), which no network has.
            reason = f"it is on a network file system ({kind})"
        if reason is None:
            event.listen(engine, "connect", prepare_with_wal)
        else:
            log.warning(
                "%s has a rollback journal, which is slower: %s; DATABASE_URL can name a local file or a PostgreSQL"
                " server",
                self._path,
                reason,
            )
            event.listen(engine, "connect", prepare_with_rollback)
        return engine

    def _without_wal_if_refused(self, engine: Engine, options: dict[str, Any]) -> Engine:
        """The engine, or one with a rollback journal where the file system has no write-ahead log."""
        if self._path is None:
            return engine
        try:
            with engine.begin() as connection:
                inspect(connection).get_table_names()
        except OperationalError as error:
            if result_code(error) not in NO_WAL:
                raise
            engine.dispose()
            other = self._connect(engine.url, options, f"its write-ahead log is refused ({_cause(error)})")
            try:
                with other.begin() as connection:
                    inspect(connection).get_table_names()
            except SQLAlchemyError:
                other.dispose()
                raise error from None
            return other
        return engine

    def _prepare(self, engine: Engine, check_all: bool) -> None:
        """Check the file and migrate. Raises SQLAlchemy's errors."""
        with engine.begin() as connection:
            tables = set(inspect(connection).get_table_names()) if self._path is not None else set()
            checked = [name for name in CHECKED if name in tables]
            for check in ["(1)"] if check_all and checked else [f"('{name}')" for name in checked]:
                if (fault := connection.exec_driver_sql(f"PRAGMA quick_check{check}").scalar()) != "ok":
                    raise DatabaseError(None, None, sqlite3.DatabaseError(fault))
            self._is_new = migrations.migrate(connection)
            rows, self._salvaged_events = self._salvaged_events, []
            event_schema.restore_events(connection, rows)
            others, self._salvaged_rows = self._salvaged_rows, {}
            salvage.restore_rows(connection, others)

    def is_in_place(self) -> bool:
        """Whether the opened file is still at its path, and begins as a database does. Costs microseconds."""
        if self._path is None or self._engine is None:
            return True
        try:
            if (self._place(), self._place("-wal")) != (self._opened, self._opened_wal):
                return False
            return self._descriptor is None or os.pread(self._descriptor, len(_MAGIC), 0) == _MAGIC
        except FileNotFoundError:
            return False
        except OSError:
            return True  # unknown; the next read or write shows it

    def _place(self, suffix: str = "") -> _Place | None:
        if self._path is None:
            return None
        try:
            status = os.stat(f"{self._path}{suffix}")
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def repair(self) -> bool:
        """Connect again, with a new file if the old one is damaged or missing.

        Returns whether it is another file than before, so that rows may be missing. Raises
        :class:`~gateway.errors.SettingsError`; then the index is closed, and this may be called again.
        """
        before = self._opened
        # Closing writes the write-ahead log into the file, even if the file has lost its name.
        self.close()
        self.open(check_all=True)
        return self._is_new or self._opened != before

    def close(self) -> None:
        """Disconnect. May be called twice."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    @contextlib.contextmanager
    def transaction(self, *, is_synced: bool = False) -> Iterator[Connection]:
        """One transaction; ``is_synced``: on the disk when it ends. Raises :class:`~gateway.errors.StorageError`."""
        if self._engine is None:
            raise StorageError("the index is not open")
        with (
            self._errors_as_ours(),
            self._engine.connect() as connection,
            synced(connection, is_synced),
            connection.begin(),
        ):
            yield connection

    @contextlib.contextmanager
    def _errors_as_ours(self) -> Iterator[None]:
        if self._path is None:
            with self._server.transaction():
                yield
            return
        try:
            yield
        except SQLAlchemyError as error:
            self.is_suspect = self.is_suspect or is_sign_of_damage(error)
            raise StorageError(f"the index failed: {_cause(error)}") from None

    def interrupt(self) -> None:
        """End a transaction that a server does not answer: it fails. Does nothing to SQLite. From any thread."""
        if self._path is None:
            self._server.interrupt()


def _cause(error: SQLAlchemyError) -> str:
    return redact(error.orig if isinstance(error, DBAPIError) and error.orig else error)
