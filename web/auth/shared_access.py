"""SharedAccess: what several processes tell each other about access: the workers of a machine, or nodes of a cluster.

Where they keep it is a port, :class:`AccessStore`: a file of the workers (:mod:`web.auth.access_file`), or
the database of a cluster (:mod:`web.cluster.shared`). It has the sign-ins, and a number that grows when something was
given or has ended: a sign-in, a token, a link, a mark of a camera. Each process looks at the number every
:data:`WATCH_S`, and at once where it is told to.

Rules:

1. What a process knows goes on working while the store fails. What has ended meanwhile ends when it answers again.
2. A number that was missed, because the store failed, is made up for every :data:`RELOAD_S`.
3. The log reports at once that the store cannot be read. In the first :data:`START_S` it does not: another process may
   be making it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection

from gateway.clock import Clock
from gateway.errors import LiveedgeError
from hls.cluster import shared
from web.auth import sign_in_table
from web.auth.sign_in_table import Moment, SharedSignIn

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

WATCH_S = 0.5
"""How long an end may be unknown to another process. A look costs some 100 µs, and at a database its way there."""

RELOAD_S = 60.0

START_S = 10.0
"""How long a process waits for the first one to make the store before that is a fault. It takes some 100 ms on an idle
machine, and seconds on a busy one."""


class AccessStore(Protocol):
    """See the module. Lives on the event loop."""

    async def call(
        self, function: Callable[Concatenate[Connection, Moment, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a function in a transaction, with the moment in SQL. Raises ``UnavailableError`` if the store fails."""
        ...

    async def close(self) -> None:
        """Close it."""
        ...


class SharedAccess:
    """See the module. Lives on the event loop. Coroutines raise ``UnavailableError`` if the store fails."""

    def __init__(self, store: AccessStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._seen: int | None = None
        self.version = 0
        """Rises when a change was taken over."""
        self._reloaded_s = clock.monotonic()
        self._lock = asyncio.Lock()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._started_s = self._reloaded_s
        self._is_late = False
        """Whether the log says that changes are known late."""
        self.on_changed: list[Callable[[], Awaitable[None]]] = []
        """Called when another process, or this one, has changed something."""
        self.before_look: list[Callable[[], Awaitable[None]]] = []
        """Called before each look."""

    @property
    def is_read(self) -> bool:
        """Whether what is shared was read once."""
        return self._seen is not None

    def start(self) -> None:
        """Begin to look for changes."""
        self._task = asyncio.create_task(self._run(), name="shared-access")

    async def close(self) -> None:
        """Stop, and close the store."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        await self._store.close()

    def wake(self) -> None:
        """There may be a change: look at once."""
        self._woken.set()

    async def refresh(self) -> bool:
        """Take over what has changed; returns whether anything had that no other call of this has taken over."""
        async with self._lock:
            number = await self._store.call(_number)
            now_s = self._clock.monotonic()
            if number == self._seen and now_s - self._reloaded_s < RELOAD_S:
                return False
            for callback in self.on_changed:
                await callback()
            self._seen, self._reloaded_s = number, now_s
            self.version += 1
            return True

    async def announce(self) -> None:
        """Something was changed elsewhere, which all are to read again."""
        await self._store.call(_tell)

    async def add(self, key: str, sign_in: SharedSignIn, count_max: int, idle_s: float) -> None:
        """See :func:`web.auth.sign_in_table.add`."""
        await self._store.call(sign_in_table.add, key, sign_in, count_max, idle_s)

    async def find(self, key: str) -> SharedSignIn | None:
        """A sign-in."""
        return await self._store.call(sign_in_table.find, key)

    async def remove(self, key: str) -> SharedSignIn | None:
        """End a sign-in, at all processes; returns it."""
        return await self._store.call(sign_in_table.remove, key)

    async def missing(self, keys: Collection[str]) -> list[str]:
        """Those that are no sign-ins."""
        return await self._store.call(sign_in_table.missing, list(keys))

    async def note_uses(self, idle_s: Mapping[str, float]) -> None:
        """Keep how long ago sign-ins were used."""
        await self._store.call(sign_in_table.note_uses, dict(idle_s))

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_S):
                    await self._woken.wait()
            self._woken.clear()
            try:
                for callback in self.before_look:
                    await callback()
                await self.refresh()
            except LiveedgeError as error:
                is_starting = not self.is_read and self._clock.monotonic() - self._started_s < START_S
                if not self._is_late and not is_starting:
                    log.warning("what is given or revoked elsewhere is known late: %s", error)
                    self._is_late = True
            except Exception:
                log.exception("what is given or revoked elsewhere could not be read")
            else:
                if self._is_late:
                    log.info("what is given or revoked elsewhere is known again")
                self._is_late = False


def _number(connection: Connection, _: Moment) -> int:
    return shared.number(connection)


def _tell(connection: Connection, _: Moment) -> None:
    shared.tell(connection)
