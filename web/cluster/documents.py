"""ClusterDocuments: documents of one kind, such as walls, that all nodes of a cluster share in its database.

Rules:

1. A change is in the database before it is confirmed, and is refused with 503 while that is away.
2. Who uses them has what it read in memory, and reads them again when something has changed
   (:mod:`web.auth.shared_access`).
"""

from collections.abc import Collection
from enum import StrEnum

from sqlalchemy import Connection

from hls.cluster import shared
from hls.cluster.shared import Check
from web.auth.sign_in_table import Moment
from web.cluster.shared import ClusterShared


class DocumentKind(StrEnum):
    """What documents there are."""

    WALL = "wall"
    PUSH = "push"
    PUSH_KEY = "push-key"


class ClusterDocuments:
    """See the module. A document is JSON. Lives on the event loop. Raises ``UnavailableError``."""

    error: str | None = None
    """Why they cannot be used: of a database, each change says that itself."""

    def __init__(self, shared_: ClusterShared, kind: DocumentKind) -> None:
        self._shared = shared_
        self._kind = kind.value

    def now(self) -> dict[str, str]:
        """As :meth:`read`. Blocking. Raises ``StorageError``."""
        return self._shared.now(self._documents)

    async def read(self) -> dict[str, str]:
        """All documents by their ids, in the order in which they were made."""
        return await self._shared.call(self._documents)

    async def put(self, document_id: str, body: str, check: Check) -> bool:
        """Keep a document; whether it is new. ``check`` raises what refuses a new one; in another thread."""
        return await self._shared.call(
            lambda connection, _: shared.put_document(connection, self._kind, document_id, body, check)
        )

    async def keep(self, document_id: str, body: str) -> str:
        """Keep a document, unless there is one of this id; the one that is there then."""
        return await self._shared.call(
            lambda connection, _: shared.keep_document(connection, self._kind, document_id, body)
        )

    async def remove(self, ids: Collection[str]) -> bool:
        """Remove documents; whether any was there."""
        return await self._shared.call(lambda connection, _: shared.remove_documents(connection, self._kind, ids))

    def _documents(self, connection: Connection, _: Moment) -> dict[str, str]:
        return shared.documents(connection, self._kind)
