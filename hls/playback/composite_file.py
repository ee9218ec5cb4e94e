"""CompositeFile: a file that is sent as one, and is made of bytes in memory and ranges of files on disk."""

import contextlib
import os
from bisect import bisect_right
from collections.abc import Generator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from gateway.clock import CLOCK_RATE
from gateway.errors import NotFoundError, StorageError
from hls.archive.disk_error import read_error
from hls.archive.segment import Segment
from hls.archive.segment_files import LocalFile, OpenAt, OpenFile, SegmentFiles

READ_BYTES = 512 * 1024
"""The most bytes of a file that are in memory at a time."""


@dataclass(frozen=True, slots=True)
class Slice:
    """``size`` bytes at ``offset`` of a file."""

    path: Path
    offset: int
    size: int


class CompositeFile:
    """A file composed of ``head`` and ``slices`` of other files. ``length`` in bytes; ``etag`` in quotes, and strong.

    ``modified_s`` is when it was changed last, in Unix seconds, if that is known. ``open_at`` opens the files of
    slices. ``executor`` runs :meth:`read`; ``None``: that of the event loop, which is for disks.
    """

    def __init__(
        self,
        head: bytes,
        slices: Sequence[Slice],
        etag: str,
        duration_90k: int = 0,
        *,
        modified_s: int | None = None,
        open_at: OpenAt = LocalFile,
        executor: Executor | None = None,
    ) -> None:
        self.head = head
        self.etag = etag
        self.modified_s = modified_s
        self.executor = executor
        self._open_at = open_at
        self.duration_90k = duration_90k
        """The duration that is shown, in 90 kHz."""
        self._slices = slices
        self._starts = list(accumulate((part.size for part in slices), initial=len(head)))
        self.length = self._starts.pop()

    def read(self, start: int, end: int) -> Generator[bytes, None, None]:
        """The bytes [start, end) in pieces of about :data:`READ_BYTES`, however small the slices are. Blocking.

        Raises :class:`~gateway.errors.StorageError` if a file is missing.
        """
        joined = bytearray()
        with contextlib.closing(self._pieces(start, end)) as pieces:
            for piece in pieces:
                if not joined and len(piece) >= READ_BYTES:
                    yield piece
                    continue
                joined += piece
                if len(joined) >= READ_BYTES:
                    yield bytes(joined)
                    joined.clear()
        if joined:
            yield bytes(joined)

    def _pieces(self, start: int, end: int) -> Generator[bytes, None, None]:
        if start < len(self.head):
            yield self.head[start : min(end, len(self.head))]
            start = len(self.head)
        number = bisect_right(self._starts, start) - 1
        file: OpenFile | None = None
        path: Path | None = None
        try:
            while start < end:
                part = self._slices[number]
                within = start - self._starts[number]
                if file is None or part.path != path:
                    if file is not None:
                        file.close()
                        file = None
                    file, path = self._open_at(part.path), part.path
                data = file.read_at(min(READ_BYTES, part.size - within, end - start), part.offset + within)
                if not data:
                    raise StorageError(f"{part.path.name} is shorter than its index says")
                yield data
                start += len(data)
                number += within + len(data) == part.size
        except OSError as error:
            raise StorageError(f"{self._slices[number].path.name} cannot be read: {error.strerror}") from None
        except NotFoundError as error:
            raise StorageError(str(error)) from None
        finally:
            if file is not None:
                file.close()


def growing_file(path: Path, segment: Segment, open_at: OpenAt = LocalFile) -> CompositeFile:
    """A growing segment's file up to its last complete fragment. It stays valid when the file is closed."""
    head = len(segment.head)
    data = [Slice(path, head, segment.size - head)]
    return CompositeFile(segment.head, data, f'"{segment.name}-{segment.size}"', open_at=open_at)


def whole_file(path: Path) -> CompositeFile:
    """A file that does not change any more. Blocking. Raises :class:`~gateway.errors.NotFoundError`."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise read_error(path, error) from None
    etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    return CompositeFile(b"", [Slice(path, 0, status.st_size)], etag, modified_s=int(status.st_mtime))


def segment_file(files: SegmentFiles, segment: Segment) -> CompositeFile:
    """The file of a finished segment, from the disk or the object storage. Blocking.

    Where there is a storage, the validators are the same for both, so that a download goes on when the local copy is
    removed. Raises :class:`~gateway.errors.NotFoundError` and :class:`~gateway.errors.StorageError`.
    """
    path = segment.path(files.data_dir)
    if files.blocks is None:
        return whole_file(path)
    try:
        size = os.stat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        size = segment.size
        # Whether it is there, and the storage answers, before an answer begins.
        files.open(path).read_at(1, 0)
    except OSError as error:
        raise read_error(path, error) from None
    return CompositeFile(
        b"",
        [Slice(path, 0, size)],
        f'"{segment.name}-{size:x}-{segment.state}"',
        modified_s=segment.end_90k // CLOCK_RATE,
        open_at=files.open,
        executor=files.executor,
    )
