"""Uploader: brings segments into the object storage, while they are recorded and after.

Theory of operation. One task looks every second what is to be done: full parts of growing segments first, then finished
segments, the newest first. Each part, and each end of an upload, is a turn: a task that does one step of
an upload (:mod:`hls.archive.upload_steps`) in a worker thread and writes to the index what the storage has then. So a
process that dies loses nothing that was uploaded, and the next one begins where it ended.

Rules:

1. Recording never waits for the storage: all is on the disk first, and stays there until it is uploaded.
2. ``ARCHIVE_UPLOADS`` turns at a time, each with one part in memory, and ``ARCHIVE_UPLOAD_RATE`` for all of them. What
   waits is in the index, and takes no memory.
3. A storage that fails is tried again less and less often (:mod:`hls.archive.storage_health`).
4. An upload that the storage has forgotten begins again, from the disk.
5. A segment that alone fails rests, and the others go on.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock
from gateway.errors import LiveedgeError
from hls.archive import upload_table
from hls.archive.index import SegmentIndex
from hls.archive.segment import Segment, SegmentState, SegmentWithFragments, segment_path
from hls.archive.status import StorageStatus
from hls.archive.storage_health import PAUSE_MAX_S, StorageHealth
from hls.archive.storage_restore import restore
from hls.archive.upload import Complete, Step, Upload, UploadState, next_step
from hls.archive.upload_steps import UploadSteps
from hls.archive.upload_table import Backlog
from hls.storage.client import ObjectStore
from hls.storage.errors import ObjectStoreError, StoreFault

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
"""How often is looked for full parts. A camera of 8 Mbit/s fills one in five seconds."""

REST_S = 10.0
"""How long a segment rests that cannot be uploaded for a reason of its own, or whose upload was forgotten."""

ENLISTED_MAX = 1000
"""Segments that are given an upload in one transaction, when ``ARCHIVE_URL`` is set for the first time."""

PENDING_MAX = 32
"""Finished segments that are read in one round."""

DELETING_MAX = 32
"""Deleted segments whose objects are deleted in one round."""

STALE_S = 2 * 86_400.0
"""An upload that began before and is not in the index is no one's: no segment is longer than a day."""

STALE_INTERVAL_S = 86_400.0

_Key = tuple[str, str]


