"""PostgresStore: the :class:`~gateway.cluster.store.ClusterStore` in PostgreSQL.

Rules:

1. Each decision is one statement: what it depends on is in its conditions. A statement that waited for another sees
   what that has written to the row (PostgreSQL, §13.2.1).
2. A claim raises the epoch in the statement that takes the camera.
3. A transaction that changes what the other nodes decide by tells them so on :data:`~hls.cluster.shared.CHANNEL`
   (PostgreSQL, NOTIFY). A renewal does not: it happens every second. For what else the nodes
   share, :mod:`hls.cluster.shared` does the same.
"""

import contextlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    TextClause,
    create_engine,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from gateway.cluster.model import EXPIRY_S, REQUEST_MAX_S, KeyName, Node, Owner, View
from gateway.config.field import split_commas
from gateway.config.messages import install_extra
from gateway.errors import SettingsError, StorageError
from hls.archive.database_server import DatabaseServer
from hls.cluster import schema, shared
from hls.cluster.changes import Change

NO_POSTGRES = "CLUSTER_URL must be that of a PostgreSQL server: postgresql+psycopg://user@host/name"
AWAY = "the database of the cluster cannot be reached at present"

FORGET_S = 3600
"""A node that has been dead for so long is removed from the table."""


class PostgresStore:
    """See the module. Blocking; one thread at a time. ``now``: the clock in SQL, another in tests."""

    insert = staticmethod(insert)
    """An INSERT of the dialect."""

    lease_s: float = EXPIRY_S

    def __init__(self, url: str, now: str = "clock_timestamp()") -> None:
        self._url = url
        self.now = now
        self._engine: Engine | None = None
        self._server = DatabaseServer("CLUSTER_URL", AWAY)

    def open(self) -> None:
        """Connect and migrate. Raises :class:`~gateway.errors.SettingsError` if that fails."""
        try:
            url = make_url(self._url)
            if url.get_backend_name() != "postgresql":
                raise SettingsError(NO_POSTGRES)
            options = self._server.options(url)
            longest_ms = round(REQUEST_MAX_S * 1000)
            options.setdefault("connect_args", {})["options"] = (
                # A node that is paused in a transaction must not keep its locks. One that is slow goes on.
                f"-c statement_timeout={longest_ms} -c idle_in_transaction_session_timeout={2 * longest_ms}"
            )
            engine = create_engine(url, **options)
        except (ArgumentError, NoSuchModuleError):
            raise SettingsError(NO_POSTGRES) from None
        except ValueError:
            raise SettingsError("CLUSTER_URL cannot be used: its host or port cannot be read") from None
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"CLUSTER_URL needs the Python package {error.name!r}: {install_extra('postgres')}"
            ) from None
        self._use(engine)
        try:
            self._migrate()
        except StorageError as error:
            self.close()
            raise SettingsError(f"the cluster cannot be joined: {error}; see CLUSTER_URL") from None

    def _use(self, engine: Engine) -> None:
        self._server.watch(engine)
        self._engine = engine

    def _migrate(self) -> None:
        with self.transaction() as connection:
            schema.migrate(connection)
            ended = schema.node.c.expires_at < text(self.at(-FORGET_S))
            connection.execute(delete(schema.node).where(ended))

    def at(self, seconds: float) -> str:
        """A moment in SQL, so many seconds from now."""
        return f"{self.now} + interval '{seconds} seconds'"

    def sql(self, statement: str, **moments: float) -> TextClause:
        """A statement. ``{now}`` in it is the clock, and each name of ``moments`` that of :meth:`at`."""
        return text(statement.format(now=self.now, **{name: self.at(each) for name, each in moments.items()}))

    def close(self) -> None:
        """Disconnect. May be called twice."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def interrupt(self) -> None:
        """End a transaction that the server does not answer: it fails. From any thread."""
        self._server.interrupt()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction. Raises :class:`~gateway.errors.StorageError`."""
        if self._engine is None:
            raise StorageError("the cluster is not open")
        with self._server.transaction(), self._engine.begin() as connection:
            yield connection

    def tell(self, connection: Connection, change: Change = Change.VIEW) -> None:
        """Rule 3. Nobody waits for statuses and commands: they are read twice a second."""
        if change is Change.VIEW:
            connection.execute(text(f"NOTIFY {shared.CHANNEL}"))

    def number(self, change: Change) -> int | None:
        """Another one after each change; ``None``: read the tables to know."""
        return None

    # --- the port

    def renew(self, node: Node) -> View:
        """See :class:`~gateway.cluster.store.ClusterStore`."""
        with self.transaction() as connection:
            return self.renew_in(connection, node)

    def renew_in(self, connection: Connection, node: Node) -> View:
        """:meth:`renew`, as a part of a transaction."""
        row = {"name": node.name, "url": node.url, "sites": sorted(node.sites), "weight": node.weight}
        row |= {"is_draining": node.is_draining, "expires_at": text(self.at(self.lease_s))}
        table, kept = schema.node.c, schema.camera.c
        renewed = self.insert(schema.node).values(id=node.id, **row)
        connection.execute(renewed.on_conflict_do_update(index_elements=[table.id], set_=row))
        connection.execute(self.sql(_SEEN, old=-10), {"name": node.name})
        nodes = connection.execute(select(schema.node).where(table.expires_at > text(self.now))).all()
        # First: what is read after it may be newer, and is then read again.
        revision = connection.scalar(select(schema.version.c.revision))
        cameras = connection.execute(select(kept.id, kept.sites)).all()
        owners = connection.execute(select(schema.owner).join(schema.camera, _IS_OF_CAMERA)).all()
        return View(
            {each.id: _node(each) for each in nodes},
            {camera_id: frozenset(sites) for camera_id, sites in cameras},
            {each.camera_id: Owner(each.epoch, each.node_id, each.successor_id) for each in owners},
            revision or 0,
        )

    def claim(self, camera_id: str, node_id: str, epoch: int) -> int | None:
        """See :class:`~gateway.cluster.store.ClusterStore`."""
        values = {"camera_id": camera_id, "node_id": node_id, "epoch": epoch}
        with self.transaction() as connection:
            new: int | None = connection.scalar(self.sql(_CLAIM), values)
            if new is not None:
                self.tell(connection)
        return new

    def hand_over(self, camera_id: str, node_id: str, epoch: int, successor_id: str | None) -> bool:
        """See :class:`~gateway.cluster.store.ClusterStore`."""
        return self._change(camera_id, node_id, epoch, {"successor_id": successor_id})

    def release(self, camera_id: str, node_id: str, epoch: int) -> bool:
        """See :class:`~gateway.cluster.store.ClusterStore`."""
        return self._change(camera_id, node_id, epoch, {"epoch": epoch + 1, "node_id": None, "successor_id": None})

    def leave(self, node_id: str) -> None:
        """See :class:`~gateway.cluster.store.ClusterStore`."""
        with self.transaction() as connection:
            names = select(schema.node.c.name).where(schema.node.c.id == node_id)
            connection.execute(update(schema.member).where(schema.member.c.name.in_(names)).values(has_left=True))
            connection.execute(delete(schema.node).where(schema.node.c.id == node_id))
            self.tell(connection)

    def _change(self, camera_id: str, node_id: str, epoch: int, values: Mapping[str, Any]) -> bool:
        table = schema.owner.c
        mine = table.camera_id == camera_id, table.node_id == node_id, table.epoch == epoch
        with self.transaction() as connection:
            is_changed = connection.execute(update(schema.owner).where(*mine).values(**values)).rowcount == 1
            if is_changed:
                self.tell(connection)
        return is_changed

    # --- cameras

    def cameras(self) -> dict[str, dict[str, Any]]:
        """The table of each camera."""
        with self.transaction() as connection:
            return _cameras(connection)

    def edit_cameras(
        self, edit: Callable[[dict[str, dict[str, Any]]], dict[str, dict[str, Any]]]
    ) -> dict[str, dict[str, Any]]:
        """Make other tables of the present ones, while nobody else does. Returns them. Raises what ``edit`` raises."""
        with self.transaction() as connection:
            connection.execute(select(schema.version.c.revision).with_for_update())
            before = _cameras(connection)
            after = edit(before)
            changed = {key: table for key, table in after.items() if before.get(key) != table}
            removed = before.keys() - after.keys()
            for camera_id, table in changed.items():
                sites = split_commas(table.get("sites") or [])
                self._write_camera(connection, camera_id, sites if isinstance(sites, list) else [], table)
            if removed:
                connection.execute(delete(schema.camera).where(schema.camera.c.id.in_(removed)))
                shared.give_marks(connection, self.insert, removed, text(self.now))
            if changed or removed:
                connection.execute(CHANGED)
                self.tell(connection)
        return after

    def set_camera(self, camera_id: str, sites: Iterable[str] = (), settings: Mapping[str, Any] | None = None) -> None:
        """Add a camera, or change it."""
        with self.transaction() as connection:
            self._write_camera(connection, camera_id, sites, settings or {})
            connection.execute(CHANGED)
            self.tell(connection)

    def _write_camera(
        self, connection: Connection, camera_id: str, sites: Iterable[str], settings: Mapping[str, Any]
    ) -> None:
        values: dict[str, Any] = {"sites": sorted(sites), "settings": dict(settings)}
        changed = self.insert(schema.camera).values(id=camera_id, **values)
        connection.execute(changed.on_conflict_do_update(index_elements=[schema.camera.c.id], set_=values))

    def remove_camera(self, camera_id: str) -> None:
        """Remove a camera. Its epoch and its recordings stay. A later one of its id has another mark."""
        with self.transaction() as connection:
            connection.execute(delete(schema.camera).where(schema.camera.c.id == camera_id))
            connection.execute(CHANGED)
            shared.give_marks(connection, self.insert, [camera_id], text(self.now))
            self.tell(connection)

    # --- names

    def find_node(self, name: str) -> Node | None:
        """A process of this name that is alive."""
        table = schema.node.c
        alive = table.name == name, table.expires_at > text(self.now)
        with self.transaction() as connection:
            row = connection.execute(select(schema.node).where(*alive).order_by(table.id).limit(1)).first()
        return _node(row) if row is not None else None

    # --- keys

    def keys(self) -> dict[str, str]:
        """The random texts that all nodes share, by :class:`~gateway.cluster.model.KeyName`; makes those that lack."""
        made = [{"name": name.value, "value": secrets.token_urlsafe(32)} for name in KeyName]
        with self.transaction() as connection:
            connection.execute(self.insert(schema.key).values(made).on_conflict_do_nothing())
        with self.transaction() as connection:
            return {row.name: row.value for row in connection.execute(select(schema.key))}

    # --- drains

    def want_drain(self, node_name: str) -> bool:
        """Ask a node to drain. Returns whether a node of this name is alive."""
        table = schema.node.c
        alive = table.name == node_name, table.expires_at > text(self.now)
        with self.transaction() as connection:
            asked = connection.execute(update(schema.node).where(*alive).values(is_drain_wanted=True))
            self.tell(connection)
        return asked.rowcount > 0

    def want_rebalance(self) -> int:
        """Ask all nodes that are alive to rebalance. Returns how many there are."""
        table = schema.node.c
        with self.transaction() as connection:
            asked = update(schema.node).where(table.expires_at > text(self.now))
            count = connection.execute(asked.values(rebalances=table.rebalances + 1)).rowcount
            self.tell(connection)
        return count

    def owned_by(self, node_name: str) -> int:
        """How many cameras the processes of this name own."""
        is_of = schema.node.c.id == schema.owner.c.node_id
        owned = select(func.count()).select_from(schema.owner).join(schema.node, is_of)
        mine = owned.join(schema.camera, _IS_OF_CAMERA).where(schema.node.c.name == node_name)
        with self.transaction() as connection:
            return connection.scalar(mine) or 0


