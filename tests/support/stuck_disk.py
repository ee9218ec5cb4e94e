"""A disk that hangs while a file named ``stuck`` is beside the data: importing this replaces ``os.fdatasync``.

Name it as an engine (``tests.support.stuck_disk:Engine``); the gateway then imports it in its own process.
"""

import os
import time
from pathlib import Path
from typing import Any

from tests.support.fault_injection import FaultyEngine as Engine

__all__ = ["Engine"]

_fdatasync = os.fdatasync


def _hang(descriptor: Any) -> None:
    while Path("stuck").exists():
        time.sleep(0.1)
    _fdatasync(descriptor)


os.fdatasync = _hang  # type: ignore[assignment]
