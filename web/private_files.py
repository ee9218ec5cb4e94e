"""Private files: replaced atomically, synced to disk, and readable by their owner only."""

import contextlib
import os
import tempfile
from pathlib import Path

from hls.archive.data_dir import make_private_dir
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
