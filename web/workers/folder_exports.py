"""FolderExports: the parts of an export that workers have recorded which are down: made by the one that exports.

Implements :class:`hls.evidence.export_parts.ExportParts`, over that of the living workers.

Rules:

1. A worker that is alive makes its part itself. The part of one that is down is made of its folder
   (:mod:`web.workers.folder_recordings`), in the same way, and signed with the key that all workers have.
2. A worker that is lost while it makes its part is waited for, until it is down for all, or is back: then its part is
   made once more. :data:`TRIES` times in all, each for :data:`LOST_S` at most.
3. A worker of which the folder cannot be read is away: the export names it.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import LiveedgeError, NodeAwayError, NotFoundError
from hls.events.service import EventService
from hls.evidence.export_build import ExportBuild
from hls.evidence.export_job import ExportJob, ExportRequest
from hls.evidence.export_parts import ExportParts, Holders
from hls.evidence.export_zip import CancelledExportError
from hls.evidence.reader import EvidenceReader
from hls.evidence.service import Evidence
from web.cluster.away_recordings import AwayNode
from web.settings import Settings
from web.workers.folder_recordings import FolderRecordings

TRIES = 4

LOST_S = 20.0
"""Twice as long as the lease of a worker that hangs."""

POLL_S = 0.2


class FolderExports:
    """See the module. Lives on the event loop. ``evidence`` is that of this worker."""

    def __init__(
        self,
        living: ExportParts,
        folders: FolderRecordings,
        settings: Settings,
        evidence: Evidence,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._living = living
        self._folders = folders
        self._settings = settings
        self._evidence = evidence
        self._clock = clock
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="export-folder")

    async def holders(self, request: ExportRequest) -> Holders:
        """As of the port."""
        found = await self._living.holders(request)
        present, away = {*found.present}, {*found.away}
        for name in self._folders.away():
            try:
                has_any = await self._has_any(name, request)
            except LiveedgeError:
                present.discard(name)
                away.add(name)
                continue
            away.discard(name)
            present = present | {name} if has_any else present - {name}
        return Holders(sorted(present), sorted(away))

    async def fetch(self, node: str, request: ExportRequest, path: Path, is_cancelled: Callable[[], bool]) -> bool:
        """As of the port."""
        for tries_left in range(TRIES - 1, -1, -1):
            process = self._folders.process(node)
            try:
                there = await self._there(node, request)
            except LiveedgeError as error:
                raise NodeAwayError(node, f"{node} is down, and its recordings cannot be read: {error}") from None
            if there is not None:
                return await self._build(there, request, path, is_cancelled)
            try:
                return await self._living.fetch(node, request, path, is_cancelled)
            except NodeAwayError:
                if not tries_left:
                    raise
            await self._settled(node, process, is_cancelled)
        raise NodeAwayError(node, f"{node} has come and gone while it made its part: export it again")

    async def _settled(self, node: str, process: str | None, is_cancelled: Callable[[], bool]) -> None:
        """Rule 2. ``process`` was lost."""
        until_s = time.monotonic() + LOST_S
        while self._folders.process(node) == process and time.monotonic() < until_s:
            if is_cancelled():
                raise CancelledExportError
            await asyncio.sleep(POLL_S)

    async def _has_any(self, name: str, request: ExportRequest) -> bool:
        for camera_id in request.cameras:
            there = await self._folders.of_span(name, camera_id, request.start_90k, request.end_90k)
            if there is None:
                return True  # it is back, and is asked
            if await there.reader.segments.page(
                camera_id, request.start_90k, request.end_90k, 1, None, request.rendition
            ):
                return True
        return False

    async def _there(self, name: str, request: ExportRequest) -> AwayNode | None:
        """Its recordings of all cameras; ``None``: it is alive. Raises ``LiveedgeError``."""
        there = None
        for camera_id in request.cameras:
            there = await self._folders.of_span(name, camera_id, request.start_90k, request.end_90k)
            if there is None:
                break
        return there

    async def _build(
        self, there: AwayNode, request: ExportRequest, path: Path, is_cancelled: Callable[[], bool]
    ) -> bool:
        index, key = there.archive.index, self._evidence.key
        build = ExportBuild(
            ExportJob(str(uuid.uuid4()), self._clock.wall_90k(), there.name, replace(request, is_part=True)),
            there.reader.segments,
            EventService(index, self._settings, self._clock, lambda: None),
            EvidenceReader(index, key),
            self._executor,
        )
        building: asyncio.Task[object] | None = None
        try:
            await build.plan()
            building = asyncio.create_task(build.build(path))
            while not (await asyncio.wait([building], timeout=POLL_S))[0]:
                build.is_cancelled = is_cancelled()
            await building
        except NotFoundError:
            return False
        finally:
            if building is not None and not building.done():
                build.is_cancelled = True
                with contextlib.suppress(LiveedgeError, CancelledExportError, OSError):
                    await building
            build.close()
        return True
