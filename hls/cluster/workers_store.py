"""WorkersStore: a :class:`~hls.cluster.sqlite_store.SqliteStore` that asks the file only when it has to.

Rules:

1. A renewal is answered from memory while nothing has changed since the last one that was written. At least every
   :data:`WRITTEN_S` one is written.
2. So a lease is longer than between machines. A worker that ends needs no lease to expire: the parent process ends it.
"""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select, text

from gateway.cluster.model import EXPIRY_S, Node, View
from hls.cluster import schema
from hls.cluster.changes import Change
from hls.cluster.sqlite_store import SqliteStore

WRITTEN_S = 2.0
"""Rule 1. With it, a worker that knows itself to be provisional (:data:`~gateway.cluster.model.EXPIRY_S` after it last
asked) has a lease for the others still."""


class WorkersStore(SqliteStore):
    """See the module."""

    lease_s = EXPIRY_S + WRITTEN_S

    def __init__(self, path: Path, wall_s: Callable[[], float]) -> None:
        super().__init__(path, wall_s)
        self._last: tuple[Node, View] | None = None
        self._last_number = -1
        self._written_s = float("-inf")

    @property
    def has_news(self) -> bool:
        """Whether anything may have changed since the last renewal that was written. From any thread."""
        return self.number(Change.VIEW) != self._last_number

    def renew(self, node: Node) -> View:
        """See :class:`~gateway.cluster.store.ClusterStore`, and the module."""
        now_s = self._wall_s()
        last = self._last
        if last is not None and last[0] == node and now_s - self._written_s < WRITTEN_S and not self.has_news:
            return last[1]
        table = schema.node.c
        same = table.id == node.id, table.is_draining == node.is_draining, table.expires_at > text(self.now)
        with self.transaction() as connection:
            if connection.scalar(select(table.id).where(*same)) is None:
                self.tell(connection)
            number = self.number(Change.VIEW)
            view = self.renew_in(connection, node)
        self._last, self._last_number, self._written_s = (node, view), number, now_s
        return view
