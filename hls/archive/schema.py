"""The index's tables, and the migration of older ones.

``segment``: one row per archive segment, from its first fragment on. ``fragment_list``: its fragments, packed (see
:func:`hls.archive.fragment.pack_fragments`), and the HLS segments that they make, a tenth of that size, for playlists.
It is a table of its own because lists and look-ups never need it. The tables of events are in
:mod:`hls.archive.event_schema`.

Rules:

1. Times are 90 kHz since the Unix epoch, UTC; durations are 90 kHz. Both are 64-bit integers.
2. (camera_id, name) is unique and determines the path of the file.
3. The version in ``schema_version`` is the number of the last migration that was applied. Migrations are only
   appended, and each runs in one transaction with its number. An index newer than the code is not changed.
"""

from collections.abc import Callable, Sequence

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
    UniqueConstraint,
    event,
    insert,
    inspect,
    select,
    text,
    update,
)

from gateway.errors import SettingsError
from hls.archive.event_schema import add_protecting_index, create_event_tables

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
    UniqueConstraint("camera_id", "name", name="segment_name"),
)

# For lists, look-ups by time and retention, in the order of their answers. It has every column that they filter by and
# add up, so that only the rows of an answer are read.
_TIME = Index(
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
# For retention, in the order of recording.
_ORDER = Index("segment_order", segment.c.camera_id, segment.c.rendition, segment.c.sequence)
Index("segment_init", segment.c.camera_id, segment.c.init_id)

fragment_list = Table(
    "fragment_list",
    tables,
    Column("segment_id", _Id, ForeignKey("segment.id", ondelete="CASCADE"), primary_key=True),
    # First, because SQLite reads all pages of a large value to get at the column after it.
    Column("packed_hls", LargeBinary, nullable=False),
    Column("packed", LargeBinary, nullable=False),
)


@event.listens_for(segment, "after_create")
def _index_unhashed(_table: Table, connection: Connection, **_: object) -> None:
    """The segments without a hash, which are always few. As text: the options of an ``Index`` load the dialect of
    PostgreSQL, 3 MB that an index in SQLite does not need."""
    if connection.dialect.name in ("sqlite", "postgresql"):
        connection.execute(text("CREATE INDEX segment_unhashed ON segment (start_90k) WHERE sha256 IS NULL"))


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
    for index in (_TIME, _ORDER):
        if "rendition" not in indexes.get(index.name, ()):
            index.drop(connection, checkfirst=True)
            index.create(connection)


MIGRATIONS: Sequence[Callable[[Connection], None]] = (
    _first_tables,
    _rename_healed,
    _add_order,
    _add_rendition,
    create_event_tables,
    add_protecting_index,
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
