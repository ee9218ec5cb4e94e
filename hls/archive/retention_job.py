"""RetentionJob: measures the disk every few seconds and deletes the segments that retention selects.

A round costs a sum over the index and, where a limit is exceeded, a query per stream for its oldest rows. Large
deletions take several rounds, so that memory is bounded.

Before each pass the job reads the clocks for :class:`~hls.archive.clock_guard.ClockGuard`. While the wall clock cannot
be trusted, nothing is deleted for its age; the limits of size and free space go on, by the order of recording.

A file system whose size is unknown (statvfs says 0 blocks) has no limit of free space. Where deletions do not make more
space free (snapshots, hard links, another program that takes it at once), that limit pauses.
"""

import asyncio
import contextlib
import logging
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from gateway.camera_settings import RenditionName
from gateway.clock import Clock
from gateway.errors import LiveedgeError, StorageError
from hls.archive import upload_table
from hls.archive.capacity import Fit
from hls.archive.capacity_measure import DiskLimits, measure_capacity
from hls.archive.clock_file import load_state, read_clocks, save_state, take_confirmation
from hls.archive.clock_guard import EARLIEST_90K, ClockGuard, ClockState
from hls.archive.event_cover import EventCover
from hls.archive.index import SegmentIndex
from hls.archive.local_copies import LocalCopies
from hls.archive.recovery import remove_files
from hls.archive.retention import (
    AgeBudget,
    CameraLimits,
    Candidate,
    DiskUsage,
    Reason,
    dated,
    is_anything_due,
    select_segments,
)
from hls.archive.segment import RecordedStream, Segment

log = logging.getLogger(__name__)

RETENTION_INTERVAL_S = 5.0
"""Twenty cameras of 8 Mbit/s write 100 MB in this time: a tenth of the space that is kept free by default."""

CAPACITY_INTERVAL_S = 60.0
"""How often is measured what fits: a sum over the index of a week."""

SAVE_INTERVAL_S = 60.0
"""How often the state of the clocks is saved, while it is nothing but time that passes."""

USELESS_PASSES = 3
USELESS_PAUSE_S = 60.0
"""After so many passes in a row that deleted for free space and made none, that limit pauses, in seconds."""

BATCH_SIZE = 64
"""Oldest segments per stream and round."""


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """Space of the disk of ``DATA_DIR``, and the wall clock at which it was measured."""

    free_bytes: int
    total_bytes: int
    measured_at_90k: int


