"""``DATA_DIR`` and the lock in it, which keeps a second process from recording there."""

import fcntl
import os
from pathlib import Path

from gateway.errors import SettingsError


def take_data_dir(data_dir: Path) -> int:
    """Make ``DATA_DIR``, see that it can be written, and lock it; gives the lock's descriptor.

    Raises :class:`~gateway.errors.SettingsError`.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data_dir / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
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
    return descriptor


def release_data_dir(lock: int) -> None:
    """Give up what :func:`take_data_dir` took."""
    os.close(lock)
