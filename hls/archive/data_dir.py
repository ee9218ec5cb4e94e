"""``DATA_DIR``: lock it against a second process, and detect that its disk is missing.

A disk may be unmounted, unplugged or mounted over while the gateway runs. Recordings must not go to the directory that
is then at the mount point: they would fill the system's disk, and be hidden when the right disk is back. A token in the
lock file identifies the right disk.
"""

import contextlib
import errno
import fcntl
import os
import re
import stat
import uuid
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import SettingsError, StorageError

LOCK_FILE = ".lock"

INDEX_PREFIX = "index.sqlite3"
"""Of the index, its journal and its copies."""

DIR_MODE = 0o750
"""Recordings are for the user that runs liveedge, and for its group (a backup, a file server)."""

FILE_MODE = 0o640

INTERRUPTED_MAX = 10
"""Some file systems end a lock that has to ask a server with EINTR, again and again, though no signal came."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class DataDirLock:
    """The lock of :func:`lock_data_dir`."""

    data_dir: Path
    descriptor: int
    token: bytes


def lock_data_dir(data_dir: Path) -> DataDirLock:
    """Create ``DATA_DIR``, check that it can be written, and lock it.

    Raises :class:`~gateway.errors.SettingsError`.
    """
    try:
        make_private_dir(data_dir)
        descriptor = os.open(data_dir / LOCK_FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise SettingsError(
            f"DATA_DIR {data_dir} cannot be written ({error.strerror}): give it to the user that runs liveedge, or set"
            " DATA_DIR to a directory that is"
        ) from None
    try:
        _lock(descriptor)
    except OSError as error:
        os.close(descriptor)
        raise SettingsError(_lock_message(data_dir, error)) from None
    token = os.pread(descriptor, 64, 0)
    if not token:
        with contextlib.suppress(OSError):  # a full disk: only its device identifies it
            os.pwrite(descriptor, uuid.uuid4().hex.encode(), 0)
        token = os.pread(descriptor, 64, 0)
    return DataDirLock(data_dir, descriptor, token)


def _lock(descriptor: int) -> None:
    for left in range(INTERRUPTED_MAX, -1, -1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except InterruptedError:
            if not left:
                raise
        else:
            return


def _lock_message(data_dir: Path, error: OSError) -> str:
    """Why the lock was refused, and what to do: only EWOULDBLOCK means another process (flock(2))."""
    if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
        return f"another liveedge records into DATA_DIR {data_dir}: stop it, or give this one a DATA_DIR of its own"
    code = errno.errorcode.get(error.errno or 0, "unknown error")
    what = f"DATA_DIR {data_dir} cannot be locked: {error.strerror} ({code})"
    if error.errno == errno.ENOLCK:
        return (
            f"{what}: the file server has no lock service; start it (NFS 3: rpc.statd and lockd), or mount with nolock"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{what}: the file server, SELinux or AppArmor does not let this user lock files there; permit it"
    if error.errno in (errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
        return f"{what}: this file system has no locks; mount it with them, or set DATA_DIR to a local disk"
    return f"{what}: check the file system, or set DATA_DIR to another one"


def unlock_data_dir(lock: DataDirLock) -> None:
    """Release the lock."""
    os.close(lock.descriptor)


def check_data_dir(lock: DataDirLock) -> None:
    """Raise ``StorageError`` unless ``DATA_DIR`` is the directory that was locked. Blocking."""
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


# --- modes


def make_private_dir(path: Path) -> None:
    """Make a directory, and those above it that are missing, with :data:`DIR_MODE`, and less if the umask says so."""
    if path.is_dir():
        return
    make_private_dir(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=DIR_MODE)


def write_private_text(path: Path, text: str) -> None:
    """Write a file that other users cannot read. Raises ``OSError``."""
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, FILE_MODE)) as file:
        file.write(text)


def close_to_others(data_dir: Path) -> None:
    """Take from other users what an earlier version let them read: the index and the recordings. Blocking.

    Files of another user, and files with names that liveedge does not give, are skipped. Files in a day's folder are
    checked only if the folder was open, so that later starts cost nothing.
    """
    for entry in _entries(data_dir):
        if not entry.is_dir(follow_symlinks=False):
            if entry.name.startswith((INDEX_PREFIX, LOCK_FILE)):
                _close(entry)
            continue
        days = [day for day in _entries(entry) if _DAY.fullmatch(day.name) and day.is_dir(follow_symlinks=False)]
        if not days:
            continue
        _close(entry)
        for day in days:
            if _close(day):
                for file in _entries(day):
                    _close(file)


def _entries(path: str | os.PathLike[str]) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(path) as found:
            return list(found)
    except OSError:
        return []


def _close(entry: "os.DirEntry[str]") -> bool:
    """Take the rights of others; returns whether there were any."""
    try:
        status = entry.stat(follow_symlinks=False)
        if status.st_uid != os.geteuid() or stat.S_ISLNK(status.st_mode) or not status.st_mode & stat.S_IRWXO:
            return False
        os.chmod(entry.path, stat.S_IMODE(status.st_mode) & ~stat.S_IRWXO)
    except OSError:
        return False
    return True