class Uploader:
    """See the module. Lives on the event loop.

    ``growing`` returns the segments that are being recorded; ``check_data_dir`` raises ``StorageError`` while the disk
    is missing; ``on_deleted`` is called with the key of an object that was deleted. ``part_size`` in bytes.
    """

    def __init__(
        self,
        store: ObjectStore,
        data_dir: Path,
        index: SegmentIndex,
        growing: Callable[[], Sequence[SegmentWithFragments]],
        check_data_dir: Callable[[], None],
        *,
        part_size: int,
        turns_max: int,
        rate_bps: int | None = None,
        on_deleted: Callable[[str], None] = lambda _: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.health = StorageHealth(store.url, clock)
        self.on_progress: list[Callable[[SegmentWithFragments, Upload], None]] = []
        """Called with an upload that has begun, before a part is sent and when the storage has it. The fragments are
        missing where the segment is finished: the index has them."""
        self.on_ended: list[Callable[[Segment], None]] = []
        """Called when a segment is uploaded, or its upload given up."""
        self._store = store
        self._data_dir = data_dir
        self._index = index
        self._growing = growing
        self._part_size = part_size
        self._turns_max = turns_max
        self._clock = clock
        self._executor = ThreadPoolExecutor(turns_max + 1, thread_name_prefix="archive-upload")
        self._steps = UploadSteps(store, data_dir, index, self._executor, clock, rate_bps, check_data_dir, on_deleted)
        self.counts = self._steps.counts
        self._wanted = asyncio.Event()
        self._turns: dict[_Key, asyncio.Task[None]] = {}
        self._sweeping: asyncio.Task[None] | None = None
        self._swept_at_s = float("-inf")
        self._uploads: dict[_Key, Upload] = {}
        """Of growing segments."""
        self._resting: dict[_Key, float] = {}
        """Until when, by the monotonic clock."""
        self._enlisted_id = 0
        self._backlog = Backlog(0, 0)
        self._counted_at_s = float("-inf")
        self._is_restored = False

    def wake(self) -> None:
        """Something is to be uploaded or deleted."""
        self._wanted.set()

    def status(self) -> StorageStatus:
        """The state at this moment."""
        return StorageStatus(
            url=self._store.url,
            is_reachable=self.health.is_known_good and self.health.error is None,
            error=self.health.error,
            backlog_segments=self._backlog.segments,
            backlog_bytes=self._backlog.size,
            uploads=len(self._turns),
            parts_uploaded=self.counts.parts,
            bytes_uploaded=self.counts.size,
            segments_uploaded=self.counts.segments,
            failures=self.health.failures,
            objects_deleted=self.counts.objects_deleted,
            uploads_aborted=self.counts.uploads_aborted,
        )

    async def run(self) -> None:
        """Run until cancelled."""
        try:
            while True:
                self._wanted.clear()
                try:
                    await self._count()
                    if self.health.is_due:
                        await self._round()
                except LiveedgeError as error:
                    self.health.failed(error)
                except OSError as error:
                    self.health.failed_on_disk(error)
                except Exception as error:
                    self.health.unexpected("the object storage", error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(INTERVAL_S):
                        await self._wanted.wait()
        finally:
            tasks = [*self._turns.values(), *([self._sweeping] if self._sweeping else [])]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._store.close()

    async def _count(self) -> None:
        """What waits, also while the storage is away."""
        if self._clock.monotonic() - self._counted_at_s < INTERVAL_S:
            return
        self._counted_at_s = self._clock.monotonic()
        before_id = -1
        while self._enlisted_id != before_id:
            # Each batch is a call: what is recorded meanwhile is written between them.
            before_id = self._enlisted_id
            arguments = before_id, self._part_size, ENLISTED_MAX
            self._enlisted_id = await self._index.call(upload_table.enlist, *arguments)
        self._backlog = await self._index.call(upload_table.backlog)

    async def _round(self) -> None:
        if not self.health.is_known_good:
            await self._steps.in_thread(self._store.check)
            self.health.succeeded()
        if not self._is_restored:
            await restore(self._store, self._index, self._data_dir, self._executor, self._part_size)
            self._is_restored = True
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.create_task(self._sweep(), name="archive-storage-sweep")
        now_s = self._clock.monotonic()
        self._resting = {key: until_s for key, until_s in self._resting.items() if until_s > now_s}
        growing = {(each.segment.camera_id, each.segment.name): each for each in self._growing()}
        self._uploads = {key: upload for key, upload in self._uploads.items() if key in growing}
        for key, each in growing.items():
            if self._is_free(key):
                upload = self._uploads.get(key)
                if upload is None:
                    upload = await self._index.call(upload_table.get, *key) or Upload(self._part_size)
                    self._uploads[key] = upload
                if (step := next_step(upload, each.segment)) is not None:
                    self._begin_turn(key, each, upload, step)
        limit = PENDING_MAX + len(self._turns) + len(self._resting)
        for segment, upload in await self._index.call(upload_table.pending, limit):
            key = segment.camera_id, segment.name
            if key not in growing and self._is_free(key):
                step = next_step(upload, segment)
                # The record of a segment has the SHA-256, which is made once it has ended.
                if step is None or (isinstance(step, Complete) and segment.sha256 is None):
                    continue
                self._begin_turn(key, SegmentWithFragments(segment, ()), upload, step)

    def index_is_new(self) -> None:
        """The index was lost, and made again from the files of the disk."""
        self._is_restored, self._enlisted_id = False, 0

    def _is_free(self, key: _Key) -> bool:
        return len(self._turns) < self._turns_max and key not in self._turns and key not in self._resting

    def _begin_turn(self, key: _Key, segment: SegmentWithFragments, upload: Upload, step: Step) -> None:
        self._progressed(segment, upload)
        name = f"archive-upload-{segment.segment.name}"
        self._turns[key] = asyncio.create_task(self._turn(key, segment, upload, step), name=name)

    async def _turn(self, key: _Key, recording: SegmentWithFragments, upload: Upload, step: Step) -> None:
        segment = recording.segment
        try:
            try:
                done = await self._steps.do(recording, upload, step)
            except FileNotFoundError:
                done = await self._steps.without_file(segment, upload)
            except ObjectStoreError as error:
                if error.fault not in (StoreFault.NO_UPLOAD, StoreFault.NO_OBJECT):
                    raise
                log.warning("archive: %s (%s of camera %s)", error, segment.name, segment.camera_id)
                self.health.failures += 1
                done = Upload(upload.part_size)
                await self._steps.abort(segment, upload)
                # A storage that forgets all uploads at once would get them again and again.
                self._resting[key] = self._clock.monotonic() + REST_S
            if not await self._save(recording, done):
                await self._steps.delete(segment, done)  # retention deleted it meanwhile
                self._ended(segment)
                return
            self._progressed(recording, done)
            if done.state is UploadState.UPLOADED:
                self.counts.segments += 1
                self._ended(segment)
            self.health.succeeded()
        except ObjectStoreError as error:
            self.health.failed(error)
        except (LiveedgeError, OSError) as error:
            log.warning("archive: %s of camera %s is not uploaded yet: %s", segment.name, segment.camera_id, error)
            self._resting[key] = self._clock.monotonic() + REST_S
        except Exception as error:
            self.health.unexpected(f"{segment.name} of camera {segment.camera_id}", error)
            self._resting[key] = self._clock.monotonic() + PAUSE_MAX_S
        finally:
            del self._turns[key]
            self._wanted.set()

    async def _save(self, recording: SegmentWithFragments, upload: Upload) -> bool:
        segment = recording.segment
        if segment.state is SegmentState.GROWING:
            self._uploads[segment.camera_id, segment.name] = upload
            return await self._index.call(upload_table.save_growing, recording, upload)
        return await self._index.call(upload_table.save, segment, upload)

    def _progressed(self, recording: SegmentWithFragments, upload: Upload) -> None:
        if upload.upload_id is not None:
            for listener in self.on_progress:
                listener(recording, upload)

    def _ended(self, segment: Segment) -> None:
        for listener in self.on_ended:
            listener(segment)

    async def _sweep(self) -> None:
        """Delete the objects of segments that were deleted, and once a day the unfinished uploads of no one."""
        try:
            for segment, upload in await self._index.call(upload_table.deleting, DELETING_MAX):
                if (segment.camera_id, segment.name) in self._turns:
                    continue
                if await self._steps.in_thread(segment.path(self._data_dir).exists):
                    continue  # it is being deleted at this moment, or cannot be deleted
                await self._steps.delete(segment, upload)
                self._ended(segment)
                self.counts.objects_deleted += 1
                await self._index.end_delete([segment])
            if self._clock.monotonic() - self._swept_at_s >= STALE_INTERVAL_S:
                await self._abort_stale()
                self._swept_at_s = self._clock.monotonic()
        except LiveedgeError as error:
            self.health.failed(error)
        except OSError as error:
            self.health.failed_on_disk(error)
        except Exception as error:
            self.health.unexpected("deleting in the object storage", error)

    async def _abort_stale(self) -> None:
        before_s = self._clock.wall_90k() / CLOCK_RATE - STALE_S
        unfinished = await self._steps.in_thread(lambda: list(self._store.unfinished()))
        known = await self._index.call(upload_table.upload_ids)
        # The index does not have those yet that begin at this moment.
        busy = {segment_path(Path(), *each).as_posix() for each in (*self._turns, *self._uploads)}
        for each in unfinished:
            if each.begun_s < before_s and each.upload_id not in known and each.key not in busy:
                await self._steps.in_thread(self._store.abort, each.key, each.upload_id)
                self.counts.uploads_aborted += 1
