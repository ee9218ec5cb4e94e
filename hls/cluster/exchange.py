"""ClusterExchange: statuses of cameras and commands, from node to node through the database.

Rules:

1. A status counts while the node that wrote it is alive and owns the camera.
2. A command is executed once, by the node that it is for, within :data:`COMMAND_S`. What nobody has taken by then is
   not executed any more.
"""

import uuid
from collections.abc import Mapping

from sqlalchemy import delete, select, text, update

from hls.cluster import schema
from hls.cluster.changes import Change
from hls.cluster.store import PostgresStore

COMMAND_S = 5.0

_KEPT_S = 60


class ClusterExchange:
    """See the module. Blocking; in the thread of its store. Every method raises ``StorageError``."""

    def __init__(self, store: PostgresStore, node_id: str) -> None:
        self._store = store
        self._node_id = node_id

    def numbers(self, *changes: Change) -> list[int] | None:
        """Others after each of these changes; ``None``: read to know."""
        numbers = [self._store.number(change) for change in changes]
        return None if None in numbers else numbers  # type: ignore[return-value]

    def tell(self, statuses: Mapping[str, str]) -> None:
        """Write statuses of cameras that this node owns."""
        with self._store.transaction() as connection:
            for camera_id in sorted(statuses):
                values = {"node_id": self._node_id, "status": statuses[camera_id]}
                written = self._store.insert(schema.status).values(camera_id=camera_id, **values)
                connection.execute(written.on_conflict_do_update(index_elements=["camera_id"], set_=values))
            self._store.tell(connection, Change.STATUSES)

    def statuses(self) -> dict[str, str]:
        """The statuses of the cameras that other nodes own."""
        query = self._store.sql(_STATUSES)
        with self._store.transaction() as connection:
            return {row.camera_id: row.status for row in connection.execute(query, {"me": self._node_id})}

    def ask(self, node_id: str, command: str) -> str:
        """Have a node execute a command. Returns the number for :meth:`reply_of`."""
        number = uuid.uuid4().hex
        table = schema.command.c
        old = table.asked_at < text(self._store.at(-_KEPT_S))
        asked = self._store.insert(schema.command).values(
            id=number, node_id=node_id, command=command, asked_at=text(self._store.now)
        )
        with self._store.transaction() as connection:
            connection.execute(delete(schema.command).where(old))
            connection.execute(asked)
            self._store.tell(connection, Change.COMMANDS)
        return number

    def asked(self) -> dict[str, str]:
        """Take the commands for this node, by their numbers."""
        query = self._store.sql(_ASKED, oldest=-COMMAND_S)
        with self._store.transaction() as connection:
            return {row.id: row.command for row in connection.execute(query, {"me": self._node_id})}

    def reply(self, number: str, reply: str) -> None:
        """Answer a command."""
        with self._store.transaction() as connection:
            connection.execute(update(schema.command).where(schema.command.c.id == number).values(reply=reply))

    def reply_of(self, number: str) -> str | None:
        """The answer of a command; ``None``: not yet."""
        with self._store.transaction() as connection:
            found: str | None = connection.scalar(select(schema.command.c.reply).where(schema.command.c.id == number))
            if found is not None:
                connection.execute(delete(schema.command).where(schema.command.c.id == number))
        return found

    def give_up(self, number: str) -> None:
        """Nobody waits for the answer of a command any more."""
        with self._store.transaction() as connection:
            connection.execute(delete(schema.command).where(schema.command.c.id == number))


_STATUSES = """
SELECT s.camera_id, s.status FROM cluster_status AS s
JOIN cluster_owner AS o ON o.camera_id = s.camera_id AND o.node_id = s.node_id
JOIN cluster_node AS n ON n.id = s.node_id AND n.expires_at > {now}
WHERE s.node_id <> :me
"""

_ASKED = """
UPDATE cluster_command SET is_taken = true
WHERE node_id = :me AND NOT is_taken AND asked_at > {oldest}
RETURNING id, command
"""
