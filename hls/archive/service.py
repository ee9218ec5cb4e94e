"""Archive: the recordings of all cameras.

Theory of operation. There is one archive per process. It owns ``DATA_DIR`` (locked against a second process), the
index, and a recorder per camera. Segments that recorders have on disk are written to the index by
:class:`~hls.archive.index_sync.IndexSync`, a little later; until then :meth:`Archive.unindexed` has it.

Rules:

1. The event loop never waits for the disk or the database: worker threads do.
2. What is reported as recorded is on disk. What is on disk is in the index, or will be at the next start.
3. Errors of the disk or the index are in :meth:`Archive.status`, and the operation is tried again; live continues.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from gateway.camera import Camera
from gateway.camera_settings import RecordMode
from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock, to_rfc3339
from gateway.errors import LiveedgeError, NotFoundError, StorageError
from gateway.latency import latency_histogram, remove_series
from gateway.service import CaptureService
from gateway.session import SessionState
from hls.archive.data_dir import DataDirLock, check_data_dir, close_to_others, lock_data_dir, unlock_data_dir
from hls.archive.index import SegmentIndex
from hls.archive.index_sync import INDEX_INTERVAL_S, IndexSync
from hls.archive.metadata import MetadataExtractor, PostProcessor, load_extractor
from hls.archive.recorder import CameraRecorder
from hls.archive.recording import Recording, SequenceNumbers
from hls.archive.recovery import Recovery, recover
from hls.archive.retention import CameraLimits
from hls.archive.retention_job import DiskSpace, RetentionJob
from hls.archive.segment import Segment, SegmentWithFragments
from hls.archive.status import ArchiveStatus, ClockStatus, RecorderStatus
from hls.archive.table import SegmentTable
from hls.parts.source import HubParts, PartSource
from hls.settings import ArchiveSettings, recording_settings

log = logging.getLogger(__name__)

BEGIN_S = 1.0
"""How long stopping a recorder waits for its start."""

WRITER_THREADS = 4
"""Enough that one camera's sync does not wait for another's; few enough that a dying disk hangs few threads."""


class Archive:
    """See the module. Lives on the event loop.

    ``parts_of`` gives the parts of a camera that its live window has; without it, they are made for the archive alone.
    """

    def __init__(
        self,
        settings: ArchiveSettings,
        service: CaptureService,
        clock: Clock = SYSTEM_CLOCK,
        parts_of: Callable[[Camera], PartSource] | None = None,
    ) -> None:
        url = settings.database_url
        self.data_dir: Path = settings.data_dir
        self.index = SegmentIndex(self.data_dir, url.get_secret_value() if url else None, clock)
        self.recovery: Recovery | None = None
        """What the last start repaired."""
        self.service = service
        self._clock = clock
        self._parts_of = parts_of if parts_of is not None else self._parts_of_hub
        self.sync_s = latency_histogram(
            "liveedge_archive_fsync_seconds", "How long the disk takes to keep a fragment", ["camera"]
        )
        self._recorders: dict[str, CameraRecorder] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._executor = ThreadPoolExecutor(WRITER_THREADS, thread_name_prefix="archive")
        self._lock: DataDirLock | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.extractors: list[MetadataExtractor] = (
            [load_extractor(settings.archive_metadata)] if settings.archive_metadata else []
        )
        """They add JSON to each finished segment, see :mod:`hls.archive.metadata`; append before :meth:`start`."""
        self.retention_job = RetentionJob(
            self.data_dir,
            self.index,
            self._executor,
            clock,
            self._limits,
            settings.archive_max_bytes,
            settings.archive_min_free_bytes,
            self._check_data_dir,
        )
        self._post_processor = PostProcessor(self.data_dir, self.index, self.extractors, self.pin)
        self._index_sync = IndexSync(
            self.data_dir, self.index, self._executor, self._recorders, self._check_data_dir, self._post_processor.wake
        )

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
            asyncio.create_task(self._index_sync.run(), name="archive-index"),
            asyncio.create_task(self.retention_job.run(), name="archive-retention"),
            asyncio.create_task(self._post_processor.run(), name="archive-metadata"),
        ]
        for camera in self.service.cameras.values():
            self.add_camera(camera)

    async def close(self) -> None:
        """Finish the files and write them to the index. May be called twice."""
        await asyncio.gather(*(self.remove_camera(camera_id) for camera_id in tuple(self._recorders)))
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.index.close()
        self._executor.shutdown(wait=False)
        if self._lock is not None:
            unlock_data_dir(self._lock)
            self._lock = None

    def add_camera(self, camera: Camera) -> None:
        """Start to record a camera, if its settings say so."""
        if camera.settings.record is RecordMode.NEVER or camera.id in self._recorders:
            return
        settings = recording_settings(camera.settings)
        recording = Recording(
            camera.id,
            self.data_dir,
            settings.archive_segment_seconds,
            settings.archive_fsync,
            self._check_data_dir,
            self.sync_s.labels(camera.id),
            self._clock,
        )
        recorder = CameraRecorder(
            camera.hub,
            self._parts_of(camera),
            recording,
            self._executor,
            is_live=lambda: camera.session.state is SessionState.LIVE,
            on_progress=self._on_progress,
            clock=self._clock,
        )
        self._recorders[camera.id] = recorder
        self._starting[camera.id] = asyncio.create_task(self._start_recorder(recorder), name=f"record-{camera.id}")

    async def remove_camera(self, camera_id: str) -> None:
        """Finish the camera's segment and stop recording. The recordings stay."""
        recorder = self._recorders.get(camera_id)
        starting = self._starting.pop(camera_id, None)
        if recorder is None:
            return
        if starting is not None:
            # It may wait for a failing index; then the packets in the recorder's queue are lost.
            await asyncio.wait([starting], timeout=BEGIN_S)
            starting.cancel()
        await recorder.close()
        try:
            await self._index_sync.update(recorder)
        except LiveedgeError as error:
            log.warning("archive: %s; the next start adds the camera's last files to the index", error)
        self._recorders.pop(camera_id, None)
        remove_series(self.sync_s, camera_id)
        self._index_sync.remove_camera(camera_id)

    async def _start_recorder(self, recorder: CameraRecorder) -> None:
        """Start a recorder, with the sequence numbers after those of the camera's newest segment."""
        while True:
            try:
                newest = await self.index.newest(recorder.camera_id)
                break
            except LiveedgeError as error:
                self._index_sync.error = str(error)
                await asyncio.sleep(INDEX_INTERVAL_S)
        recorder.start(SequenceNumbers.after(newest))

    # --- state

    def recorders(self) -> Mapping[str, RecorderStatus]:
        """The status of each camera's recorder."""
        statuses = {camera_id: recorder.status() for camera_id, recorder in self._recorders.items()}
        return {
            camera_id: status.model_copy(update={"error": status.error or self._index_sync.error})
            for camera_id, status in statuses.items()
        }

    def status(self) -> ArchiveStatus:
        """The archive, as ``/api/status`` shows it."""
        space = self.retention_job.disk_space
        return ArchiveStatus(
            cameras=dict(self.recorders()),
            index_error=self._index_sync.error,
            index_is_incomplete=self._index_sync.is_incomplete,
            index_repairs=self._index_sync.repairs,
            retention_error=self.retention_job.error,
            free_bytes=space.free_bytes if space else None,
            total_bytes=space.total_bytes if space else None,
            disk_measured_at=to_rfc3339(space.measured_at_90k) if space else None,
            segments_deleted=dict(self.retention_job.deleted),
            clock=self.clock_status(),
        )

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
        """The growing segment and its duration in seconds; ``None`` while nothing is recorded."""
        recorder = self._recorders.get(camera_id)
        if recorder is None or recorder.growing is None:
            return None
        segment = recorder.growing[0]
        return segment.name, segment.duration_90k / CLOCK_RATE

    def is_recorded(self, camera_id: str) -> bool:
        """Whether the camera has a recorder, so that new segments may come."""
        return camera_id in self._recorders

    def unindexed(self, camera_id: str) -> list[SegmentWithFragments]:
        """Segments that are on disk and not in the index yet, oldest first."""
        recorder = self._recorders.get(camera_id)
        if recorder is None:
            return []
        return [*recorder.closed, *([recorder.growing] if recorder.growing else [])]

    async def protect(self, camera_id: str, name: str, is_protected: bool) -> None:
        """Protect a segment from retention, or stop protecting it. Raises :class:`~gateway.errors.NotFoundError`."""
        recorder = self._recorders.get(camera_id)
        if recorder is not None:
            await self._index_sync.update(recorder)
        if not await self.index.set_protected(camera_id, name, is_protected):
            raise NotFoundError(f"camera {camera_id} has no segment {name}")

    def pin(self, segment: Segment) -> AbstractContextManager[None]:
        """Keep a segment's file while it is being read."""
        return self.retention_job.pin(segment)

    # --- callbacks

    def _parts_of_hub(self, camera: Camera) -> PartSource:
        return HubParts(camera.hub, self._clock)

    def _limits(self) -> Mapping[str, CameraLimits]:
        limits = {}
        for camera in self.service.cameras.values():
            settings = recording_settings(camera.settings)
            limits[camera.id] = CameraLimits(settings.archive_max_age, settings.archive_max_bytes)
        return limits

    def _on_progress(self, recorder: CameraRecorder) -> None:
        self._index_sync.on_progress(recorder)
        if recorder.status().error is not None:
            self.retention_job.wake()

    def _check_data_dir(self) -> None:
        if self._lock is not None:
            check_data_dir(self._lock)
