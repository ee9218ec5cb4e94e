"""The tables of access that was given at run time, which are in the same database as the index of segments.

``access_token``: one row per bearer token that was made over the API, with its hash alone. ``signed_link``: one row per
signed URL until it expires, so that it can be listed and revoked.

Like events, these can be rebuilt from nothing else. Times are as in :mod:`hls.archive.schema`.
"""

from sqlalchemy import JSON, BigInteger, Column, Connection, MetaData, String, Table, Text

access_tables = MetaData()

access_token = Table(
    "access_token",
    access_tables,
    Column("id", String(16), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("role", String(32)),
    Column("scopes", JSON, nullable=False),
    # Null: all.
    Column("cameras", JSON),
    Column("created_90k", BigInteger, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("expires_90k", BigInteger),
    Column("last_used_90k", BigInteger),
)

signed_link = Table(
    "signed_link",
    access_tables,
    Column("id", String(16), primary_key=True),
    Column("name", String(100)),
    Column("url", Text, nullable=False),
    Column("created_90k", BigInteger, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("expires_90k", BigInteger, nullable=False),
    Column("revoked_90k", BigInteger),
)


def create_access_tables(connection: Connection) -> None:
    """Make the tables."""
    access_tables.create_all(connection)
