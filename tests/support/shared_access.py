"""What two nodes of a cluster share in PostgreSQL, as objects of one process."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager

from sqlalchemy import Float, bindparam, create_engine

from gateway.clock import Clock
from hls.archive.access_schema import access_tables
from hls.cluster import schema
from hls.cluster.store import PostgresStore
from web.auth.shared_access import SharedAccess
from web.cluster.shared import ClusterShared


@contextmanager
def cluster_shared(url: str, clock: Clock) -> Iterator[list[ClusterShared]]:
    """Those of two nodes; afterwards the tables are removed. Moments are those of ``clock``."""
    moment = bindparam("now_s", callable_=clock.monotonic, type_=Float)
    with ExitStack() as stack:
        stack.callback(drop_tables, url)
        both = [ClusterShared(PostgresStore(url), moment) for _ in range(2)]
        for each in both:
            each.thread.open()
            stack.callback(each.thread.close)
        yield both


def drop_tables(url: str) -> None:
    """Leave an empty database."""
    engine = create_engine(url)
    with engine.begin() as connection:
        schema.tables.drop_all(connection)
        access_tables.drop_all(connection)
    engine.dispose()


@asynccontextmanager
async def in_postgres(url: str, clock: Clock) -> AsyncIterator[list[SharedAccess]]:
    """The :class:`SharedAccess` of two nodes, which look only when they are told to."""
    with cluster_shared(url, clock) as both:
        yield [SharedAccess(each, clock) for each in both]
