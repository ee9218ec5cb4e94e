"""Exports: jobs that put recordings into a ZIP, one after the other.

Theory of operation. A job is kept in the index before it is answered, and its ZIP is in ``DATA_DIR/.exports``. It is
built under another name, and renamed when it is complete. After a restart, jobs that were not finished begin again.

Rules:

1. One job runs at a time. At most :data:`JOBS_MAX` are kept, :data:`UNFINISHED_MAX` of them unfinished.
2. A job needs space before it begins: within ``EXPORT_MAX_BYTES``, and ``ARCHIVE_MIN_FREE_BYTES`` stay free.
3. A job that is over is deleted with its file ``EXPORT_MAX_AGE`` after its end; not while the wall clock cannot be
   trusted.
4. An error ends its job, which keeps the error's code and sentence.
"""

import asyncio
import contextlib
import logging
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.clock import SYSTEM_CLOCK, Clock, seconds_90k
from gateway.errors import ConflictError, LiveedgeError, NotFoundError
from hls.archive.data_dir import make_private_dir
from hls.archive.disk_error import DiskFault, disk_advice
from hls.archive.durable import sync_file, sync_folder
from hls.archive.service import Archive
from hls.events.service import EventService
from hls.evidence import export_table
from hls.evidence.export_build import ExportBuild
from hls.evidence.export_job import ExportJob, ExportRequest, ExportState, NoSpaceError
from hls.evidence.export_parts import ExportParts
from hls.evidence.export_zip import CancelledExportError
from hls.evidence.service import Evidence
from hls.playback.segment_finder import SegmentFinder
from hls.settings import ArchiveSettings

log = logging.getLogger(__name__)

FOLDER = ".exports"
"""No camera's id begins so."""

UNFINISHED_MAX = 8
JOBS_MAX = 64

EXPIRE_INTERVAL_S = 60.0

RETRY_S = 5.0
"""After an error of the index."""


