"""Archive: the recordings of all cameras.

Theory of operation. There is one archive per process. It owns ``DATA_DIR`` (locked against a second process), the
index, and a recorder for each stream that is recorded. Segments that recorders have on disk are written to the index by
:class:`~hls.archive.index_sync.IndexSync`, a little later; until then :meth:`Archive.unindexed` has it.

Rules:

1. The event loop never waits for the disk or the database: worker threads do.
2. What is reported as recorded is on disk. What is on disk is in the index, or will be at the next start.
3. Errors of the disk or the index are in :meth:`Archive.status`, and the operation is tried again; live continues.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from gateway.camera import Camera
from gateway.camera_settings import CameraSettings, RenditionName
from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock, seconds_90k, to_rfc3339
from gateway.errors import NotFoundError, StorageError
from gateway.rendition import Rendition
from gateway.service import CaptureService
from hls.archive.capacity import Fit
from hls.archive.data_dir import DataDirLock, check_data_dir, close_to_others, lock_data_dir, unlock_data_dir
from hls.archive.event_cover import DEFAULT_ROLLS, Rolls
from hls.archive.event_gate import Span
from hls.archive.index import SegmentIndex
from hls.archive.index_sync import IndexSync
from hls.archive.metadata import MetadataExtractor, PostProcessor, load_extractor
from hls.archive.recorder import StreamRecorder
from hls.archive.recorders import Recorders
from hls.archive.recovery import Recovery, recover
from hls.archive.retention import CameraLimits
from hls.archive.retention_job import DiskSpace, RetentionJob
from hls.archive.segment import RecordedStream, Segment, SegmentWithFragments
from hls.archive.segment_files import SegmentFiles
from hls.archive.status import ArchiveStatus, CameraRecordingStatus, ClockStatus, RecorderStatus
from hls.archive.storage import ArchiveStorage
from hls.archive.table import SegmentTable
from hls.archive.write_pool import WritePool
from hls.parts.source import HubParts, PartSource
from hls.settings import ArchiveSettings, recording_settings

log = logging.getLogger(__name__)

WRITER_THREADS = 4
"""Enough that one camera's sync does not wait for another's; few enough that a dying disk hangs few threads."""


class Archive:
    """See the module. Lives on the event loop.

    ``parts_of`` gives the parts of a stream that its live window has; without it, they are made for the archive alone.
    """

    def __init__(
        self,
        settings: ArchiveSettings,
        service: CaptureService,
        clock: Clock = SYSTEM_CLOCK,
        parts_of: Callable[[Rendition], PartSource] | None = None,
    ) -> None:
        url = settings.database_url
        self.data_dir: Path = settings.data_dir
        self.index = SegmentIndex(self.data_dir, url.get_secret_value() if url else None, clock)
        self.index.table.rolls_of = self._rolls
        self.recovery: Recovery | None = None
        """What the last start repaired."""
        self.service = service
        self.clock = self._clock = clock
        self._executor = ThreadPoolExecutor(WRITER_THREADS, thread_name_prefix="archive")
        self._lock: DataDirLock | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.extractors: list[MetadataExtractor] = (
            [load_extractor(settings.archive_metadata)] if settings.archive_metadata else []
        )
        """They add JSON to each finished segment, see :mod:`hls.archive.metadata`; append before :meth:`start`."""
        self.storage: ArchiveStorage | None = None
        if settings.archive_url is not None:
            self.storage = ArchiveStorage(settings, self, self._executor, clock)
        self.files = SegmentFiles(self.data_dir, self.storage.blocks if self.storage is not None else None)
        """Read them through this."""
        self.retention_job = RetentionJob(
            self.data_dir,
            self.index,
            self._executor,
            clock,
            self._limits,
            settings.archive_max_bytes,
            settings.archive_min_free_bytes,
            self.check_data_dir,
            self._on_deleted,
            self.storage.local_copies if self.storage is not None else None,
        )
        self.post_processor = PostProcessor(self.data_dir, self.index, self.extractors, self.pin)
        by_stream: dict[RecordedStream, StreamRecorder] = {}
        self.index_sync = IndexSync(
            self.data_dir, self.index, self._executor, by_stream, self.check_data_dir, self.post_processor.wake
        )
        self._recorders = Recorders(
            self.data_dir,
            self.index,
            by_stream,
            self.index_sync,
            WritePool(self._executor, WRITER_THREADS),
            clock,
            parts_of if parts_of is not None else self._parts_of_hub,
            self.check_data_dir,
            self._on_progress,
            has_storage=self.storage is not None,
        )
        self.sync_s = self._recorders.sync_s
        """How long the disk takes to keep a fragment."""

    # --- lifetime

    async def start(self) -> None:
        """Lock ``DATA_DIR``, repair files and index after a crash, and start the recorders.

        Raises :class:`~gateway.errors.SettingsError` if the directory or the index cannot be used.
        """
        loop = asyncio.get_running_loop()
        self._lock = await loop.run_in_executor(self._executor, lock_data_dir, self.data_dir)
        await loop.run_in_executor(self._executor, close_to_others, self.data_dir)
        await self.index.open()
        try:
            self.recovery = await loop.run_in_executor(self._executor, recover, self.data_dir, self.index.table)
        except StorageError as error:
            log.warning("archive: %s; the index is checked and repaired", error)
            await self.index.call(SegmentTable.repair)
            self.recovery = await loop.run_in_executor(self._executor, recover, self.data_dir, self.index.table)
        if not self.recovery.is_nothing:
            log.info("archive: %s", self.recovery)
        try:
            # Before anything is recorded: without a saved state, the newest recording is compared.
            await self.retention_job.read_clocks()
        except StorageError as error:
            log.warning("archive: %s; the clock is checked later", error)
        self._tasks = [
            asyncio.create_task(self.index_sync.run(), name="archive-index"),
            asyncio.create_task(self.retention_job.run(), name="archive-retention"),
            asyncio.create_task(self.post_processor.run(), name="archive-metadata"),
        ]
        if self.storage is not None:
            self.index_sync.on_repaired.append(self.storage.restore)
            self._tasks += self.storage.start()
        for camera in self.service.cameras.values():
            self.add_camera(camera)

    async def close(self) -> None:
        """Finish the files and write them to the index. May be called twice."""
        await self._recorders.close()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.index.close()
        self._executor.shutdown(wait=False)
        self.files.close()
        if self._lock is not None:
            unlock_data_dir(self._lock)
            self._lock = None

    def add_camera(self, camera: Camera) -> None:
        """Start to record those streams of a camera whose settings say so; none that another node captures."""
        self._recorders.add_camera(camera)

    async def change_camera(self, before: CameraSettings, camera: Camera) -> None:
        """Begin new recorders where a change of the camera's settings requires it."""
        await self._recorders.change_camera(before, camera)

    async def remove_camera(self, camera_id: str) -> None:
        """Finish the camera's segments and stop recording. The recordings stay."""
        await self._recorders.remove_camera(camera_id)

    def set_event_spans(self, camera_id: str, spans: Sequence[Span]) -> None:
        """What events want of a camera that is recorded on events: disjoint spans of the wall clock, in order.

        What is in memory of them is recorded at once, and what comes of them is recorded too.
        """
        self._recorders.set_event_spans(camera_id, spans)

    def settled_90k(self, camera_id: str) -> int | None:
        """All that is to be recorded of a camera from before this moment is on the disk; ``None`` without a recorder.

        That of its main stream, if that is recorded.
        """
        return next((recorder.settled_90k for recorder in self._recorders.of(camera_id)), None)

    # --- state

    def recorders(self) -> Mapping[str, CameraRecordingStatus]:
        """The status of the recording of each camera that has a recorder."""
        statuses = dict(self.streams())
        cameras = {}
        for camera_id in dict.fromkeys(stream.camera_id for stream in statuses):
            main = statuses.get(RecordedStream(camera_id), RecorderStatus())
            sub = statuses.get(RecordedStream(camera_id, RenditionName.SUB))
            fit = self.retention_job.capacity.get(camera_id, Fit(None, None))
            cameras[camera_id] = CameraRecordingStatus(
                **(dict(main) | {"bytes_per_day": fit.bytes_per_day, "days_that_fit": fit.days, "sub": sub})
            )
        return cameras

    def streams(self) -> Iterator[tuple[RecordedStream, RecorderStatus]]:
        """The status of each recorder."""
        yield from self._recorders.statuses()

    def status(self, *, with_cameras: bool = True) -> ArchiveStatus:
        """The archive, as ``/api/status`` shows it; ``with_cameras`` says whether with the state of each recording."""
        space = self.retention_job.disk_space
        return ArchiveStatus(
            cameras=dict(self.recorders()) if with_cameras else {},
            index_error=self.index_sync.error,
            index_is_incomplete=self.index_sync.is_incomplete,
            index_repairs=self.index_sync.repairs,
            retention_error=self.retention_job.error,
            free_bytes=space.free_bytes if space else None,
            total_bytes=space.total_bytes if space else None,
            disk_measured_at=to_rfc3339(space.measured_at_90k) if space else None,
            segments_deleted=self._deleted(RenditionName.MAIN),
            sub_segments_deleted=self._deleted(RenditionName.SUB),
            clock=self.clock_status(),
            storage=self.storage.status() if self.storage is not None else None,
        )

    def _deleted(self, rendition: RenditionName) -> dict[str, int]:
        return {reason: count for (of, reason), count in self.retention_job.deleted.items() if of is rendition}

    def clock_status(self) -> ClockStatus:
        """Whether recordings are deleted for their age at present."""
        guard = self.retention_job.clock_guard
        suspension = guard.suspension if guard is not None else None
        if guard is None or suspension is None:
            return ClockStatus()
        return ClockStatus(
            is_trusted=False,
            fault=suspension.fault,
            error=guard.describe(),
            untrusted_since=to_rfc3339(suspension.since_90k),
            plausible_s=round(suspension.plausible_s),
        )

    def age_now_90k(self) -> int | None:
        """The wall clock by which things are old; ``None`` while it cannot be trusted."""
        guard = self.retention_job.clock_guard
        return guard.age_now_90k if guard is not None else None

    def confirm_clock(self) -> None:
        """An administrator says that the clock of the host is right."""
        self.retention_job.confirm_clock()
        self.retention_job.wake()

    @property
    def numbers_90k(self) -> int:
        """The latest wall clock ever seen, and what has passed since: for numbers that must not go back; 0: unknown."""
        guard = self.retention_job.clock_guard
        return guard.state.numbers_90k if guard is not None else 0

    @property
    def disk_space(self) -> DiskSpace | None:
        """The disk's space when retention last measured it; ``None`` if the disk is gone or not measured yet."""
        return self.retention_job.disk_space

    def live_position(self, camera_id: str) -> tuple[str, float] | None:
        """The growing segment and its duration in seconds; ``None`` while nothing is recorded.

        That of the sub stream while the main stream is not recorded.
        """
        for recorder in self._recorders.of(camera_id):
            if recorder.growing is not None:
                segment = recorder.growing[0]
                return segment.name, segment.duration_90k / CLOCK_RATE
        return None

    def is_recorded(self, camera_id: str, rendition: RenditionName | None = None) -> bool:
        """Whether the stream, or any of the camera's, has a recorder, so that new segments may come."""
        return bool(self._recorders.of(camera_id, rendition))

    def unindexed(self, camera_id: str, rendition: RenditionName | None = None) -> list[SegmentWithFragments]:
        """Segments that are on disk and not in the index yet, oldest first, those of the main stream before others."""
        return self._recorders.unindexed(camera_id, rendition)

    async def protect(self, camera_id: str, name: str, is_protected: bool) -> None:
        """Protect a segment from retention, or stop protecting it, with what the other stream recorded of that time.

        Raises :class:`~gateway.errors.NotFoundError`.
        """
        for recorder in self._recorders.of(camera_id):
            await self.index_sync.update(recorder)
        if not await self.index.set_protected(camera_id, name, is_protected):
            raise NotFoundError(f"camera {camera_id} has no segment {name}").because("segment_gone")

    def pin(self, segment: Segment) -> AbstractContextManager[None]:
        """Keep a segment's file while it is being read."""
        return self.retention_job.pin(segment)

    # --- callbacks

    def _parts_of_hub(self, rendition: Rendition) -> PartSource:
        return HubParts(rendition.hub, self._clock)

    def _rolls(self, camera_id: str) -> Rolls:
        camera = self.service.cameras.get(camera_id)
        settings = recording_settings(camera.settings) if camera is not None else None
        if settings is None:
            return DEFAULT_ROLLS
        return Rolls(seconds_90k(settings.pre_roll), seconds_90k(settings.post_roll))

    def _limits(self) -> Mapping[str, CameraLimits]:
        limits = {}
        for camera in self.service.cameras.values():
            settings = recording_settings(camera.settings)
            max_age_s, sub_max_age_s = settings.archive_max_age, settings.archive_sub_max_age
            sub_max_age_s = max_age_s if sub_max_age_s is None else sub_max_age_s
            max_bytes, event_max_age_s = settings.archive_max_bytes, settings.archive_event_max_age
            limits[camera.id] = CameraLimits(max_age_s, max_bytes, sub_max_age_s, event_max_age_s)
        return limits

    def _on_progress(self, recorder: StreamRecorder) -> None:
        self.index_sync.on_progress(recorder)
        if recorder.error is not None:
            self.retention_job.wake()

    def _on_deleted(self) -> None:
        if self.storage is not None:
            self.storage.uploader.wake()

    def growing(self) -> list[SegmentWithFragments]:
        """All segments that are being recorded, as far as they are on disk."""
        return self._recorders.growing()

    def check_data_dir(self) -> None:
        """Raise ``StorageError`` while the disk of ``DATA_DIR`` is missing. Blocking."""
        if self._lock is not None:
            check_data_dir(self._lock)
