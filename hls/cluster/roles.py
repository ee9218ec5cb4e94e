"""ClusterRoles: what one node does for all nodes, such as the connection to the event service.

Rules:

1. A role is held by one node, and as long as that is alive. It is claimed in one statement.
2. A node whose lease has expired keeps the role for :data:`MARGIN_S`: so long it may take to notice that, and to stop.
3. What is kept for the next holder is written only by the present one.
"""

from sqlalchemy import ColumnElement, select, update

from hls.cluster import schema
from hls.cluster.store import PostgresStore

MARGIN_S = 4.0


class ClusterRoles:
    """See the module. Blocking; in the thread of its store. Every method raises ``StorageError``."""

    def __init__(self, store: PostgresStore, node_id: str) -> None:
        self._store = store
        self._node_id = node_id

    def claim(self, name: str) -> str | None:
        """Hold the role if nobody alive does. Returns the holder's node id then; ``None``: nobody."""
        query = self._store.sql(_CLAIM, oldest=-MARGIN_S)
        with self._store.transaction() as connection:
            connection.execute(query, {"name": name, "me": self._node_id})
            return connection.scalar(select(schema.role.c.node_id).where(schema.role.c.name == name))

    def release(self, name: str) -> None:
        """Hold the role no more: others may claim it at once."""
        with self._store.transaction() as connection:
            connection.execute(update(schema.role).where(*self._mine(name)).values(node_id=None))

    def kept(self, name: str) -> bytes | None:
        """What the last holder kept."""
        with self._store.transaction() as connection:
            found = connection.scalar(select(schema.role.c.kept).where(schema.role.c.name == name))
        return bytes(found) if found is not None else None

    def keep(self, name: str, data: bytes) -> bool:
        """Keep something for the next holder. False, and nothing changes, where this node does not hold the role."""
        with self._store.transaction() as connection:
            return connection.execute(update(schema.role).where(*self._mine(name)).values(kept=data)).rowcount == 1

    def _mine(self, name: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        table = schema.role.c
        return table.name == name, table.node_id == self._node_id


_CLAIM = """
INSERT INTO cluster_role AS old (name, node_id)
SELECT CAST(:name AS text), CAST(:me AS text)
WHERE EXISTS (SELECT 1 FROM cluster_node WHERE id = :me AND expires_at > {now} AND NOT is_draining)
ON CONFLICT (name) DO UPDATE SET node_id = excluded.node_id
WHERE old.node_id IS NULL OR NOT EXISTS (
    SELECT 1 FROM cluster_node WHERE id = old.node_id AND expires_at > {oldest}
)
"""
