"""SegmentFiles: the files of segments, wherever they are: in ``DATA_DIR``, or else in the object storage."""

import contextlib
import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from gateway.errors import NotFoundError
from hls.archive.disk_error import read_error
from hls.archive.segment import Segment
from hls.storage.block_cache import BlockCache
from hls.storage.errors import ObjectStoreError, StoreFault

STORAGE_THREADS = 16
"""For the object storage: the threads of the event loop are for what answers at once."""


class OpenFile(Protocol):
    """A file that can be read at any place. Blocking."""

    def read_at(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes at ``offset``; none at the end. Raises ``OSError`` and ``LiveedgeError``."""
        ...

    def close(self) -> None: ...


OpenAt = Callable[[Path], OpenFile]
"""Opens the file of a path. Raises ``OSError``."""


class LocalFile:
    """A file of the disk. It may be read to its end after it was deleted. Raises ``OSError``."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read_at(self, size: int, offset: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def close(self) -> None:
        os.close(self._descriptor)


class StoredFile:
    """An object of the storage."""

    def __init__(self, blocks: BlockCache, key: str) -> None:
        self._blocks = blocks
        self._key = key

    def read_at(self, size: int, offset: int) -> bytes:
        """As :class:`OpenFile`. Raises :class:`~gateway.errors.NotFoundError` if there is no such object."""
        try:
            return self._blocks.read_at(self._key, size, offset)
        except ObjectStoreError as error:
            if error.fault is StoreFault.NO_OBJECT:
                raise NotFoundError(f"the recording {Path(self._key).stem} is no longer there") from None
            raise

    def close(self) -> None:
        """Nothing is open."""


def read_all(file: OpenFile, size: int, offset: int) -> bytes:
    """``size`` bytes at ``offset``, or less at the end of the file. An object is read a block at a time."""
    data = file.read_at(size, offset)
    while len(data) < size and (more := file.read_at(size - len(data), offset + len(data))):
        data += more
    return data


def read_init(open_at: OpenAt, path: Path, segment: Segment) -> bytes:
    """A segment's init segment as it stood while the file grew. Raises ``NotFoundError`` and ``StorageError``."""
    try:
        with contextlib.closing(open_at(path)) as file:
            return segment.head + read_all(file, segment.init_size, 0)[len(segment.head) :]
    except OSError as error:
        raise read_error(path, error) from None


class SegmentFiles:
    """See the module. ``blocks`` reads the object storage; ``None``: there is none. ``prefix``: of all names there."""

    def __init__(self, data_dir: Path, blocks: BlockCache | None = None, prefix: str = "") -> None:
        self.data_dir = data_dir
        self.pictures = data_dir
        """The folder for the pictures that are made of them."""
        self.blocks = blocks
        self._prefix = prefix
        self.executor: Executor | None = None
        """The threads that read; ``None``: those of the event loop."""
        if blocks is not None:
            self.executor = ThreadPoolExecutor(STORAGE_THREADS, thread_name_prefix="archive-read")

    def close(self) -> None:
        """End the threads that wait for nothing. May be called twice."""
        if self.executor is not None:
            self.executor.shutdown(wait=False, cancel_futures=True)

    def open(self, path: Path) -> OpenFile:
        """Open the file of a segment by its path in ``DATA_DIR``. Blocking. Raises ``OSError``."""
        try:
            return LocalFile(path)
        except (FileNotFoundError, NotADirectoryError):
            if self.blocks is None:
                raise
        return StoredFile(self.blocks, self._prefix + path.relative_to(self.data_dir).as_posix())
