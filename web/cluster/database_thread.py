"""DatabaseThread: requests to the database of the cluster that do not wait for those of another thread.

Rules:

1. A thread has a connection of its own. Its requests run one after the other.
2. A request that is not answered in time is given up. One that has not begun by then is never made.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from gateway.cluster.model import REQUEST_MAX_S
from gateway.errors import UnavailableError

if TYPE_CHECKING:
    from hls.cluster.store import PostgresStore

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseThread:
    """See the module. Lives on the event loop, except :meth:`open`, which is blocking."""

    def __init__(self, store: "PostgresStore", name: str) -> None:
        self.store = store
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    def open(self) -> None:
        """Connect. Raises :class:`~gateway.errors.SettingsError`."""
        self.now(self.store.open)

    def now(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in the thread, and wait for it. Blocking."""
        return self._executor.submit(function, *args, **kwargs).result()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in the thread. Raises :class:`~gateway.errors.UnavailableError` by rule 2."""
        running = self._executor.submit(function, *args, **kwargs)
        answer = asyncio.wrap_future(running)
        try:
            await asyncio.wait([answer], timeout=REQUEST_MAX_S * 2)
            if not answer.done():
                if not running.cancel():
                    self.store.interrupt()
                raise UnavailableError("the database of the cluster does not answer at present", retry_after_s=5)
            return await answer
        finally:
            answer.cancel()

    def close(self) -> None:
        """Disconnect, after the requests that have begun."""
        self._executor.submit(self.store.close)
        self._executor.shutdown(wait=False)
