"""LocalCopies: removes the files in ``DATA_DIR`` of segments that the object storage has.

Rules:

1. A file is removed only when its segment is uploaded, by rule 4 of :mod:`hls.archive.uploader`, and its SHA-256 known.
2. It stays for ``ARCHIVE_LOCAL_KEEP`` after its end, by a clock that can be trusted (:mod:`hls.archive.clock_guard`).
3. Where the disk has less than ``ARCHIVE_MIN_FREE_BYTES``, the oldest are removed before that.
4. Only then, and only of what is not uploaded, recordings are deleted for space, the oldest first: a storage that is
   away for long fills the disk, and what is in the storage makes no room.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

from gateway.clock import seconds_90k
from gateway.errors import LiveedgeError
from hls.archive import upload_table
from hls.archive.index import SegmentIndex
from hls.archive.segment import Segment

log = logging.getLogger(__name__)

INTERVAL_S = 10.0

BATCH_SIZE = 64
"""Files removed in one round."""


class LocalCopies:
    """See the module. Lives on the event loop. ``age_now_90k`` is ``None`` while the clock cannot be trusted."""

    def __init__(
        self,
        data_dir: Path,
        index: SegmentIndex,
        executor: Executor,
        keep_s: float,
        age_now_90k: Callable[[], int | None],
    ) -> None:
        self.removed = 0
        """Files, since the start."""
        self._data_dir = data_dir
        self._index = index
        self._executor = executor
        self._keep_90k = seconds_90k(keep_s)
        self._age_now_90k = age_now_90k

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                while await self.remove_old() == BATCH_SIZE:
                    pass
            except LiveedgeError as error:
                log.warning("archive: files that are in the object storage stay on the disk: %s", error)
            await asyncio.sleep(INTERVAL_S)

    async def remove_old(self) -> int:
        """Rule 2. Returns the number of files."""
        now_90k = self._age_now_90k()
        if now_90k is None:
            return 0
        segments = await self._index.call(upload_table.local_copies, now_90k - self._keep_90k, BATCH_SIZE)
        return len(await self._remove(segments))

    async def make_room(self, size: int) -> int:
        """Rule 3: remove files of at least ``size`` bytes, as far as there are. Returns their bytes."""
        freed = 0
        while freed < size:
            segments = await self._index.call(upload_table.local_copies, None, BATCH_SIZE)
            chosen: list[Segment] = []
            for segment in segments:
                if freed + sum(each.size for each in chosen) < size:
                    chosen.append(segment)
            removed = await self._remove(chosen)
            freed += sum(segment.size for segment in removed)
            if not removed:
                break
        return freed

    async def last_resort(self, size: int) -> list[Segment]:
        """Rule 4: the oldest segments of at least ``size`` bytes that are on the disk alone."""
        chosen: list[Segment] = []
        for segment in await self._index.call(upload_table.not_uploaded, BATCH_SIZE):
            if sum(each.size for each in chosen) < size:
                chosen.append(segment)
        return chosen

    async def _remove(self, segments: Sequence[Segment]) -> list[Segment]:
        removed = await asyncio.get_running_loop().run_in_executor(self._executor, _unlink, self._data_dir, segments)
        if removed:
            await self._index.call(upload_table.set_removed, removed)
        self.removed += len(removed)
        return removed


def _unlink(data_dir: Path, segments: Sequence[Segment]) -> list[Segment]:
    """Unlink files, and leave their thumbnails. Returns the segments that have none any more."""
    removed = []
    for segment in segments:
        path = segment.path(data_dir)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("archive: %s cannot be removed: %s", path, error.strerror)
            continue
        removed.append(segment)
        with contextlib.suppress(OSError):
            path.parent.rmdir()
    return removed
