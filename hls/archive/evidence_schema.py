"""The tables of evidence, which are in the same database as the index of segments.

``evidence_record``: one row per signed segment; it outlives the segment. ``evidence_key``: every public key that signed
one. ``export_job``: the exports that were asked for.

Like events, and unlike the rows of segments, these can be rebuilt from nothing else: they are copied from a damaged
file as far as it can be read. Times are as in :mod:`hls.archive.schema`.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

evidence_tables = MetaData()

_Id = BigInteger().with_variant(Integer, "sqlite")

record = Table(
    "evidence_record",
    evidence_tables,
    Column("id", _Id, primary_key=True),
    Column("camera_id", String(64), nullable=False),
    Column("rendition", String(8), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("segment", String(40), nullable=False),
    Column("start_90k", BigInteger, nullable=False),
    Column("end_90k", BigInteger, nullable=False),
    Column("sha256", String(64)),
    Column("key_id", String(16), nullable=False),
    # The bytes that were signed, and the signature in Base64.
    Column("statement", Text, nullable=False),
    Column("signature", String(88), nullable=False),
    # The same of the deletion by retention.
    Column("deletion", Text),
    Column("deletion_signature", String(88)),
    UniqueConstraint("camera_id", "rendition", "number", name="evidence_record_number"),
)

Index("evidence_record_time", record.c.camera_id, record.c.rendition, record.c.start_90k)
Index("evidence_record_segment", record.c.camera_id, record.c.segment)
Index("evidence_record_sha256", record.c.sha256)

key = Table(
    "evidence_key",
    evidence_tables,
    Column("key_id", String(16), primary_key=True),
    Column("public_key", String(64), nullable=False),
    Column("created_90k", BigInteger, nullable=False),
)

export_job = Table(
    "export_job",
    evidence_tables,
    Column("id", String(36), primary_key=True),
    Column("created_90k", BigInteger, nullable=False),
    Column("expires_90k", BigInteger),
    Column("state", String(16), nullable=False),
    # Who asked for it, and for what.
    Column("owner", String(300), nullable=False),
    Column("request", JSON, nullable=False),
    # Of a finished one: size, hash and name of its file; of a failed one: code and message.
    Column("result", JSON, nullable=False),
)


def create_evidence_tables(connection: Connection) -> None:
    """Make the tables."""
    evidence_tables.create_all(connection)
