"""The tables of a cluster, in the database of ``CLUSTER_URL``. PostgreSQL only.

``cluster_node``: one row per process, with the end of its lease. ``cluster_camera``: the cameras, and where they may be
captured. ``cluster_owner``: who captures a camera, and the epoch of that. A row of it outlives its camera, so that the
epochs of a camera that is added again go on. ``cluster_recording``: the files that all nodes recorded.
``cluster_member``: the names of all nodes there ever were, and when each was alive. ``cluster_upload``: the uploads to
the object storage that are not finished, so that another node can complete those of one that is lost.
``cluster_role``: what one node does for all, and what it keeps for the node that does it next. ``cluster_status`` and
``cluster_command``: the statuses of cameras, and commands for their owners, for the node that speaks to the EMS.
``cluster_key``: random texts that the nodes share and nobody else knows. ``cluster_sign_in``: who has signed in.
``cluster_camera_mark``: what tells a camera from an earlier one of its id. ``cluster_document``: walls and the like.
``cluster_change``: a number that each change of these three raises, and of tokens and links, which have the tables of
:mod:`hls.archive.access_schema`.

Rules:

1. Times of leases are by the clock of the database. Times of recordings are 90 kHz since the Unix epoch, UTC.
2. The version in ``cluster_version`` is the number of the last migration. Migrations are only appended.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
    func,
    insert,
    inspect,
    select,
    update,
)

from gateway.errors import SettingsError
from hls.archive.access_schema import create_access_tables

tables = MetaData()

version = Table(
    "cluster_version",
    tables,
    Column("version", Integer, nullable=False),
    # Rises with each change of a camera.
    Column("revision", BigInteger, nullable=False, server_default="0"),
)

node = Table(
    "cluster_node",
    tables,
    Column("id", String(80), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("url", String(2000), nullable=False),
    Column("sites", JSON, nullable=False),
    Column("weight", Float, nullable=False),
    Column("is_draining", Boolean, nullable=False),
    Column("is_drain_wanted", Boolean, nullable=False, server_default=false()),
    Column("rebalances", Integer, nullable=False, server_default="0"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)

camera = Table(
    "cluster_camera",
    tables,
    Column("id", String(64), primary_key=True),
    Column("sites", JSON, nullable=False),
    # The camera's table, with its credentials.
    Column("settings", JSON, nullable=False),
)

owner = Table(
    "cluster_owner",
    tables,
    Column("camera_id", String(64), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("node_id", String(80)),
    Column("successor_id", String(80)),
)

recording = Table(
    "cluster_recording",
    tables,
    Column("camera_id", String(64), primary_key=True),
    Column("rendition", String(8), primary_key=True),
    Column("node_name", String(64), primary_key=True),
    Column("name", String(40), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("start_90k", BigInteger, nullable=False),
    Column("end_90k", BigInteger, nullable=False),
    # The span that no other row has; both are NULL in a row of a former owner, which is a spare.
    Column("from_90k", BigInteger),
    Column("to_90k", BigInteger),
    Column("size", BigInteger, nullable=False),
)

Index("cluster_recording_start", recording.c.camera_id, recording.c.start_90k)
Index("cluster_recording_time", recording.c.camera_id, recording.c.rendition, recording.c.from_90k, recording.c.to_90k)

member = Table(
    "cluster_member",
    tables,
    Column("name", String(64), primary_key=True),
    # To ten seconds.
    Column("seen_at", DateTime(timezone=True), nullable=False),
    # Whether its last process ended in order.
    Column("has_left", Boolean, nullable=False, server_default=false()),
)

upload = Table(
    "cluster_upload",
    tables,
    Column("node_name", String(64), primary_key=True),
    Column("camera_id", String(64), primary_key=True),
    Column("name", String(40), primary_key=True),
    # The process that wrote the row.
    Column("node_id", String(80), nullable=False),
    Column("part_size", Integer, nullable=False),
    # NULL: it has not begun.
    Column("upload_id", Text),
    # A JSON list of [number, ETag, size].
    Column("parts", Text, nullable=False),
    Column("head", Text, nullable=False),
    # The segment and its fragments, see hls.archive.segment_record.
    Column("record", LargeBinary, nullable=False),
    # The process that completes it instead.
    Column("adopter_id", String(80)),
)

role = Table(
    "cluster_role",
    tables,
    Column("name", String(32), primary_key=True),
    Column("node_id", String(80)),
    Column("kept", LargeBinary),
)

status = Table(
    "cluster_status",
    tables,
    Column("camera_id", String(64), primary_key=True),
    Column("node_id", String(80), nullable=False),
    # JSON
    Column("status", Text, nullable=False),
)

command = Table(
    "cluster_command",
    tables,
    Column("id", String(32), primary_key=True),
    # Who executes it.
    Column("node_id", String(80), nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("is_taken", Boolean, nullable=False, server_default=false()),
    # Both are JSON.
    Column("command", Text, nullable=False),
    Column("reply", Text),
)

key = Table(
    "cluster_key",
    tables,
    Column("name", String(32), primary_key=True),
    Column("value", String(64), nullable=False),
)

change = Table("cluster_change", tables, Column("number", BigInteger, nullable=False))

sign_in = Table(
    "cluster_sign_in",
    tables,
    # The hash of its secret.
    Column("key", String(64), primary_key=True),
    # The grant, as JSON.
    Column("body", Text, nullable=False),
    Column("id_token", Text, nullable=False),
    # When it was used last, in seconds of the clock that who shares it agrees on.
    Column("used_s", Float, nullable=False, index=True),
)

camera_mark = Table(
    "cluster_camera_mark",
    tables,
    Column("camera_id", String(64), primary_key=True),
    Column("mark", String(16), nullable=False),
    Column("removed_at", DateTime(timezone=True), nullable=False),
)

document = Table(
    "cluster_document",
    tables,
    Column("kind", String(32), primary_key=True),
    Column("id", String(80), primary_key=True),
    # Documents of a kind have the order in which they were made.
    Column("position", Integer, nullable=False),
    # JSON
    Column("body", Text, nullable=False),
)

LOCK = 0x6C656467
"""Of the migration: nodes may start at the same moment (PostgreSQL, §13.3.5)."""


def _first_tables(connection: Connection) -> None:
    tables.create_all(connection)


def _members_and_uploads(connection: Connection) -> None:
    tables.create_all(connection, [member, upload])
    names = select(recording.c.node_name).distinct().union(select(node.c.name)).subquery()
    known = select(names.c.node_name, func.now(), false()).where(
        ~select(member.c.name).where(member.c.name == names.c.node_name).exists()
    )
    connection.execute(insert(member).from_select(["name", "seen_at", "has_left"], known))


def _roles(connection: Connection) -> None:
    tables.create_all(connection, [role, status, command])


def _add_keys(connection: Connection) -> None:
    key.create(connection, checkfirst=True)


def _add_shared(connection: Connection) -> None:
    tables.create_all(connection, [change, sign_in, camera_mark, document])
    if connection.scalar(select(func.count()).select_from(change)) == 0:
        connection.execute(insert(change).values(number=0))
    create_access_tables(connection)


MIGRATIONS: Sequence[Callable[[Connection], None]] = (
    _first_tables,
    _members_and_uploads,
    _roles,
    _add_keys,
    _add_shared,
)
"""The n-th migrates version n - 1 to version n."""


def migrate(connection: Connection) -> None:
    """Create or migrate the tables. Raises :class:`~gateway.errors.SettingsError` for those of a newer liveedge."""
    connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
    done = 0
    if inspect(connection).has_table(version.name):
        done = connection.scalar(select(version.c.version)) or 0
    if done > len(MIGRATIONS):
        raise SettingsError(
            f"the cluster has schema version {done}, but this liveedge knows only {len(MIGRATIONS)}: run the newer"
            " liveedge that its other nodes run"
        )
    for number, step in enumerate(MIGRATIONS[done:], start=done + 1):
        step(connection)
        connection.execute(insert(version).values(version=1) if number == 1 else update(version).values(version=number))
