"""How a thread that is blocked inside libav is told to come back.

Theory of operation. While libav waits, for a name server's neighbour, a connection or a byte, it asks an interrupt
callback ten times a second whether to go on. PyAV's callback compares ``time.monotonic()``, looked up in its own
module and on the blocked thread, with the deadline of the call, and has no other input. So the clock is what an
interrupt can move: in place of the ``time`` module, PyAV's module gets :class:`_Time`, which is the machine's clock
for every thread but those that were told to stop; for these, every deadline has passed.

The alternatives are worse: waits short enough to be polled cut RTSP messages in two and cannot open anything, and a
thread that is left behind keeps the camera's connection, of which cheap cameras have but few."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import av.container.core


class Interrupt:
    """What holds a thread back from waiting on. ``deadline`` is on the monotonic clock, in seconds; ``None`` is
    never."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self.deadline: float | None = None

    @property
    def is_set(self) -> bool:
        """Whether the thread is to come back now."""
        return self.stop.is_set() or (self.deadline is not None and time.monotonic() >= self.deadline)


_reins: dict[int, Interrupt] = {}
_beyond_any_deadline = count(10**9, 10**9)


class _Time:
    """What PyAV's interrupt callback takes for the ``time`` module."""

    @staticmethod
    def monotonic() -> float:
        reins = _reins.get(threading.get_ident())
        if reins is None or not reins.is_set:
            return time.monotonic()
        # Later with each call: a deadline that PyAV sets after this has passed as well.
        return time.monotonic() + next(_beyond_any_deadline)


av.container.core.time = _Time  # type: ignore[attr-defined]


@contextmanager
def interruptible(stop: threading.Event) -> Iterator[Interrupt]:
    """While inside, this thread's calls of PyAV that have a timeout raise ``av.ExitError`` soon after ``stop`` is
    set."""
    thread = threading.get_ident()
    _reins[thread] = reins = Interrupt(stop)
    try:
        yield reins
    finally:
        # A generator that was never closed is ended whenever it is collected, perhaps long after its successor began.
        if _reins.get(thread) is reins:
            del _reins[thread]
