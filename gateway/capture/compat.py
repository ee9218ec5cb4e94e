"""The private names of PyAV that the capture engines rely on. No other module of ``gateway.capture`` uses any.

PyAV 18's interrupt callback (``interrupt_cb`` in ``av/container/core.py``) ends a wait of libav once
``time.monotonic()`` is past the deadline that ``av.open(timeout=…)`` set. It looks ``time`` up in the globals of its
module, at each call and on the thread that waits, and it has no other input.
"""

import threading
import time
from collections.abc import Callable

import av
import av.container.core

from gateway.errors import CaptureError

_lock = threading.Lock()


class _Time:
    """Stands in for the ``time`` module inside ``av.container.core``, which uses nothing but ``monotonic``."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.monotonic = monotonic


def set_interrupt_clock(monotonic: Callable[[], float]) -> None:
    """Make PyAV's interrupt callback read ``monotonic`` instead of ``time.monotonic``. Twice is fine; any thread.

    Raises :class:`~gateway.errors.CaptureError` where PyAV does not work as described above.
    """
    with _lock:
        present = getattr(av.container.core, "time", None)
        if isinstance(present, _Time):
            present.monotonic = monotonic
        elif present is time:
            av.container.core.time = _Time(monotonic)  # type: ignore[attr-defined]
        else:
            raise CaptureError(
                f"PyAV {av.__version__} has no av.container.core.time, so a capture could not be interrupted; install"
                " a version that liveedge supports"
            )
