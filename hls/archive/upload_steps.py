"""UploadSteps: the steps of one upload to the object storage, as :func:`~hls.archive.upload.next_step` names them.

Rules:

1. An object is uploaded when the storage has checked each part against its MD5 and the whole has the size of the file.
2. Where the file is lost, the object is made of the parts that the storage has.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from gateway.clock import Clock
from hls.archive import activity_table
from hls.archive.index import SegmentIndex
from hls.archive.segment import Segment, SegmentState, SegmentWithFragments
from hls.archive.segment_record import record_key, write_record
from hls.archive.table import SegmentTable
from hls.archive.upload import Begin, Complete, PutPart, Step, Upload, UploadState, key_of
from hls.archive.upload import without_file as cut_to_parts
from hls.archive.upload_rate import UploadRate
from hls.storage.client import ObjectStore, PartDone
from hls.storage.errors import ObjectStoreError, StoreFault

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class UploadCounts:
    """What was done since the start."""

    parts: int = 0
    size: int = 0
    segments: int = 0
    objects_deleted: int = 0
    uploads_aborted: int = 0


class UploadSteps:
    """See the module. Lives on the event loop.

    ``rate_bps`` is for all uploads together. ``check_data_dir`` raises ``StorageError`` while the disk is missing;
    ``on_deleted`` is called with the key of an object that was deleted.
    """

    def __init__(
        self,
        store: ObjectStore,
        data_dir: Path,
        index: SegmentIndex,
        executor: ThreadPoolExecutor,
        clock: Clock,
        rate_bps: int | None,
        check_data_dir: Callable[[], None],
        on_deleted: Callable[[str], None],
    ) -> None:
        self.counts = UploadCounts()
        self._store = store
        self._data_dir = data_dir
        self._index = index
        self._executor = executor
        self._clock = clock
        self._rate = UploadRate(rate_bps)
        self._check_data_dir = check_data_dir
        self._on_deleted = on_deleted

    async def do(self, recording: SegmentWithFragments, upload: Upload, step: Step) -> Upload:
        """One step. Returns the upload then. Raises ``OSError`` of the disk, and ``ObjectStoreError``."""
        segment, name = recording.segment, key_of(recording.segment)
        if isinstance(step, Begin):
            return replace(upload, upload_id=await self.in_thread(self._store.begin, name), parts=(), head="")
        assert upload.upload_id is not None
        if isinstance(step, PutPart):
            await asyncio.sleep(self._rate.take(step.size, self._clock.monotonic()))
            data = await self.in_thread(_read, segment.path(self._data_dir), step.offset, step.size)
            part = await self._put(name, upload.upload_id, step.number, data)
            self.counts.parts += 1
            self.counts.size += len(data)
            return upload.with_part(part, step.head)
        return await self._complete(segment, upload, step)

    async def _put(self, name: str, upload_id: str, number: int, data: bytes) -> PartDone:
        try:
            return await self.in_thread(self._store.put_part, name, upload_id, number, data)
        except ObjectStoreError as error:
            if error.fault is StoreFault.AWAY and error.answer:
                # Some servers answer 500 where they have forgotten the upload. This asks them.
                await self.in_thread(self._store.parts, name, upload_id)
            raise

    async def _complete(self, segment: Segment, upload: Upload, step: Complete) -> Upload:
        """Rule 1."""
        key = key_of(segment)
        assert upload.upload_id is not None
        try:
            await self.in_thread(self._store.complete, key, upload.upload_id, step.parts)
        except ObjectStoreError as error:
            if error.fault not in (StoreFault.NO_UPLOAD, StoreFault.NO_OBJECT):
                raise
            # A process that ended before it said so, or another node, may have completed it.
            if await self.in_thread(self._store.size, key) != step.size:
                raise
        if await self.in_thread(self._store.size, key) != step.size:
            raise ObjectStoreError(StoreFault.NO_UPLOAD)
        found = await self._index.get(segment.camera_id, segment.name)
        if found is not None:
            activity = await self._index.call(activity_table.of_segment, segment)
            record = write_record(found.segment, found.fragments, activity)
            path = record_key(segment.camera_id, segment.name)
            await self.in_thread(self._store.put, path, record, "application/json")
        return replace(upload, state=UploadState.UPLOADED, upload_id=None, parts=())

    async def without_file(self, segment: Segment, upload: Upload) -> Upload:
        """The upload of a segment whose file is lost (rule 2)."""
        await self.in_thread(self._check_data_dir)
        if segment.state is SegmentState.GROWING or upload.upload_id is None:
            raise FileNotFoundError(f"{segment.name} has no file")
        key = key_of(segment)
        parts = await self.in_thread(self._store.parts, key, upload.upload_id)
        # The index says which of them belong together: a part may be of a first try that ended differently.
        known = {part.number: part for part in upload.parts}
        present = tuple(part for part in parts if part.number not in known or known[part.number].size == part.size)
        told = replace(upload, parts=present)
        found = await self._index.get(segment.camera_id, segment.name)
        cut = cut_to_parts(segment, found.fragments, told) if found is not None else None
        if cut is None:
            await self.abort(segment, upload)
            await self._index.call(SegmentTable.remove, segment.camera_id, segment.name)
            return Upload(upload.part_size)
        log.warning(
            "archive: the file of %s of camera %s is lost; its first %d bytes are in the object storage",
            segment.name,
            segment.camera_id,
            cut[0].size,
        )
        await self._index.save(*cut)
        whole = [part for number, part in enumerate(told.parts, 1) if part.number == number]
        done = await self._complete(cut[0], told, Complete(tuple(whole), told.size))
        return replace(done, is_local=False)

    async def abort(self, segment: Segment, upload: Upload) -> None:
        """Have the storage forget the parts of an upload that has begun."""
        if upload.upload_id is not None:
            await self.in_thread(self._store.abort, key_of(segment), upload.upload_id)

    async def delete(self, segment: Segment, upload: Upload) -> None:
        """Delete all that the storage has of a segment."""
        await self.abort(segment, upload)
        for key in (key_of(segment), record_key(segment.camera_id, segment.name)):
            await self.in_thread(self._store.delete, key)
            self._on_deleted(key)

    async def in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function that waits for the storage or the disk."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))


def _read(path: Path, offset: int, size: int) -> bytes:
    """Raises ``OSError``, also for a file that is shorter."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)
    if len(data) != size:
        raise OSError(f"{path.name} is shorter than its index says")
    return data
