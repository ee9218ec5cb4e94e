"""Changes: counters in memory that all workers of a machine share, so that each knows what has changed for nothing.

Rules:

1. A counter is raised inside the transaction that makes the change, which has the file of the workers alone. So none is
   lost, and who reads the tables after it saw a new number waits for that transaction.
2. A number that has changed is a hint: the change may have been rolled back.
"""

import mmap
import os
import struct
from enum import IntEnum
from pathlib import Path

_NUMBER = struct.Struct("=Q")


class Change(IntEnum):
    """What a counter is of."""

    VIEW = 0
    """Nodes, cameras, owners."""
    STATUSES = 1
    COMMANDS = 2


class Changes:
    """See the module. ``path`` is a file of the workers. Raises ``OSError``."""

    def __init__(self, path: Path) -> None:
        size = _NUMBER.size * len(Change)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size < size:
                os.ftruncate(descriptor, size)
            self._numbers = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)

    def number(self, change: Change) -> int:
        """Another one after each change. From any thread."""
        found: int = _NUMBER.unpack_from(self._numbers, change * _NUMBER.size)[0]
        return found

    def add(self, change: Change) -> None:
        """Something changes in this transaction (rule 1)."""
        _NUMBER.pack_into(self._numbers, change * _NUMBER.size, (self.number(change) + 1) % 2**64)
