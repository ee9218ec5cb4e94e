"""ClusterNews: what another node has changed in the database of the cluster is known at once, by LISTEN and NOTIFY.

Rules:

1. News say only that something has changed: what, is read from the tables. So news that are lost do no harm: the next
   renewal of the lease, within a second, reads the same.
2. A connection of its own waits for them (PostgreSQL, LISTEN). Where it ends, another one is tried every
   :data:`AGAIN_S`. A pooler that gives a connection to one transaction at a time (PgBouncer) passes no news on.
"""

import asyncio
import logging
from collections.abc import Callable

from sqlalchemy.engine import URL, make_url

from hls.archive.database_server import DatabaseServer
from hls.cluster.shared import CHANNEL

log = logging.getLogger(__name__)

AGAIN_S = 2.0

DRIVER = "psycopg"
"""The only one that can wait for news on the event loop."""


class ClusterNews:
    """See the module. Lives on the event loop.

    ``on_news`` is called for each piece, with what it is about (a payload of :mod:`hls.cluster.shared`; ``""`` for what
    the nodes decide by), and with ``None``, for all of it, after each connection.
    """

    def __init__(self, url: str, on_news: Callable[[str | None], None]) -> None:
        self._url = url
        self._on_news = on_news
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen."""
        url = make_url(self._url)
        if url.get_driver_name() == DRIVER:
            self._task = asyncio.create_task(self._run(url), name="cluster-news")
        elif url.get_backend_name() == "postgresql":
            log.info("cluster: changes by other nodes are known within a second, and sooner with postgresql+psycopg:")

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, url: URL) -> None:
        import psycopg

        while True:
            try:
                await self._listen(url)
            except (psycopg.Error, OSError) as error:
                # The requests of the cluster tell the same, to people.
                log.debug("cluster: notifications of other nodes do not come at present: %s", type(error).__name__)
            await asyncio.sleep(AGAIN_S)

    async def _listen(self, url: URL) -> None:
        import psycopg

        place = url.set(drivername="postgresql").render_as_string(hide_password=False)
        options = DatabaseServer.options(url)["connect_args"]
        async with await psycopg.AsyncConnection.connect(place, autocommit=True, **options) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            self._on_news(None)
            async for news in connection.notifies():
                self._on_news(news.payload)