def _cameras(connection: Connection) -> dict[str, dict[str, Any]]:
    rows = connection.execute(select(schema.camera.c.id, schema.camera.c.settings))
    return {camera_id: dict(settings) for camera_id, settings in rows}


CHANGED = update(schema.version).values(revision=schema.version.c.revision + 1)

_IS_OF_CAMERA = schema.owner.c.camera_id == schema.camera.c.id

_SEEN = """
INSERT INTO cluster_member AS old (name, seen_at) VALUES (:name, {now})
ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at, has_left = false
WHERE old.has_left OR old.seen_at < {old}
"""

_CLAIM = """
WITH alive AS (
    SELECT id FROM cluster_node WHERE expires_at > {now}
)
INSERT INTO cluster_owner AS old (camera_id, epoch, node_id)
SELECT id, 1, CAST(:node_id AS text) FROM cluster_camera
WHERE id = :camera_id AND EXISTS (SELECT 1 FROM alive WHERE alive.id = :node_id)
  AND (:epoch = 0 OR EXISTS (SELECT 1 FROM cluster_owner WHERE camera_id = :camera_id))
ON CONFLICT (camera_id) DO UPDATE SET epoch = old.epoch + 1, node_id = excluded.node_id, successor_id = NULL
WHERE old.epoch = :epoch
  AND (old.successor_id = excluded.node_id OR NOT EXISTS (SELECT 1 FROM alive WHERE alive.id = old.node_id))
RETURNING epoch
"""


def _node(row: Any) -> Node:
    return Node(
        row.id,
        row.name,
        row.url,
        frozenset(row.sites),
        row.weight,
        row.is_draining,
        row.is_drain_wanted,
        row.rebalances,
    )
