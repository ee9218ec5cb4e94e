"""BatchReads: reads the connections of all cameras that nobody watches at the same moments, by one timer.

Rules:

1. A connection that is added is read once, at the next multiple of :data:`BATCH_S`.
2. While another connection is read at once, because somebody watches its camera (:attr:`BatchReads.prompt_at`), the
   event loop gets a turn every :data:`TURN_S`. What comes for viewers does not wait until all cameras are read: that
   takes 7 ms for twenty. Otherwise all are read in one turn, so that their fragments are written together
   (:mod:`hls.archive.write_pool`).
3. An error of one connection does not affect the others.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from weakref import WeakKeyDictionary

BATCH_S = 0.0927
"""How often a connection is read that is read in batches, in seconds. No multiple of it is a multiple of a usual frame
duration: the newest frame of a batch has then waited for another time in each batch, now and then hardly at all, and
:mod:`gateway.capture.timeline` finds the capture time by such frames."""

TURN_S = 0.001
"""Rule 2, in seconds: three or four cameras."""

PROMPT_S = 1.0
"""For so long after a connection was read at once, in seconds, others may be."""

_BATCHES: "WeakKeyDictionary[asyncio.AbstractEventLoop, BatchReads]" = WeakKeyDictionary()


def batch_reads() -> "BatchReads":
    """The batches of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _BATCHES.get(loop)
    if found is None:
        found = _BATCHES[loop] = BatchReads(time.monotonic)
    return found


class BatchReads:
    """See the module. ``now`` is the clock of the event loop (:meth:`asyncio.loop.time`), in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.prompt_at = float("-inf")
        """When a connection was last read at once, because its camera is watched."""
        self._now = now
        self._next: dict[Callable[[], None], None] = {}
        """What is to be read at the next moment, in order."""
        self._due: deque[Callable[[], None]] = deque()
        """What is read now."""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, read: Callable[[], None]) -> None:
        """Call ``read`` at the next moment."""
        self._next[read] = None
        if self._timer is None and not self._due:
            self._schedule()

    def discard(self, read: Callable[[], None]) -> None:
        """Do not call ``read`` any more."""
        self._next.pop(read, None)
        if read in self._due:
            self._due.remove(read)
        if self._timer is not None and not self._next:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        at = (self._now() // BATCH_S + 1) * BATCH_S
        self._timer = asyncio.get_running_loop().call_at(at, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._due.extend(self._next)
        self._next.clear()
        self._run()

    def _run(self) -> None:
        began = self._now()
        until = began + TURN_S if began - self.prompt_at < PROMPT_S else float("inf")
        while self._due:
            read = self._due.popleft()
            try:
                read()
            except Exception as error:
                context = {"message": "a connection could not be read", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
            if self._due and self._now() >= until:
                asyncio.get_running_loop().call_soon(self._run)
                return
        if self._next and self._timer is None:
            self._schedule()
