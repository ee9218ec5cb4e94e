"""The index's tables. The migration of older ones is in :mod:`hls.archive.migrations`.

``segment``: one row per archive segment, from its first fragment on. ``fragment_list``: its fragments, packed (see
:func:`hls.archive.fragment.pack_fragments`), and the HLS segments that they make, a tenth of that size, for playlists.
It is a table of its own because lists and look-ups never need it. ``activity``: a byte or two for each second. The
tables of events are in :mod:`hls.archive.event_schema`, those of evidence in :mod:`hls.archive.evidence_schema`.

Rules:

1. Times are 90 kHz since the Unix epoch, UTC; durations are 90 kHz. Both are 64-bit integers.
2. (camera_id, name) is unique and determines the path of the file.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    false,
    text,
)

tables = MetaData()

# In SQLite only INTEGER PRIMARY KEY is the 64-bit row id, BIGINT is not.
_Id = BigInteger().with_variant(Integer, "sqlite")

schema_version = Table("schema_version", tables, Column("version", Integer, nullable=False))

segment = Table(
    "segment",
    tables,
    Column("id", _Id, primary_key=True),
    Column("camera_id", String(64), nullable=False),
    Column("name", String(40), nullable=False),
    Column("state", String(16), nullable=False),
    Column("start_90k", BigInteger, nullable=False),
    Column("duration_90k", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("codec", String(16), nullable=False),
    Column("codec_string", String(64), nullable=False),
    Column("audio_codec", String(16)),
    Column("audio_codec_string", String(64)),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("init_size", Integer, nullable=False),
    Column("init_id", String(32), nullable=False),
    Column("run", Integer, nullable=False),
    Column("continues", Boolean, nullable=False),
    Column("end_reason", String(32)),
    Column("frames", Integer, nullable=False),
    Column("longest_gap_90k", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("hls_segments", Integer, nullable=False),
    Column("discontinuities", BigInteger, nullable=False),
    Column("is_protected", Boolean, nullable=False),
    Column("sha256", String(64)),
    Column("metadata", JSON, nullable=False),
    Column("rendition", String(8), nullable=False, server_default="main"),
    # See hls.archive.event_cover.
    Column("event_cover", Integer, nullable=False, server_default="0"),
    # Whether hls.evidence has a record of it.
    Column("is_signed", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("camera_id", "name", name="segment_name"),
)

# For lists, look-ups by time and retention, in the order of their answers. It has every column that they filter by and
# add up, so that only the rows of an answer are read.
TIME_INDEX = Index(
    "segment_time",
    segment.c.camera_id,
    segment.c.rendition,
    segment.c.start_90k,
    segment.c.name,
    segment.c.duration_90k,
    segment.c.size,
    segment.c.state,
    segment.c.is_protected,
)
Index("segment_state", segment.c.state)
# For retention, in the order of recording, without what is kept.
RETENTION_INDEX = Index(
    "segment_retention",
    segment.c.camera_id,
    segment.c.rendition,
    segment.c.is_protected,
    segment.c.event_cover,
    segment.c.sequence,
)
ORDER_INDEX = Index("segment_order", segment.c.camera_id, segment.c.rendition, segment.c.sequence)
Index("segment_init", segment.c.camera_id, segment.c.init_id)

fragment_list = Table(
    "fragment_list",
    tables,
    Column("segment_id", _Id, ForeignKey("segment.id", ondelete="CASCADE"), primary_key=True),
    # First, because SQLite reads all pages of a large value to get at the column after it.
    Column("packed_hls", LargeBinary, nullable=False),
    Column("packed", LargeBinary, nullable=False),
)

# See hls.archive.activity. Small, and read a day at a time.
activity = Table(
    "activity",
    tables,
    Column("segment_id", _Id, ForeignKey("segment.id", ondelete="CASCADE"), primary_key=True),
    Column("levels", LargeBinary, nullable=False),
    Column("sound", LargeBinary, nullable=False),
    Column("baseline", String(400), nullable=False),
)

# See hls.archive.upload_table.
upload = Table(
    "upload",
    tables,
    Column("segment_id", _Id, ForeignKey("segment.id", ondelete="CASCADE"), primary_key=True),
    Column("part_size", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("upload_id", String(1024)),
    Column("parts", Text, nullable=False),
    Column("head", String(64), nullable=False),
    Column("is_local", Boolean, nullable=False),
)
Index("upload_state", upload.c.state, upload.c.is_local)


@event.listens_for(segment, "after_create")
def _index_unhashed(_table: Table, connection: Connection, **_: object) -> None:
    """The segments without a hash, which are always few. As text: the options of an ``Index`` load the dialect of
    PostgreSQL, 3 MB that an index in SQLite does not need."""
    if connection.dialect.name in ("sqlite", "postgresql"):
        connection.execute(text("CREATE INDEX segment_unhashed ON segment (start_90k) WHERE sha256 IS NULL"))
        create_unsigned_index(connection)


def create_unsigned_index(connection: Connection) -> None:
    """The segments that no record of evidence is of. SQLite uses it only for the condition as the query has it."""
    none = "0" if connection.dialect.name == "sqlite" else "false"
    where = f"WHERE is_signed IS {none}"
    connection.execute(text(f"CREATE INDEX IF NOT EXISTS segment_unsigned ON segment (start_90k, name) {where}"))
