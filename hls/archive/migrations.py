"""The migration of an older index.

Rules:

1. The version in ``schema_version`` is the number of the last migration that was applied. Migrations are only
   appended, and each runs in one transaction with its number. An index newer than the code is not changed.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, insert, inspect, select, text, update

from gateway.errors import SettingsError
from hls.archive.access_schema import create_access_tables
from hls.archive.event_cover import DEFAULT_ROLLS, fill_cover
from hls.archive.event_schema import add_protecting_index, create_event_tables
from hls.archive.evidence_schema import create_evidence_tables
from hls.archive.schema import (
    ORDER_INDEX,
    RETENTION_INDEX,
    TIME_INDEX,
    activity,
    create_unsigned_index,
    schema_version,
    segment,
    tables,
    upload,
)


def _first_tables(connection: Connection) -> None:
    tables.create_all(connection)


def _rename_healed(connection: Connection) -> None:
    connection.execute(update(segment).where(segment.c.state == "healed").values(state="truncated"))


def _add_order(_: Connection) -> None:
    """The index for retention: it has a column of the next migration, which makes it."""


def _add_rendition(connection: Connection) -> None:
    """What was recorded so far is of main streams.

    Each step looks whether it is needed. New tables need none; and SQLite's driver begins no transaction for them, so
    that a crash may come between two.
    """
    tables_now = inspect(connection)
    if all(column["name"] != "rendition" for column in tables_now.get_columns(segment.name)):
        connection.execute(text("ALTER TABLE segment ADD COLUMN rendition VARCHAR(8) DEFAULT 'main' NOT NULL"))
    indexes = {index["name"]: index["column_names"] for index in tables_now.get_indexes(segment.name)}
    for index in (TIME_INDEX, ORDER_INDEX):
        if "rendition" not in indexes.get(index.name, ()):
            index.drop(connection, checkfirst=True)
            index.create(connection)


def _add_event_cover(connection: Connection) -> None:
    """What events want of the segments, which every query compared until then."""
    tables_now = inspect(connection)
    if all(column["name"] != "event_cover" for column in tables_now.get_columns(segment.name)):
        connection.execute(text("ALTER TABLE segment ADD COLUMN event_cover INTEGER DEFAULT 0 NOT NULL"))
    RETENTION_INDEX.create(connection, checkfirst=True)
    connection.execute(text("DROP INDEX IF EXISTS event_protecting"))
    fill_cover(connection, DEFAULT_ROLLS)


def _add_activity(connection: Connection) -> None:
    """Older recordings have none, until the index is rebuilt from the files."""
    activity.create(connection, checkfirst=True)


def _add_uploads(connection: Connection) -> None:
    """What is in an object storage: nothing so far."""
    upload.create(connection, checkfirst=True)


def _add_evidence(connection: Connection) -> None:
    """What was recorded so far is signed after the start, in its order."""
    if all(column["name"] != "is_signed" for column in inspect(connection).get_columns(segment.name)):
        connection.execute(text("ALTER TABLE segment ADD COLUMN is_signed BOOLEAN DEFAULT false NOT NULL"))
    create_unsigned_index(connection)
    create_evidence_tables(connection)


MIGRATIONS: Sequence[Callable[[Connection], None]] = (
    _first_tables,
    _rename_healed,
    _add_order,
    _add_rendition,
    create_event_tables,
    add_protecting_index,
    _add_event_cover,
    _add_activity,
    _add_uploads,
    _add_evidence,
    create_access_tables,
)
"""The n-th migrates version n - 1 to version n."""


def migrate(connection: Connection) -> bool:
    """Create or migrate the tables. Returns whether they were created.

    Raises :class:`~gateway.errors.SettingsError` for the index of a newer liveedge.
    """
    version = 0
    if inspect(connection).has_table(schema_version.name):
        version = connection.scalar(select(schema_version.c.version)) or 0
    if version > len(MIGRATIONS):
        raise SettingsError(
            f"the index has schema version {version}, but this liveedge knows only {len(MIGRATIONS)}:"
            " run the newer liveedge that wrote it, or point DATA_DIR or DATABASE_URL elsewhere"
        )
    for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
        step(connection)
        if number == 1:
            connection.execute(insert(schema_version).values(version=number))
        else:
            connection.execute(update(schema_version).values(version=number))
    return version == 0
