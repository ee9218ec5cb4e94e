"""Interrupt: makes a thread that waits inside libav return.

Theory of operation. While libav waits for a connection or for bytes, it calls PyAV's interrupt callback ten times a
second. The callback ends the wait when a clock is past the call's deadline. The first engine that runs replaces this
clock by :func:`_monotonic` (:mod:`gateway.capture.compat`). It is the machine's clock, except on a thread whose
:class:`Interrupt` is set: there every deadline has passed.

The alternatives are worse:

- libav's own ``timeout`` option ends a wait only after that much silence. An interrupt would have to wait as long, and
  a camera that sends one byte now and then would never time out.
- A timeout short enough to poll cuts RTSP messages in two, and no camera could be opened.
- A thread that is left behind keeps its connection, and cheap cameras allow only a few.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from gateway.capture.compat import set_interrupt_clock


class Interrupt:
    """Why one thread has to return: ``stop`` is set, or ``deadline`` (monotonic seconds; ``None``: never) has passed.

    The deadline is on the machine's clock, as libav's waits are.
    """

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self.deadline: float | None = None

    @property
    def is_set(self) -> bool:
        """Whether the thread has to return now."""
        return self.stop.is_set() or (self.deadline is not None and time.monotonic() >= self.deadline)


_interrupts: dict[int, Interrupt] = {}
"""By thread id."""

_beyond_any_deadline = count(10**9, 10**9)


def _monotonic() -> float:
    interrupt = _interrupts.get(threading.get_ident())
    if interrupt is None or not interrupt.is_set:
        return time.monotonic()
    # It grows with each call: PyAV may set another deadline by this same clock, which then has passed as well.
    return time.monotonic() + next(_beyond_any_deadline)


@contextmanager
def interruptible(stop: threading.Event) -> Iterator[Interrupt]:
    """Within it, calls of PyAV on this thread that have a timeout raise ``av.ExitError`` soon after ``stop`` is set.

    Raises :class:`~gateway.errors.CaptureError` where PyAV cannot be interrupted.
    """
    set_interrupt_clock(_monotonic)
    thread = threading.get_ident()
    _interrupts[thread] = interrupt = Interrupt(stop)
    try:
        yield interrupt
    finally:
        # A generator that nobody closed ends when it is collected, perhaps after its successor on this thread began.
        if _interrupts.get(thread) is interrupt:
            del _interrupts[thread]
