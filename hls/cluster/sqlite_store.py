"""SqliteStore: what the workers of one machine share, in a file (:mod:`web.workers`), by the statements of PostgreSQL.

Rules:

1. Each transaction has the file alone, from its begin: so no two decide at once.
2. The clock is a monotonic one, which all processes of a machine share: a host's clock that is set ends no lease.
3. Nothing in the file is needed after a crash of the machine, and so nothing waits for the disk.
"""

import re
from collections.abc import Callable, Mapping, Set
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, TextClause, create_engine, delete, event, select, update
from sqlalchemy import insert as plain_insert
from sqlalchemy.dialects.sqlite import insert

from gateway.cluster.model import REQUEST_MAX_S
from gateway.errors import StorageError
from hls.archive.database_server import DatabaseServer
from hls.cluster import schema
from hls.cluster.changes import Change, Changes
from hls.cluster.store import CHANGED, PostgresStore

AWAY = "the file that the workers share cannot be used at present"


class SqliteStore(PostgresStore):
    """See the module. ``wall_s``: the clock of rule 2, in Unix seconds."""

    insert = staticmethod(insert)  # type: ignore[assignment]

    def __init__(self, path: Path, wall_s: Callable[[], float]) -> None:
        super().__init__(str(path), "cluster_time(0)")
        self._server = DatabaseServer("WORKERS", AWAY)
        self._path = path
        self._wall_s = wall_s
        self._changes: Changes | None = None

    def open(self) -> None:
        """Open the file. Raises :class:`~gateway.errors.StorageError`."""
        engine = create_engine(f"sqlite:///{self._path}", connect_args={"timeout": REQUEST_MAX_S})
        event.listen(engine, "connect", self._connected)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        self._use(engine)
        try:
            self._changes = Changes(self._path.with_suffix(".changes"))
        except OSError as error:
            raise StorageError(f"{AWAY}: {error.strerror}") from None
        with self.transaction() as connection:
            schema.tables.create_all(connection)
            done = connection.scalar(select(schema.version.c.version))
            if done is None:
                connection.execute(plain_insert(schema.version).values(version=len(schema.MIGRATIONS)))
        if done not in (None, len(schema.MIGRATIONS)):
            self.close()
            raise StorageError("the file that the workers share is of another version of liveedge")

    def begin(self, keys: Mapping[str, str]) -> None:
        """No process is alive, and these are the keys that the next ones share. Raises ``StorageError``."""
        with self.transaction() as connection:
            for table in (schema.node, schema.command, schema.status):
                connection.execute(delete(table))
            connection.execute(update(schema.role).values(node_id=None))
            for name, value in keys.items():
                written = self.insert(schema.key).values(name=name, value=value)
                connection.execute(written.on_conflict_do_update(index_elements=["name"], set_={"value": value}))

    def tell(self, connection: Connection, change: Change = Change.VIEW) -> None:
        """See :mod:`hls.cluster.changes`."""
        if self._changes is not None:
            self._changes.add(change)

    def number(self, change: Change) -> int:
        """See :mod:`hls.cluster.changes`."""
        return self._changes.number(change) if self._changes is not None else 0

    def at(self, seconds: float) -> str:
        return f"cluster_time({seconds})"

    def sql(self, statement: str, **moments: float) -> TextClause:
        for postgres, sqlite in _DIALECT:
            statement = statement.replace(postgres, sqlite)
        statement, returning, columns = statement.partition("RETURNING ")
        # It knows no aliases there.
        statement += returning + re.sub(r"\b\w+\.", "", columns)
        return super().sql(statement, **moments)

    def cameras_changed(self) -> None:
        """Have the other workers read the cameras again. Raises ``StorageError``."""
        with self.transaction() as connection:
            connection.execute(CHANGED)
            self.tell(connection)

    def set_cameras(self, camera_ids: Set[str]) -> None:
        """These are the cameras, which are kept elsewhere. Raises ``StorageError``."""
        with self.transaction() as connection:
            known = set(connection.scalars(select(schema.camera.c.id)))
            if known == camera_ids:
                return
            connection.execute(delete(schema.camera).where(schema.camera.c.id.in_(known - camera_ids)))
            for camera_id in sorted(camera_ids - known):
                connection.execute(plain_insert(schema.camera).values(id=camera_id, sites=[], settings={}))
            connection.execute(CHANGED)
            self.tell(connection)

    def end_lease(self, node_name: str) -> None:
        """The process of this name has ended: others may take its cameras at once. Raises ``StorageError``."""
        with self.transaction() as connection:
            connection.execute(delete(schema.node).where(schema.node.c.name == node_name))
            self.tell(connection)

    def _connected(self, connection: Any, _: object) -> None:
        connection.isolation_level = None  # SQLAlchemy begins the transactions (rule 1)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.create_function("cluster_time", 1, self._time)
        for name, choose in (("greatest", max), ("least", min)):
            connection.create_function(name, -1, _of_known(choose), deterministic=True)

    def _time(self, seconds: float) -> str:
        """As SQLAlchemy writes a ``DateTime``."""
        moment = datetime.fromtimestamp(self._wall_s() + seconds, UTC)
        return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


_DIALECT = (
    # Rule 1 is the lock.
    (" FOR NO KEY UPDATE", ""),
    (" FOR UPDATE SKIP LOCKED", ""),
    ("ctid", "rowid"),
)


def _of_known(choose: Any) -> Any:
    """As in PostgreSQL: NULL is left out."""
    return lambda *values: choose((value for value in values if value is not None), default=None)
