"""ClusterShared: what all nodes of a cluster know besides its cameras, in its database.

That are tokens, signed links, sign-ins, marks of cameras, and documents such as walls. Each node has in memory what it
has read (:mod:`web.auth.shared_access`), and answers from there.

Rules:

1. A thread and a connection of its own: nothing here waits for the index, and no lease waits for what is asked here.
2. While the database is away, a request fails at once, with 503: one at a time tries whether it is back, once in
   :data:`AGAIN_S`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Float, literal_column

from gateway.errors import StorageError, UnavailableError
from hls.cluster import shared
from web.auth.access_index import NO_NEWS
from web.auth.access_table import AccessDatabase
from web.auth.sign_in_table import Moment
from web.cluster.database_thread import DatabaseThread

if TYPE_CHECKING:
    from hls.cluster.store import PostgresStore

P = ParamSpec("P")
R = TypeVar("R")

AGAIN_S = 1.0

CALLS_MAX = 256

MOMENT: Moment = literal_column("CAST(extract(epoch FROM clock_timestamp()) AS double precision)", Float)


class ClusterShared:
    """See the module. An :class:`~web.auth.shared_access.AccessStore`. Lives on the event loop, except :meth:`now`.

    ``moment``: another clock than the database's, in tests.
    """

    def __init__(self, store: "PostgresStore", moment: Moment = MOMENT) -> None:
        self.thread = DatabaseThread(store, "cluster-shared")
        self._moment = moment
        self._calls = 0
        self._error: str | None = None
        """Why the database does not answer."""
        self._again_s = 0.0

    async def call(
        self, function: Callable[Concatenate[Connection, Moment, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a function in a transaction. Raises ``UnavailableError``."""
        if self._error is not None and (self._calls or time.monotonic() < self._again_s):
            raise StorageError(self._error, retry_after_s=2)
        if self._calls >= CALLS_MAX:
            raise UnavailableError("the database of the cluster has too many requests at present", retry_after_s=2)
        self._calls += 1
        try:
            found = await self.thread.call(lambda: self._execute(lambda *first: function(*first, *args, **kwargs)))
        except UnavailableError as error:
            self._error, self._again_s = str(error), time.monotonic() + AGAIN_S
            raise
        else:
            self._error = None
            return found
        finally:
            self._calls -= 1

    def now(self, function: Callable[Concatenate[Connection, Moment, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As :meth:`call`, and wait. Blocking. Raises ``StorageError``."""
        return self.thread.now(lambda: self._execute(lambda *first: function(*first, *args, **kwargs)))

    async def close(self) -> None:
        """The cluster closes the connection, see :class:`~web.cluster.service.Cluster`."""

    def _execute(self, function: Callable[[Connection, Moment], R]) -> R:
        with self.thread.store.transaction() as connection:
            return function(connection, self._moment)


class ClusterIndex:
    """The tokens and links of all nodes: an :class:`~web.auth.access_index.AccessIndex`."""

    def __init__(self, shared_: ClusterShared) -> None:
        self._shared = shared_

    async def call(self, function: Callable[Concatenate[AccessDatabase, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See :class:`~web.auth.access_index.AccessIndex`."""
        is_change = function not in NO_NEWS

        def execute(connection: Connection, _: Moment) -> R:
            if is_change:
                shared.tell(connection)
            return function(_Within(connection), *args, **kwargs)

        return await self._shared.call(execute)


class _Within:
    """A transaction that has begun, as a database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextlib.contextmanager
    def transaction(self, *, is_synced: bool = False) -> Iterator[Connection]:
        """A commit of PostgreSQL is on its disk."""
        del is_synced
        yield self._connection
