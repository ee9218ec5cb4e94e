"""RetentionJob: looks at the disk every few seconds and lets go of what retention says must go.

A look costs a sum over the index and, per camera, the oldest few rows; deleting is done in rounds of these, so that
memory is bounded however much there is to delete.
"""

import asyncio
import contextlib
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path

from gateway.clock import Clock
from gateway.errors import LiveedgeError, StorageError
from hls.archive.index import SegmentIndex
from hls.archive.recovery import remove_files
from hls.archive.retention import CameraLimits, DiskUsage, select_segments
from hls.archive.segment import Segment

log = logging.getLogger(__name__)

RETENTION_INTERVAL_S = 5.0
"""Twenty cameras of 8 Mbit/s write 100 MB meanwhile: a tenth of the room that is kept free by default."""

BATCH_SIZE = 64
"""Oldest segments looked at per camera and round."""


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
        self.free_bytes: int | None = None
        self.error: str | None = None
        """Why there is less room than there should be."""
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
        """Look at once: the disk is full."""
        self._wanted.set()

    async def run(self) -> None:
        """Sweep until cancelled. What fails is told in :attr:`error` and tried again."""
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
        """One round; gives the number of segments that went. Raises ``OSError`` or ``StorageError``."""
        loop = asyncio.get_running_loop()
        usage = await loop.run_in_executor(self._executor, shutil.disk_usage, self._data_dir)
        self.free_bytes = usage.free
        totals = await self._index.camera_usage()
        candidates = [
            [
                segment
                for segment in await self._index.oldest(total.camera_id, BATCH_SIZE)
                if (segment.camera_id, segment.name) not in self._pins
            ]
            for total in totals
        ]
        used = {total.camera_id: total.size for total in totals}
        disk = DiskUsage(used, usage.free, self._max_bytes, self._min_free_bytes)
        chosen = select_segments(candidates, self._limits(), disk, self._clock.wall_90k())
        if not chosen:
            self.error = (
                f"only {usage.free} bytes are free and nothing may be deleted: make room on the disk of DATA_DIR"
                if usage.free < self._min_free_bytes
                else None
            )
            return 0
        # A reader may have come while we asked the index.
        going = [segment for segment, _ in chosen if (segment.camera_id, segment.name) not in self._pins]
        await self._index.begin_delete(going)
        gone = await loop.run_in_executor(self._executor, _remove, self._data_dir, going)
        await self._index.end_delete(gone)
        for segment, reason in chosen:
            if segment in gone:
                self.deleted[reason.value] += 1
                log.info(
                    "archive: camera %s: %s deleted for %s",
                    segment.camera_id,
                    segment.name,
                    reason,
                    extra={"camera": segment.camera_id},
                )
        if going and not gone:
            raise StorageError("files cannot be deleted; see that DATA_DIR can be written")
        return len(gone)


def _remove(data_dir: Path, segments: Sequence[Segment]) -> list[Segment]:
    """Unlink; gives those that are gone. The others stay ``deleting``, and the next start tries again."""
    gone = []
    for segment in segments:
        path = segment.path(data_dir)
        try:
            remove_files(path)
        except OSError as error:
            log.warning("archive: %s cannot be deleted: %s", path, error.strerror)
            continue
        gone.append(segment)
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # the day's folder, if that was its last segment
    return gone
