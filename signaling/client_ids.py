"""ClientIds: which connections use a ``client_id``, and when what it requested ends. Lives on the event loop.

A client that reconnects goes on under its ``client_id``. What was requested under it ends once no connection has used
it for ``grace_s`` seconds.
"""

import asyncio
from collections import Counter
from collections.abc import Callable


class ClientIds:
    """See the module. ``on_end`` is called with an id that is not used any more.

    A connection keeps the ids that it uses in a set of its own, which the methods get as ``used``. Names are those that
    the service knows.
    """

    def __init__(self, grace_s: float, on_end: Callable[[str], None]) -> None:
        self._grace_s = grace_s
        self._on_end = on_end
        self._connections: Counter[str] = Counter()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def waiting(self) -> int:
        """Ids without a connection, whose requests end soon."""
        return len(self._timers)

    def add(self, used: set[str], name: str) -> None:
        """A connection uses an id from now on."""
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
        if name not in used:
            used.add(name)
            self._connections[name] += 1

    def remove(self, used: set[str], name: str) -> None:
        """A connection does not use an id any more: the last capture under it was stopped."""
        if name in used:
            used.discard(name)
            self._release(name)

    def end(self, used: set[str]) -> None:
        """A connection has ended."""
        for name in used:
            if self._release(name):
                loop = asyncio.get_running_loop()
                self._timers[name] = loop.call_later(self._grace_s, self._over, name)

    def close(self) -> None:
        """Nothing ends any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _release(self, name: str) -> bool:
        """Whether no connection uses it any more."""
        self._connections[name] -= 1
        if self._connections[name]:
            return False
        del self._connections[name]
        return True

    def _over(self, name: str) -> None:
        del self._timers[name]
        self._on_end(name)
