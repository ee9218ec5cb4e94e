"""Put files on the disk, on every file system: sync them and their names, and replace them.

Rules:

1. A file system that has no sync of files says so: EINVAL by fsync(2), ENOSYS and EOPNOTSUPP of FUSE, 9p and CIFS. That
   is no fault: it keeps data as it does. Every other error means that data may be lost, and is raised; so does EROFS,
   which ext4 answers once it has given up.
2. A folder is synced as far as possible, and no error of that is raised: many network file systems answer one, sync
   names with their files, or do not let a folder be opened. Where the disk is broken, the files show it.
3. Where a file cannot be replaced by another name, it is overwritten.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

_HAS_NO_SYNC = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY})

_CANNOT_REPLACE = frozenset(
    {errno.EPERM, errno.EACCES, errno.EEXIST, errno.EBUSY, errno.EXDEV, errno.EINVAL, errno.ENOSYS}
    | {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ETXTBSY}
)
"""An object store behind FUSE has no rename; CIFS refuses it for a file that somebody has open."""


def sync_data(descriptor: int) -> None:
    """``fdatasync`` by rule 1. Raises ``OSError``."""
    with _ignoring(_HAS_NO_SYNC):
        os.fdatasync(descriptor)


def sync_file(descriptor: int) -> None:
    """``fsync`` by rule 1. Raises ``OSError``."""
    with _ignoring(_HAS_NO_SYNC):
        os.fsync(descriptor)


def sync_folder(path: Path) -> None:
    """Sync the names in a folder by rule 2. Never raises."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_file(new: Path, path: Path, mode: int) -> None:
    """Let ``new`` take the place of ``path``, or its content by rule 3, with this mode. Raises ``OSError``."""
    try:
        os.replace(new, path)
        return
    except OSError as error:
        if error.errno not in _CANNOT_REPLACE:
            raise
    data = new.read_bytes()
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(data)
        file.flush()
        sync_file(file.fileno())
    with contextlib.suppress(OSError):
        new.unlink()


@contextlib.contextmanager
def _ignoring(codes: frozenset[int]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in codes:
            raise