class RetentionJob:
    """See the module. Lives on the event loop.

    ``check_data_dir`` raises :class:`~gateway.errors.StorageError` while the disk is missing. ``on_deleted`` is called
    when files were deleted. With ``local_copies``, rules 3 and 4 of :mod:`hls.archive.local_copies` replace the
    limit of free space.
    """

    def __init__(
        self,
        data_dir: Path,
        index: SegmentIndex,
        executor: Executor,
        clock: Clock,
        limits: Callable[[], Mapping[str, CameraLimits]],
        max_bytes: int | None,
        min_free_bytes: int,
        check_data_dir: Callable[[], None] = lambda: None,
        on_deleted: Callable[[], None] = lambda: None,
        local_copies: LocalCopies | None = None,
    ) -> None:
        self.deleted: Counter[tuple[RenditionName, str]] = Counter()
        """Segments deleted, by stream and reason."""
        self.disk_space: DiskSpace | None = None
        """The last measurement; ``None`` if the disk is gone. It becomes old while the disk hangs."""
        self.capacity: Mapping[str, Fit] = {}
        """How many days of recordings fit, by camera, as it was measured last."""
        self._capacity_at_s = float("-inf")
        self.error: str | None = None
        """Why there is less free space than there should be."""
        self.on_deleting: list[Callable[[Sequence[tuple[Segment, str]]], Awaitable[None]]] = []
        """Called with the segments that are to be deleted, and why, before they are. An error keeps them."""
        self._data_dir = data_dir
        self._index = index
        self._executor = executor
        self._clock = clock
        self._limits = limits
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._check_data_dir = check_data_dir
        self._on_deleted = on_deleted
        self._local_copies = local_copies
        self._pins: Counter[tuple[str, str]] = Counter()
        self._wanted = asyncio.Event()
        self.clock_guard: ClockGuard | None = None
        """``None`` before the first reading."""
        self._age_budget = AgeBudget()
        self._saved: ClockState | None = None
        self._saved_at_s = float("-inf")
        self._freeing: tuple[int, int] | None = None
        """Free bytes before the last deletions for free space, and the bytes deleted."""
        self._useless_passes = 0
        self._useless_until_s = float("-inf")

    async def _measure_capacity(self) -> Mapping[str, Fit]:
        """How many days fit, by camera; none while the clock cannot be trusted. Raises ``StorageError``."""
        now_90k = self.clock_guard.age_now_90k if self.clock_guard is not None else None
        if now_90k is None:
            return {}
        # With an object storage the disk is a cache: it limits nothing.
        free = None if self.disk_space is None or self._local_copies else self.disk_space.free_bytes
        limits = DiskLimits(free, self._min_free_bytes, self._max_bytes)
        return await measure_capacity(self._index, now_90k, limits, self._limits())

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
                if self._clock.monotonic() - self._capacity_at_s >= CAPACITY_INTERVAL_S:
                    self._capacity_at_s = self._clock.monotonic()
                    self.capacity = await self._measure_capacity()
            except (LiveedgeError, OSError) as error:
                log.warning("archive: retention failed: %s", error)
                self.error = f"retention failed: {error}"
            self._wanted.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETENTION_INTERVAL_S):
                    await self._wanted.wait()

    async def read_clocks(self) -> ClockGuard:
        """Read the clocks, take a confirmation, and save what changed. Raises ``StorageError`` if the index fails."""
        loop = asyncio.get_running_loop()
        reading = await loop.run_in_executor(self._executor, read_clocks, self._clock)
        if self.clock_guard is None:
            state = await loop.run_in_executor(self._executor, load_state, self._data_dir)
            newest_90k = await self._index.newest_end_90k() if state is None else None
            self.clock_guard = ClockGuard(reading, state, newest_90k)
            was_suspended = False
        else:
            was_suspended = self.clock_guard.suspension is not None
            self.clock_guard.observe(reading)
        guard = self.clock_guard
        if await loop.run_in_executor(self._executor, take_confirmation, self._data_dir, reading.wall_90k):
            self.confirm_clock()
        if was_suspended is not (guard.suspension is not None):
            log.warning("archive: %s", guard.describe() or "the clock of the host is trusted again")
        await self._save(guard.state)
        return guard

    def confirm_clock(self) -> None:
        """An operator says that the wall clock is right: the age rule is applied again."""
        if self.clock_guard is not None:
            was_suspended = self.clock_guard.suspension is not None
            self.clock_guard.confirm(read_clocks(self._clock))
            if was_suspended:
                log.warning("archive: the clock of the host was confirmed")

    async def _save(self, state: ClockState) -> None:
        now_s = self._clock.monotonic()
        saved = self._saved
        is_change = saved is None or (saved.suspension is None) is not (state.suspension is None)
        if not is_change and now_s - self._saved_at_s < SAVE_INTERVAL_S:
            return

        def save() -> None:
            self._check_data_dir()  # not into an empty mount point
            save_state(self._data_dir, state)

        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, save)
        except (OSError, StorageError) as error:
            log.warning("archive: the state of the clock cannot be saved: %s", error)
        self._saved, self._saved_at_s = state, now_s

    async def run_once(self) -> int:
        """One round. Returns the number of deleted segments. Raises ``OSError`` or ``StorageError``."""
        loop = asyncio.get_running_loop()
        guard = await self.read_clocks()
        free, min_free = await self._measure()
        free, for_space = await self._make_room(free, min_free)
        if self._local_copies is not None:
            min_free = 0
        streams = await self._index.usage()
        used: Counter[str] = Counter()
        for each in streams:
            used[each.stream.camera_id] += each.size
        usage = DiskUsage(used, free, self._max_bytes, min_free)
        limits = self._limits()
        oldest_90k = {each.stream: each.oldest_90k for each in streams}
        if not for_space and not is_anything_due(oldest_90k, limits, usage, guard.age_now_90k):
            self.error = self._space_error(free)
            return 0
        now_90k = max(self._clock.wall_90k(), guard.expected_90k)
        candidates: list[list[Candidate]] = []
        incomplete: set[str] = set()
        for each in streams:
            for cover in (EventCover.NONE, EventCover.COVERED):
                oldest = await self._index.oldest(each.stream.camera_id, BATCH_SIZE, each.stream.rendition, cover)
                candidates.append(await self._candidates(each.stream, oldest, now_90k, cover))
                if cover is EventCover.NONE and len(oldest) == BATCH_SIZE:
                    incomplete.add(each.stream.camera_id)
        now_s = self._clock.monotonic()
        age_left = {each.stream: self._age_budget.left_90k(each.stream, now_s) for each in streams}
        selected = select_segments(candidates, limits, usage, guard.age_now_90k, age_left, incomplete)
        taken = {segment.name for segment, _ in selected}
        selected += [(segment, Reason.FREE_BYTES) for segment in for_space if segment.name not in taken]
        if not selected:
            self.error = self._space_error(free)
            return 0
        # A reader may have pinned a segment while the index was read.
        deleting = [segment for segment, _ in selected if (segment.camera_id, segment.name) not in self._pins]
        why = {(segment.camera_id, segment.name): reason.value for segment, reason in selected}
        for listener in self.on_deleting:
            await listener([(segment, why[segment.camera_id, segment.name]) for segment in deleting])
        await self._index.begin_delete(deleting)
        deleted = await loop.run_in_executor(self._executor, _remove, self._data_dir, deleting)
        # The others have their rows until the object storage has deleted them too.
        await self._index.end_delete(await self._index.call(upload_table.without_objects, deleted))
        self._on_deleted()
        gone = {(segment.camera_id, segment.name) for segment in deleted}
        self._freeing = free, 0
        for segment, reason in selected:
            if (segment.camera_id, segment.name) in gone:
                self.deleted[segment.rendition, reason.value] += 1
                if reason is Reason.AGE:
                    self._age_budget.take(segment, now_s)
                elif reason is Reason.FREE_BYTES:
                    self._freeing = free, self._freeing[1] + segment.size
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

    async def _make_room(self, free: int, min_free: int) -> tuple[int, list[Segment]]:
        """With an object storage: remove what is there from the disk. Returns the free bytes then, and what else is
        to be deleted for them."""
        if self._local_copies is None or free >= min_free:
            return free, []
        free += await self._local_copies.make_room(min_free - free)
        return free, await self._local_copies.last_resort(min_free - free) if free < min_free else []

    async def _candidates(
        self, stream: RecordedStream, segments: Sequence[Segment], now_90k: int, cover: EventCover
    ) -> list[Candidate]:
        """Segments of a stream, dated, without those that are being read."""
        later_90k: int | None = None
        if segments and not EARLIEST_90K <= segments[-1].start_90k <= now_90k:
            later_90k = await self._index.start_after(stream, segments[-1].sequence, EARLIEST_90K, now_90k)
        return [
            candidate
            for candidate in dated(segments, later_90k, now_90k, is_event=cover is EventCover.COVERED)
            if (stream.camera_id, candidate.segment.name) not in self._pins
        ]

    async def _measure(self) -> tuple[int, int]:
        """Free bytes of the disk, and how many there should be. Raises ``OSError``."""
        try:
            space = await asyncio.get_running_loop().run_in_executor(self._executor, shutil.disk_usage, self._data_dir)
        except OSError:
            self.disk_space = None
            raise
        if not space.total:
            # FUSE and some network file systems do not know.
            self.disk_space = None
            return 0, 0
        self.disk_space = DiskSpace(space.free, space.total, self._clock.wall_90k())
        now_s = self._clock.monotonic()
        if self._freeing is not None and self._freeing[1]:
            before, deleted = self._freeing
            self._useless_passes = 0 if space.free - before >= deleted // 10 else self._useless_passes + 1
            if self._useless_passes >= USELESS_PASSES:
                self._useless_passes = 0
                self._useless_until_s = now_s + USELESS_PAUSE_S
        self._freeing = None
        return space.free, 0 if now_s < self._useless_until_s else self._min_free_bytes

    def _space_error(self, free: int) -> str | None:
        """Why there is less free space than there should be, though nothing is selected."""
        if self.disk_space is None or free >= self._min_free_bytes:
            return None
        if self._clock.monotonic() < self._useless_until_s:
            return (
                f"only {free} bytes are free, and deleting recordings does not make it more: other programs, snapshots"
                " or hard links use the disk of DATA_DIR"
            )
        return f"only {free} bytes are free and nothing may be deleted: make room on the disk of DATA_DIR"


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
