"""CommandQueues: commands of one sender are executed one after the other, in the order of their arrival.

A queue exists while commands are in it. It holds up to :data:`QUEUE_MAX` commands. Further ones are refused, so that
memory stays bounded.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from gateway.errors import UnavailableError

QUEUE_MAX = 64
"""Commands of one sender that may wait. A person sends one at a time; a program with 64 open ones reads no answers."""


class _Queue:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()  # first in, first out
        self.size = 0


class CommandQueues:
    """One queue per key."""

    def __init__(self, queue_max: int = QUEUE_MAX) -> None:
        self.refused = 0
        """Commands refused because their queue was full."""
        self._queue_max = queue_max
        self._queues: dict[str, _Queue] = {}

    def __len__(self) -> int:
        return len(self._queues)

    @contextlib.asynccontextmanager
    async def turn(self, key: str, *, bounded: bool = True) -> AsyncIterator[None]:
        """Wait for the commands before this one in queue ``key``.

        Raises :class:`~gateway.errors.UnavailableError` if the queue is full, unless it is not ``bounded``.
        """
        queue = self._queues.setdefault(key, _Queue())
        if bounded and queue.size >= self._queue_max:
            self.refused += 1
            raise UnavailableError(f"{self._queue_max} commands are waiting already; wait for their answers")
        queue.size += 1
        try:
            async with queue.lock:
                yield
        finally:
            queue.size -= 1
            if not queue.size:
                del self._queues[key]
