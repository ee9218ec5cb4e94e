"""Rebuild what the index knows of the object storage, from the records there (:mod:`hls.archive.segment_record`).

It runs when the index knows nothing to be there: after ``DATA_DIR`` was lost, on another machine, or where the index
was damaged. Segments that the index has from their files are not uploaded again. A file in ``DATA_DIR`` says that it
has begun and not ended: where it fails, or the process ends, the next try goes on with what is missing.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import ParamSpec, TypeVar

from hls.archive import upload_table
from hls.archive.index import SegmentIndex
from hls.archive.segment import RecordedStream, SegmentWithFragments, rendition_of
from hls.archive.segment_record import RECORD_SUFFIX, read_record
from hls.archive.table import SegmentTable
from hls.archive.upload import Upload, UploadState, key_of
from hls.storage.client import ObjectStore

log = logging.getLogger(__name__)

UNFINISHED_NAME = "storage-restore"
"""The file in ``DATA_DIR``."""

P = ParamSpec("P")
T = TypeVar("T")


async def restore(store: ObjectStore, index: SegmentIndex, data_dir: Path, executor: Executor, part_size: int) -> None:
    """See the module. ``executor`` runs what blocks. Raises ``OSError`` and a ``LiveedgeError``, to be tried again."""

    async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, partial(function, *args, **kwargs))

    unfinished = data_dir / UNFINISHED_NAME
    if await index.call(upload_table.has_objects) and not await in_thread(unfinished.exists):
        return
    keys = await in_thread(list, records(store))
    if keys:
        await in_thread(unfinished.touch)
    count, streams = 0, set[RecordedStream]()
    for key in keys:
        path = PurePosixPath(key)
        upload = await index.call(upload_table.get, path.parts[0], path.stem)
        if upload is not None and upload.state is UploadState.UPLOADED:
            streams.add(RecordedStream(path.parts[0], rendition_of(path.stem)))
            continue
        found = await in_thread(read, store, key)
        if found is not None:
            is_local = await in_thread(found.segment.path(data_dir).exists)
            if await add(index, found, part_size, is_local=is_local):
                count += 1
                streams.add(found.segment.stream)
    await renumber(index, streams)
    await in_thread(unfinished.unlink, missing_ok=True)
    if count:
        log.info("archive: %d recordings of the object storage are in the index again", count)


def records(store: ObjectStore) -> Iterator[str]:
    """The keys of the records beside which there is an object of a segment. Blocking."""
    record = ""
    # Keys are listed in the order of their bytes: the record comes directly before its segment.
    for key in store.list_keys():
        path = PurePosixPath(key)
        if path.suffix == RECORD_SUFFIX:
            record = key
        elif path.suffix == ".mp4" and record == str(path.with_suffix(RECORD_SUFFIX)):
            yield record


def read(store: ObjectStore, key: str) -> SegmentWithFragments | None:
    """The segment of a record; ``None`` if it is none, or in a place that is not its own. Blocking."""
    found = read_record(store.read(key))
    if found is None or key_of(found.segment).removesuffix(".mp4") != key.removesuffix(RECORD_SUFFIX):
        log.warning("archive: %s in the object storage is not the record of a recording; it is not changed", key)
        return None
    return found


async def add(index: SegmentIndex, found: SegmentWithFragments, part_size: int, *, is_local: bool) -> bool:
    """Add a segment to the index, and that it is uploaded. Returns whether the index did not have it."""
    segment = found.segment
    is_new = await index.call(SegmentTable.add_if_missing, *found)
    known = None if is_new else await index.get(segment.camera_id, segment.name)
    if known is None or known.segment.size == segment.size:
        upload = Upload(part_size, UploadState.UPLOADED, is_local=is_local)
        await index.call(upload_table.save, segment, upload)
    return is_new


async def renumber(index: SegmentIndex, streams: set[RecordedStream]) -> None:
    """Number the segments of streams by time. Those that are recorded now keep their numbers."""
    for stream in streams:
        newest = await index.newest(*stream)
        known = newest if newest is not None and newest.sequence else None
        await index.call(SegmentTable.renumber, stream, known)
