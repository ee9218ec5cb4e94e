"""The tables of events, which are in the same database as the index of segments.

``event``: one row per event. ``event_change``: the latest changes in their order, for clients that continue after a
break. ``event_log``: one row that tells this log from one of another database. ``event_key``: idempotency keys.

Times are as in :mod:`hls.archive.schema`. Unlike the rows of segments, these can be rebuilt from nothing else: they are
synced one by one (:meth:`hls.archive.database.Database.transaction`), and copied from a damaged file as far as it can
be read.
"""

import contextlib
import logging
import secrets
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
    select,
    text,
)

from gateway.clock import CLOCK_RATE

log = logging.getLogger(__name__)

event_tables = MetaData()

_Id = BigInteger().with_variant(Integer, "sqlite")

event = Table(
    "event",
    event_tables,
    Column("id", String(36), primary_key=True),
    Column("camera_id", String(64), nullable=False),
    Column("start_90k", BigInteger, nullable=False),
    Column("end_90k", BigInteger),
    Column("label", String(64), nullable=False),
    Column("source", String(64), nullable=False),
    Column("score", Float),
    Column("data", JSON, nullable=False),
    Column("is_reviewed", Boolean, nullable=False),
    Column("is_protected", Boolean, nullable=False),
    Column("created_90k", BigInteger, nullable=False),
    Column("updated_90k", BigInteger, nullable=False),
    # Open, or longer than LONG_90K: found by another index than by its start.
    Column("is_long", Boolean, nullable=False),
    # What a search by text looks at.
    Column("words", Text, nullable=False),
)

Index("event_camera_time", event.c.camera_id, event.c.start_90k, event.c.id)
Index("event_time", event.c.start_90k, event.c.id)
Index("event_label_time", event.c.label, event.c.start_90k, event.c.id)

event_change = Table(
    "event_change",
    event_tables,
    Column("number", _Id, primary_key=True),
    Column("event_id", String(36), nullable=False),
    Column("kind", String(8), nullable=False),
    # Of a deleted event: its row as it was.
    Column("deleted", JSON),
    sqlite_autoincrement=True,  # numbers are never used again
)

event_log = Table("event_log", event_tables, Column("epoch", String(16), primary_key=True))

event_key = Table(
    "event_key",
    event_tables,
    Column("number", _Id, primary_key=True),
    Column("owner", String(300), nullable=False),
    Column("key", String(255), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("event_id", String(36), nullable=False),
    Column("created_90k", BigInteger, nullable=False),
    UniqueConstraint("owner", "key", name="event_key_owner"),
    sqlite_autoincrement=True,
)

EPOCH_BYTES = 4

LONG_90K = 3600 * CLOCK_RATE
"""Longer events are few."""


def create_event_tables(connection: Connection) -> None:
    """Make the tables, with a new epoch."""
    event_tables.create_all(connection)
    _create_partial_index(connection, "event_long", "start_90k, id", "is_long")
    # SQLite's driver begins no transaction for tables, so that a crash may come between two steps.
    if connection.scalar(select(event_log.c.epoch)) is None:
        connection.execute(insert(event_log).values(epoch=secrets.token_hex(EPOCH_BYTES)))


def add_protecting_index(connection: Connection) -> None:
    """The index by which segments were compared with events, until version 7."""
    _create_partial_index(connection, "event_protecting", "camera_id, start_90k, end_90k", "is_protected")


def _create_partial_index(connection: Connection, name: str, columns: str, flag: str) -> None:
    """An index of the events with a flag. As text: the options of an ``Index`` load the dialect of PostgreSQL, 3 MB
    that an index in SQLite does not need. SQLite uses it only for the condition as a query has it."""
    true = "1" if connection.dialect.name == "sqlite" else "true"
    connection.execute(text(f"CREATE INDEX IF NOT EXISTS {name} ON event ({columns}) WHERE {flag} IS {true}"))


def read_events(damaged: Path) -> list[tuple[Any, ...]]:
    """The rows of the events in a damaged SQLite file, as far as they can be read."""
    rows: list[tuple[Any, ...]] = []
    try:
        with contextlib.closing(sqlite3.connect(f"{damaged.resolve().as_uri()}?mode=ro", uri=True)) as source:
            if source.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (event.name,)).fetchone():
                rows.extend(source.execute(f"SELECT {_NAMES} FROM event"))  # noqa: S608  (names of columns)
    except sqlite3.Error as error:
        log.warning("%s: not all events could be read: %s", damaged, error)
    return rows


def restore_events(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    """Put the rows of :func:`read_events` into a new file."""
    if rows:
        marks = ", ".join("?" * len(event.columns))
        connection.exec_driver_sql(f"INSERT OR IGNORE INTO event ({_NAMES}) VALUES ({marks})", rows)  # noqa: S608
        log.warning("%d events were saved from the damaged index", len(rows))


_NAMES = ", ".join(column.name for column in event.columns)
