"""Private files: replaced atomically, synced to disk, and readable by their owner only."""

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hls.archive.data_dir import FILE_MODE, make_private_dir
from hls.archive.durable import replace_file, sync_file, sync_folder


def write_private(path: Path, data: bytes) -> None:
    """Replace a file by ``data``, with mode 0600. Raises ``OSError``; the file is unchanged then."""
    make_private_dir(path.parent)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            sync_file(file.fileno())
        replace_file(Path(name), path, 0o600)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    sync_folder(path.parent)


def read_private(path: Path, max_bytes: int) -> bytes:
    """A file that only we can have written. Raises ``OSError``, and ``ValueError`` for one that must not be used."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise ValueError("it is not a file of the user that runs liveedge")
        if status.st_mode & 0o077:
            raise ValueError("others could read it; its mode must be 0600")
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError("it is too large")
    return data


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time may change a file, of those that ask. Blocking. Raises ``OSError``."""
    make_private_dir(path.parent)
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
