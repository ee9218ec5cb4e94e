"""``DATA_DIR``: the lock in it, which keeps a second process from recording there, and whether it still is there.

A disk may be unmounted, pulled or mounted over while the gateway runs. What lies under its mount point then is no place
for recordings: they would fill the system's disk, and be hidden as soon as the right one is back. The lock file holds a
token by which the right one is known again.
"""

import contextlib
import fcntl
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import SettingsError, StorageError

LOCK_FILE = ".lock"


@dataclass(frozen=True, slots=True)
class DataDirLock:
    """What :func:`lock_data_dir` took."""

    data_dir: Path
    descriptor: int
    token: bytes


def lock_data_dir(data_dir: Path) -> DataDirLock:
    """Make ``DATA_DIR``, see that it can be written, and lock it.

    Raises :class:`~gateway.errors.SettingsError`.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data_dir / LOCK_FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise SettingsError(
            f"DATA_DIR {data_dir} cannot be written ({error.strerror}): give it to the user that runs liveedge, or set"
            " DATA_DIR to a directory that is"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise SettingsError(
            f"another liveedge records into DATA_DIR {data_dir}: stop it, or give this one a DATA_DIR of its own"
        ) from None
    token = os.pread(descriptor, 64, 0)
    if not token:
        with contextlib.suppress(OSError):  # a full disk: it is known by its device alone
            os.pwrite(descriptor, uuid.uuid4().hex.encode(), 0)
        token = os.pread(descriptor, 64, 0)
    return DataDirLock(data_dir, descriptor, token)


def unlock_data_dir(lock: DataDirLock) -> None:
    """Give up what :func:`lock_data_dir` took."""
    os.close(lock.descriptor)


def check_data_dir(lock: DataDirLock) -> None:
    """Return if ``DATA_DIR`` is the directory that was locked. Blocking; raises ``StorageError``."""
    try:
        if os.stat(lock.data_dir).st_dev == os.fstat(lock.descriptor).st_dev:
            return
        if lock.token and (lock.data_dir / LOCK_FILE).read_bytes() == lock.token:
            return
    except OSError:
        pass
    raise StorageError(
        f"the disk of DATA_DIR {lock.data_dir} has been taken away: bring it back, or restart liveedge to record into"
        " what is there now"
    )
