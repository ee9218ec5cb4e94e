"""ExportZip: the ZIP of an export, stored and with ZIP64 (APPNOTE 4.3.14). Blocking; one thread.

Rules:

1. A file is hashed while it is written. Nothing is read twice but the recordings that clips are cut from.
2. Everything is read and written in pieces; between two of them the export can be cancelled.
"""

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from gateway.clock import CLOCK_RATE

READ_BYTES = 1 << 20

FILE_MODE = 0o640


class CancelledExportError(Exception):
    """The export was deleted, or the gateway ends."""


@dataclass(frozen=True, slots=True)
class Written:
    """A file in the ZIP: ``size`` in bytes, ``sha256`` in hexadecimal."""

    size: int
    sha256: str


class ExportZip:
    """See the module. ``is_cancelled`` may be true at any time; then :class:`CancelledExportError` is raised."""

    def __init__(self, path: Path, is_cancelled: Callable[[], bool]) -> None:
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True)
        path.chmod(FILE_MODE)
        self._is_cancelled = is_cancelled

    def add(self, name: str, pieces: Iterable[bytes], at_90k: int, done: Callable[[int], None]) -> Written:
        """Add a file; ``at_90k`` is its date. ``done`` is called with the bytes of each piece. Raises ``OSError``."""
        moment = datetime.fromtimestamp(at_90k // CLOCK_RATE, UTC)
        info = zipfile.ZipInfo(name, (max(1980, moment.year), *moment.timetuple()[1:6]))
        info.external_attr = FILE_MODE << 16
        digest, size = hashlib.sha256(), 0
        with self._zip.open(info, "w", force_zip64=True) as file:
            for piece in pieces:
                if self._is_cancelled():
                    raise CancelledExportError
                file.write(piece)
                digest.update(piece)
                size += len(piece)
                done(len(piece))
        return Written(size, digest.hexdigest())

    def close(self) -> None:
        """Write the directory. Raises ``OSError``."""
        self._zip.close()


def pieces_of(file: IO[bytes]) -> Iterator[bytes]:
    """A file in pieces."""
    while data := file.read(READ_BYTES):
        yield data
