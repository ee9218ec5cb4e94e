"""RetentionJob: measures the disk every few seconds and deletes the segments that retention selects.

A round costs a sum over the index and, per camera, a query for its oldest rows. Large deletions take several rounds, so
that memory is bounded.
"""

import asyncio
import contextlib
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from gateway.clock import Clock
from gateway.errors import LiveedgeError, StorageError
from hls.archive.index import SegmentIndex
from hls.archive.recovery import remove_files
from hls.archive.retention import CameraLimits, DiskUsage, select_segments
from hls.archive.segment import Segment

log = logging.getLogger(__name__)

RETENTION_INTERVAL_S = 5.0
"""Twenty cameras of 8 Mbit/s write 100 MB in this time: a tenth of the space that is kept free by default."""

BATCH_SIZE = 64
"""Oldest segments per camera and round."""


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """Space of the disk of ``DATA_DIR``, and the wall clock at which it was measured."""

    free_bytes: int
    total_bytes: int
    measured_at_90k: int


class RetentionJob:
    """See the module. Lives on the event loop."""

    def __init__(
        self,
        data_dir: Path,
        index: SegmentIndex,
        executor: Executor,
        clock: Clock,
        limits: Callable[[], Mapping[str, CameraLimits]],
        max_bytes: int | None,
        min_free_bytes: int,
    ) -> None:
        self.deleted: Counter[str] = Counter()
        """Segments deleted, by reason."""
        self.disk_space: DiskSpace | None = None
        """The last measurement; ``None`` if the disk is gone. It becomes old while the disk hangs."""
        self.error: str | None = None
        """Why there is less free space than there should be."""
        self._data_dir = data_dir
        self._index = index
        self._executor = executor
        self._clock = clock
        self._limits = limits
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._pins: Counter[tuple[str, str]] = Counter()
        self._wanted = asyncio.Event()

    @contextlib.contextmanager
    def pin(self, segment: Segment) -> Iterator[None]:
        """Keep a segment's file while it is being read."""
        key = (segment.camera_id, segment.name)
        self._pins[key] += 1
        try:
            yield
        finally:
            self._pins[key] -= 1
            if not self._pins[key]:
                del self._pins[key]

    def wake(self) -> None:
        """Run at once, because the disk is full."""
        self._wanted.set()

    async def run(self) -> None:
        """Run until cancelled. Errors are in :attr:`error`, and the job is tried again."""
        while True:
            try:
                while await self.run_once():
                    pass
            except (LiveedgeError, OSError) as error:
                log.warning("archive: retention failed: %s", error)
                self.error = f"retention failed: {error}"
            self._wanted.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETENTION_INTERVAL_S):
                    await self._wanted.wait()

    async def run_once(self) -> int:
        """One round. Returns the number of deleted segments. Raises ``OSError`` or ``StorageError``."""
        loop = asyncio.get_running_loop()
        try:
            space = await loop.run_in_executor(self._executor, shutil.disk_usage, self._data_dir)
        except OSError:
            self.disk_space = None
            raise
        self.disk_space = DiskSpace(space.free, space.total, self._clock.wall_90k())
        cameras = await self._index.camera_usage()
        candidates = [
            [
                segment
                for segment in await self._index.oldest(camera.camera_id, BATCH_SIZE)
                if (segment.camera_id, segment.name) not in self._pins
            ]
            for camera in cameras
        ]
        used = {camera.camera_id: camera.size for camera in cameras}
        usage = DiskUsage(used, space.free, self._max_bytes, self._min_free_bytes)
        selected = select_segments(candidates, self._limits(), usage, self._clock.wall_90k())
        if not selected:
            self.error = (
                f"only {space.free} bytes are free and nothing may be deleted: make room on the disk of DATA_DIR"
                if space.free < self._min_free_bytes
                else None
            )
            return 0
        # A reader may have pinned a segment while the index was read.
        deleting = [segment for segment, _ in selected if (segment.camera_id, segment.name) not in self._pins]
        await self._index.begin_delete(deleting)
        deleted = await loop.run_in_executor(self._executor, _remove, self._data_dir, deleting)
        await self._index.end_delete(deleted)
        for segment, reason in selected:
            if segment in deleted:
                self.deleted[reason.value] += 1
                log.info(
                    "archive: camera %s: %s deleted for %s",
                    segment.camera_id,
                    segment.name,
                    reason,
                    extra={"camera": segment.camera_id},
                )
        if deleting and not deleted:
            raise StorageError("files cannot be deleted; check that DATA_DIR can be written")
        return len(deleted)


def _remove(data_dir: Path, segments: Sequence[Segment]) -> list[Segment]:
    """Unlink files; returns their segments. The others stay ``deleting``, and the next start tries again."""
    removed = []
    for segment in segments:
        path = segment.path(data_dir)
        try:
            remove_files(path)
        except OSError as error:
            log.warning("archive: %s cannot be deleted: %s", path, error.strerror)
            continue
        removed.append(segment)
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # the day's folder, if that was its last segment
    return removed
