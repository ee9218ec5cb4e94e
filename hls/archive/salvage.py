"""Rows of a damaged index that can be rebuilt from nothing else: read as far as possible, and put into a new file."""

import contextlib
import logging
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table

from hls.archive.access_schema import access_tables
from hls.archive.evidence_schema import evidence_tables

log = logging.getLogger(__name__)

SALVAGED = (*evidence_tables.sorted_tables, *access_tables.sorted_tables)
"""Events are salvaged by :mod:`hls.archive.event_schema`."""

Rows = Mapping[str, list[tuple[Any, ...]]]
"""Rows of tables, by the table's name."""


def read_rows(damaged: Path) -> Rows:
    """The rows in a damaged SQLite file, as far as they can be read."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for table in SALVAGED:
        rows = found[table.name] = []
        try:
            with contextlib.closing(sqlite3.connect(f"{damaged.resolve().as_uri()}?mode=ro", uri=True)) as source:
                if source.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table.name,)).fetchone():
                    rows.extend(source.execute(f"SELECT {_names(table)} FROM {table.name}"))  # noqa: S608
        except sqlite3.Error as error:
            log.warning("%s: not all rows of %s could be read: %s", damaged, table.name, error)
    return found


def restore_rows(connection: Connection, found: Rows) -> None:
    """Put the rows of :func:`read_rows` into a new file."""
    for table in SALVAGED:
        if rows := found.get(table.name):
            marks = ", ".join("?" * len(table.columns))
            statement = f"INSERT OR IGNORE INTO {table.name} ({_names(table)}) VALUES ({marks})"  # noqa: S608
            connection.exec_driver_sql(statement, rows)
            log.warning("%d rows of %s were saved from the damaged index", len(rows), table.name)


def _names(table: Table) -> str:
    return ", ".join(column.name for column in table.columns)
