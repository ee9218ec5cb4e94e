"""WritePool: runs the writes of all recordings in worker threads, with one hand-over for those that are due together.

Theory of operation. To hand a write to a thread and to hear of it costs more than the write. Cameras that nobody
watches are read at the same moments (:mod:`gateway.capture.batch_reads`), so fragments of several of them are
complete together. They wait in one queue until the event loop has run what is ready. Then one worker takes them, one
after another, and wakes the loop once for what it has done.

Rules:

1. Each hand-over starts one more worker, up to ``workers``. On a slow disk the queue is not empty by then, so more of
   them write at the same time.
2. A caller has one write in the queue at a time: that bounds it. Nothing is dropped.
3. Results come after :data:`RESULTS_MAX` writes, or when the worker finds no more.
4. A write that hangs holds up no other: every :data:`LOOK_S` while something is written, the results so far are taken,
   and another worker starts if writes still wait.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

RESULTS_MAX = 8
"""How many writes may wait for others before their callers hear of them."""

LOOK_S = 0.1
"""Longer than a healthy disk takes for all that is due together."""

A = TypeVar("A")
T = TypeVar("T")


class _Write:
    """A call of ``function``, and what became of it."""

    __slots__ = ("_argument", "_error", "_function", "_future", "_result")

    def __init__(self, function: Callable[[Any], Any], argument: Any, future: "asyncio.Future[Any]") -> None:
        self._function = function
        self._argument = argument
        self._future = future
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """In a worker thread."""
        try:
            self._result = self._function(self._argument)
        except BaseException as error:
            self._error = error

    def tell(self) -> None:
        """On the event loop."""
        if self._future.done():
            return
        if self._error is not None:
            self._future.set_exception(self._error)
        else:
            self._future.set_result(self._result)


class WritePool:
    """See the module. Lives on the event loop; at most ``workers`` threads of ``executor`` are in use."""

    def __init__(self, executor: Executor, workers: int) -> None:
        self._executor = executor
        self._idle = self._workers = workers
        self._waiting: deque[_Write] = deque()
        self._done: deque[_Write] = deque()
        """What was written, and whose callers do not know it yet."""
        self._is_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        """Of rule 4."""

    async def run(self, function: Callable[[A], T], argument: A) -> T:
        """``function(argument)`` in a worker thread. Returns or raises what it does.

        Where the caller is cancelled, the write is still made.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Write(function, argument, future))
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._hand_over, loop)
        return await future

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_scheduled = False
        if self._idle and self._waiting:
            self._executor.submit(self._work, loop)
            self._idle -= 1
        if self._timer is None and self._idle < self._workers:
            self._timer = loop.call_later(LOOK_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Rule 4."""
        self._timer = None
        self._tell()
        self._hand_over(loop)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a worker thread."""
        count = 0
        while True:
            try:
                write = self._waiting.popleft()
            except IndexError:
                break
            write.run()
            self._done.append(write)
            count += 1
            if count % RESULTS_MAX == 0:
                self._call(loop, self._tell)
        self._call(loop, self._finish, loop)

    def _call(self, loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *arguments: Any) -> None:
        try:
            loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            return

    def _finish(self, loop: asyncio.AbstractEventLoop) -> None:
        self._idle += 1
        self._tell()
        # One that came when the worker had found no more, while no other was idle.
        self._hand_over(loop)

    def _tell(self) -> None:
        while self._done:
            self._done.popleft().tell()
