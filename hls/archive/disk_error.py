"""What an error of the disk means for recording, and what helps. The names are those of errno(3).

Recording tries again by itself after each of them. A *temporary* one ends when space is free again, which retention may
do; a *permanent* one lasts until somebody repairs the disk or its mount.
"""

import errno
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gateway.errors import LiveedgeError, NotFoundError, StorageError


class DiskFault(StrEnum):
    """The kind of an error."""

    FULL = "full"
    QUOTA = "quota"
    READ_ONLY = "read_only"
    IO_ERROR = "io_error"
    NOT_PERMITTED = "not_permitted"
    GONE = "gone"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class DiskAdvice:
    """``text`` is a sentence for an administrator, without the name of the error."""

    fault: DiskFault
    text: str


_FULL = DiskAdvice(
    DiskFault.FULL,
    "the disk is full; recording goes on when there is space: delete files, lower ARCHIVE_MAX_BYTES, or raise"
    " ARCHIVE_MIN_FREE_BYTES, so that old recordings are deleted in time",
)
_QUOTA = DiskAdvice(
    DiskFault.QUOTA,
    "the disk quota is used up; recording goes on when there is room: raise the quota, or set ARCHIVE_MAX_BYTES below"
    " it, so that old recordings are deleted in time",
)
_READ_ONLY = DiskAdvice(
    DiskFault.READ_ONLY,
    "the file system is read-only; Linux makes it so after an error of the disk: look into the kernel's log (dmesg),"
    " check the disk, and mount it writable",
)
_IO_ERROR = DiskAdvice(
    DiskFault.IO_ERROR,
    "the disk fails or has lost its connection: look into the kernel's log (dmesg), check cables, network mount and"
    " SMART values, and replace the disk",
)
_NOT_PERMITTED = DiskAdvice(
    DiskFault.NOT_PERMITTED,
    "the user that liveedge runs as may not write there: change owner or mode of DATA_DIR",
)
_GONE = DiskAdvice(DiskFault.GONE, "the folder or its mount is gone: mount it again")
_OTHER = DiskAdvice(DiskFault.OTHER, "check the disk of DATA_DIR")

_BY_ERRNO = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _QUOTA,
    errno.EROFS: _READ_ONLY,
    errno.EIO: _IO_ERROR,
    errno.EREMOTEIO: _IO_ERROR,
    errno.ENXIO: _IO_ERROR,
    errno.EACCES: _NOT_PERMITTED,
    errno.EPERM: _NOT_PERMITTED,
    errno.ENOENT: _GONE,
    errno.ENOTDIR: _GONE,
    errno.ENODEV: _GONE,
    errno.ESTALE: _GONE,
    errno.ENOTCONN: _GONE,
}


def disk_advice(error: OSError) -> DiskAdvice:
    """What ``error`` means."""
    return _BY_ERRNO.get(error.errno or 0, _OTHER)


def read_error(path: Path, error: OSError) -> LiveedgeError:
    """The answer to a client whose recording cannot be read: 404 if the file is gone alone, 503 if its disk is."""
    if isinstance(error, FileNotFoundError) and path.parent.is_dir():
        return NotFoundError(f"{path.name} is no longer there")
    return StorageError(f"{path.name} cannot be read at present: {error.strerror}")
