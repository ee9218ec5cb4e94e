"""KeptWindowFiles: the live windows of :class:`~hls.live.service.LiveService` between two processes, a file for each.

Rules:

1. The files are in ``RUNTIME_DIRECTORY``, where systemd gives one: that is memory, which ``RuntimeDirectoryPreserve``
   keeps over a restart. Otherwise they are in ``DATA_DIR``, and then there is none of a camera that is never recorded:
   its video does not belong on a disk.
2. Only the owner may read them. They are deleted as soon as they are read, and not synced: they are of no use after a
   crash of the host.
3. There are at most :data:`MAX_BYTES` of them; windows beyond that are not kept.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gateway.camera_settings import RenditionName
from hls.archive.clock_file import boot_id
from hls.archive.data_dir import make_private_dir
from hls.archive.durable import replace_file

log = logging.getLogger(__name__)

FOLDER = ".hls-windows"
"""No camera has such a name."""

SUFFIX = ".window"

MAX_BYTES = 512 * 1024 * 1024
"""Twenty cameras of 8 Mbit/s with GOPs of 2 s. Written in a second, in the time that a shutdown has."""


class KeptWindowFiles:
    """See the module. Blocking. ``is_never_recorded`` takes a camera's id."""

    def __init__(self, data_dir: Path, is_never_recorded: Callable[[str], bool] = lambda _: False) -> None:
        runtime = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
        self.folder = Path(runtime or data_dir) / FOLDER
        self._is_on_disk = not runtime
        self._is_never_recorded = is_never_recorded
        self._left_bytes = 0

    def leave(self, camera_id: str, name: RenditionName, data: Sequence[bytes | memoryview]) -> None:
        """Keep a window for the next process. Raises ``OSError``; there is no file then."""
        if self._is_on_disk and self._is_never_recorded(camera_id):
            return
        size = sum(map(len, data))
        if self._left_bytes + size > MAX_BYTES:
            log.warning("camera %s: its HLS players cannot go on: the live windows are too large to be kept", camera_id)
            return
        make_private_dir(self.folder)
        descriptor, made = tempfile.mkstemp(dir=self.folder)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(f"{boot_id()}\n".encode())
                file.writelines(data)
            replace_file(Path(made), self.folder / f"{camera_id}.{name.value}{SUFFIX}", 0o600)
        except BaseException:
            os.unlink(made)
            raise
        self._left_bytes += size

    def take(self) -> Iterator[tuple[tuple[str, RenditionName], bytes]]:
        """What the process before has left, by camera and rendition, on the same boot of the host. Only once.

        Never raises for a file that cannot be read or deleted.
        """
        boot = boot_id().encode()
        try:
            paths = sorted(self.folder.iterdir())
        except OSError:
            return
        for path in paths:
            camera_id, _, name = path.name.removesuffix(SUFFIX).rpartition(".")
            try:
                data = path.read_bytes() if path.suffix == SUFFIX else b""
                path.unlink()
            except OSError as error:
                log.warning("%s cannot be read and deleted: %s", path, error.strerror)
                continue
            first, _, rest = data.partition(b"\n")
            if rest and first == boot and name in {each.value for each in RenditionName}:
                yield (camera_id, RenditionName(name)), rest