class Exports:
    """See the module. Lives on the event loop."""

    def __init__(
        self,
        settings: ArchiveSettings,
        archive: Archive,
        events: EventService,
        evidence: Evidence,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._settings = settings
        self._archive = archive
        self._events = events
        self._evidence = evidence
        self._clock = clock
        self._folder: Path = settings.data_dir / FOLDER
        self._segments = SegmentFinder(archive)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="export")
        self.jobs_by_id: dict[str, ExportJob] = {}
        self.parts: ExportParts | None = None
        """The other nodes, in a cluster."""
        self._build: ExportBuild | None = None
        self._wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_loaded = False

    async def start(self) -> None:
        """Begin to work, with the jobs of the last run. If the index fails, they are read later."""
        try:
            await self._load()
        except LiveedgeError as error:
            log.warning("exports: %s; they are read later", error)
        self._tasks = [
            asyncio.create_task(self._run(), name="exports"),
            asyncio.create_task(self._expire(), name="exports-expire"),
        ]

    async def close(self) -> None:
        """Stop. What was not finished begins again at the next start."""
        tasks, self._tasks = self._tasks, []
        if self._build is not None:
            self._build.is_cancelled = True
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._executor.shutdown(wait=False, cancel_futures=True)

    def jobs(self) -> list[ExportJob]:
        """All exports, the newest first."""
        return sorted(self.jobs_by_id.values(), key=lambda job: job.created_90k, reverse=True)

    def job(self, export_id: str) -> ExportJob:
        """One export. Raises :class:`~gateway.errors.NotFoundError`."""
        found = self.jobs_by_id.get(export_id)
        if found is None:
            raise NotFoundError("there is no such export: it was deleted, or its time is over").because("export_gone")
        return found

    def path(self, job: ExportJob) -> Path:
        """The ZIP of an export. Raises :class:`~gateway.errors.ConflictError` while there is none."""
        if job.state is not ExportState.DONE:
            raise ConflictError(f"the export is {job.state.value}: it can be downloaded when it is done").because(
                "export_not_done"
            )
        return self._folder / f"{job.id}.zip"

    async def create(self, request: ExportRequest, owner: str) -> ExportJob:
        """Begin an export.

        Raises :class:`~gateway.errors.NotFoundError` if nothing of it is recorded, ``ConflictError`` if there are too
        many, and :class:`~hls.evidence.export_job.NoSpaceError`.
        """
        unfinished = sum(not job.state.is_over for job in self.jobs_by_id.values())
        if unfinished >= UNFINISHED_MAX:
            raise ConflictError(
                f"{unfinished} exports are not finished, which is the limit: wait, or delete one"
            ).because("exports_unfinished", limit=unfinished)
        if len(self.jobs_by_id) >= JOBS_MAX:
            raise ConflictError(f"{JOBS_MAX} exports are kept, which is the limit: delete one").because(
                "exports_kept", limit=JOBS_MAX
            )
        job = ExportJob(str(uuid.uuid4()), self._clock.wall_90k(), owner[:300], request)
        build = self._new_build(job)
        try:
            await self._require_space(await build.plan())
        finally:
            build.close()
        await self._archive.index.call(export_table.add, job)
        self.jobs_by_id[job.id] = job
        self._wanted.set()
        log.info("export %s of %s was requested by %s", job.id, ", ".join(request.cameras), owner)
        return job

    async def delete(self, job: ExportJob) -> None:
        """Delete an export and its file; one that runs is cancelled."""
        if self._build is not None and self._build.job is job:
            self._build.is_cancelled = True
        await self._archive.index.call(export_table.remove, job.id)
        self.jobs_by_id.pop(job.id, None)
        await asyncio.to_thread(self._remove_files, job.id)

    def _new_build(self, job: ExportJob) -> ExportBuild:
        return ExportBuild(job, self._segments, self._events, self._evidence, self._executor, self.parts)

    async def _require_space(self, needed: int) -> None:
        """Rule 2."""
        used = sum(job.size for job in self.jobs_by_id.values())
        if used + needed > self._settings.export_max_bytes:
            raise NoSpaceError(
                f"the export needs {needed} bytes, and exports may have {self._settings.export_max_bytes - used} more"
                " (EXPORT_MAX_BYTES): delete exports, or choose less"
            ).because("export_over_limit", needed=needed, left=self._settings.export_max_bytes - used)
        try:
            space = await asyncio.to_thread(shutil.disk_usage, self._settings.data_dir)
        except OSError as error:
            raise NoSpaceError(f"the disk of DATA_DIR cannot be measured: {error.strerror}") from None
        if space.total and space.free - needed < self._settings.archive_min_free_bytes:
            raise NoSpaceError(
                f"the export needs {needed} bytes, and the disk of DATA_DIR has {space.free} free, of which recordings"
                " keep some (ARCHIVE_MIN_FREE_BYTES): make room, or choose less"
            ).because("disk_too_full", needed=needed, free=space.free)

    # --- the jobs

    async def _run(self) -> None:
        while not self._is_loaded:
            await asyncio.sleep(RETRY_S)
            with contextlib.suppress(LiveedgeError):
                await self._load()
        while True:
            self._wanted.clear()
            waiting = [job for job in self.jobs() if job.state is ExportState.WAITING]
            if waiting:
                await self._do(waiting[-1])
            else:
                await self._wanted.wait()

    async def _load(self) -> None:
        jobs = []
        for job in await self._archive.index.call(export_table.load):
            if job.request.is_part:
                # The node that asked for it has noticed that this one was lost, and waits for it no longer.
                await self._archive.index.call(export_table.remove, job.id)
            else:
                jobs.append(job)
        await asyncio.to_thread(self._clean, {job.id for job in jobs if job.state is ExportState.DONE})
        for job in jobs:
            if job.state is ExportState.RUNNING:
                job.state = ExportState.WAITING
            elif job.state is ExportState.DONE:
                job.progress = 1.0
            self.jobs_by_id.setdefault(job.id, job)
        self._is_loaded = True

    async def _do(self, job: ExportJob) -> None:
        build = self._build = self._new_build(job)
        partial = self._folder / f"{job.id}.part"
        try:
            job.state, job.progress = ExportState.RUNNING, 0.0
            await self._save(job)
            await self._require_space(await build.plan())
            await asyncio.to_thread(make_private_dir, self._folder)
            job.result = await build.build(partial)
            await asyncio.to_thread(self._finish, partial, job)
            job.state, job.progress = ExportState.DONE, 1.0
        except CancelledExportError:
            return
        except OSError as error:
            advice = disk_advice(error)
            code = "no_space" if advice.fault in (DiskFault.FULL, DiskFault.QUOTA) else "storage"
            self._fail(job, code, f"the export cannot be written: {error.strerror}; make room on the disk of DATA_DIR")
        except LiveedgeError as error:
            self._fail(job, error.code, str(error))
            if error.reason is not None:
                job.result |= {"reason": error.reason, "values": dict(error.values)}
        except Exception as error:
            log.exception("export %s failed", job.id)
            self._fail(job, "internal", f"the export failed: {type(error).__name__}; the log has more")
        finally:
            self._build = None
            build.close()
            if job.state is not ExportState.DONE:
                with contextlib.suppress(RuntimeError):
                    self._executor.submit(partial.unlink, missing_ok=True)
        job.expires_90k = self._clock.wall_90k() + seconds_90k(self._settings.export_max_age)
        if job.id in self.jobs_by_id:
            await self._save(job)
        else:
            await asyncio.to_thread(self._remove_files, job.id)

    def _fail(self, job: ExportJob, code: str, message: str) -> None:
        log.warning("export %s failed: %s", job.id, message)
        job.state, job.result = ExportState.FAILED, {"error": code, "message": message}

    async def _save(self, job: ExportJob) -> None:
        while True:
            try:
                await self._archive.index.call(export_table.save, job)
            except LiveedgeError as error:
                log.warning("exports: %s; the state of %s is saved later", error, job.id)
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _expire(self) -> None:
        while True:
            try:
                await self.expire()
            except (LiveedgeError, OSError) as error:
                log.warning("exports: %s; those whose time is over are deleted later", error)
            await asyncio.sleep(EXPIRE_INTERVAL_S)

    async def expire(self) -> None:
        """Delete the jobs whose time is over (rule 3). Raises ``OSError`` and a ``LiveedgeError``."""
        now_90k = self._archive.age_now_90k()
        for job in self.jobs():
            if now_90k is not None and job.expires_90k is not None and job.expires_90k <= now_90k:
                await self.delete(job)

    # --- files; blocking

    def _finish(self, partial: Path, job: ExportJob) -> None:
        with partial.open("rb") as file:
            sync_file(file.fileno())
        partial.replace(self._folder / f"{job.id}.zip")
        sync_folder(self._folder)

    def _remove_files(self, export_id: str) -> None:
        for path in self._folder.glob(f"{export_id}.*"):
            if path.suffix == ".zip" or self._build is None or self._build.job.id != export_id:
                path.unlink(missing_ok=True)

    def _clean(self, kept: set[str]) -> None:
        """Remove what the last run left."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if path.suffix != ".zip" or path.stem not in kept:
                    with contextlib.suppress(OSError):
                        path.unlink()
