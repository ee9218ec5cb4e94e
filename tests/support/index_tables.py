"""The tables of the index in a database that tests share."""

from hls.archive import schema
from hls.archive.access_schema import access_tables
from hls.archive.database import Database
from hls.archive.event_schema import event_tables
from hls.archive.evidence_schema import evidence_tables


def drop_tables(database: Database) -> None:
    """Remove all tables: the next test makes them again."""
    with database.transaction() as connection:
        schema.tables.drop_all(connection)
        event_tables.drop_all(connection)
        evidence_tables.drop_all(connection)
        access_tables.drop_all(connection)
