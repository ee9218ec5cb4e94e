"""A wall clock that a test sets: importing this adds the seconds in a file named ``ahead`` beside the data.

Name it as an engine (``tests.support.set_clock:Engine``); the gateway then imports it in its own process, before it
reads the clock for the first time that matters. The monotonic and the boot clock stay those of the host.
"""

import time
from pathlib import Path

from tests.support.fault_injection import FaultyEngine as Engine

__all__ = ["Engine"]

_time_ns = time.time_ns


def _set_time_ns() -> int:
    try:
        ahead_s = float(Path("ahead").read_text())
    except (OSError, ValueError):
        ahead_s = 0.0
    return _time_ns() + round(ahead_s * 1e9)


time.time_ns = _set_time_ns
