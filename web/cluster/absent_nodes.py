"""AbsentNodes: what a node does for those that are away: it completes their uploads, and forgets them at last.

Rules (:mod:`hls.cluster.uploads`):

1. What an absent node was uploading is completed from the parts that the storage has, copied to the folder of this
   node, and put into its index. Nothing in the folder of the absent node is deleted or changed: if it comes back with
   its disk, it uploads its whole file.
2. Uploads of an earlier process of this node that neither the index nor the disk of this one knows are completed too.
3. While the storage or the database does not answer, it is tried again.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import LiveedgeError
from hls.archive import orphan as orphans
from hls.archive import storage_restore, upload_table
from hls.archive.index import SegmentIndex
from hls.archive.segment import NAME_SUFFIX_MAX, Segment, segment_name
from hls.archive.storage import ArchiveStorage
from hls.archive.upload import UploadState
from web.cluster.service import Cluster
from web.cluster.uploads import SharedUploads

if TYPE_CHECKING:
    from pathlib import Path

    from hls.cluster.uploads import Orphan

log = logging.getLogger(__name__)

INTERVAL_S = 10.0

ADOPTED_MAX = 4
"""Uploads that are completed one after the other before the database is asked again."""


@dataclass(frozen=True, slots=True)
class Storage:
    """What is needed to complete uploads."""

    data_dir: "Path"
    storage: ArchiveStorage
    uploads: SharedUploads


class AbsentNodes:
    """See the module. Lives on the event loop. ``storage`` is ``None`` without ``ARCHIVE_URL``."""

    def __init__(self, cluster: Cluster, index: SegmentIndex, storage: Storage | None) -> None:
        from hls.cluster.uploads import ClusterUploads

        self.adopted = 0
        """Uploads that were completed for another process."""
        node = cluster.coordinator.node
        self._table = ClusterUploads(cluster.store, node.name, node.id)
        self._cluster = cluster
        self._index = index
        self._storage = storage
        self._node_name = node.name
        self._error: str | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="cluster-absent-nodes")

    async def close(self) -> None:
        """Stop. What is unfinished is done by another node, or later."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            try:
                self._cluster.known_absent = await self._cluster.call(self._table.absent)
                while await self._cluster.call(self._table.forget):
                    pass
                if self._storage is not None:
                    for orphan in await self._cluster.call(self._table.adopt, ADOPTED_MAX):
                        await self._adopt(orphan, self._storage)
                self._error = None
            except LiveedgeError as error:
                if self._error != str(error):
                    log.warning("cluster: what absent nodes were uploading is completed later: %s", error)
                self._error = str(error)
            except Exception as error:
                self._cluster.faults.add("what an absent node was uploading could not be completed", error)
            await asyncio.sleep(INTERVAL_S)

    async def _adopt(self, orphan: "Orphan", at: Storage) -> None:
        segment = orphan.found.segment
        if orphan.node_name == self._node_name and await self._is_known(segment, at):
            return
        own = at.storage.store
        theirs = own.beside(orphan.node_name)
        found = await asyncio.to_thread(orphans.complete, theirs, orphan.found, orphan.upload)
        if found is None:
            log.warning(
                "cluster: nothing of %s of camera %s, which %s recorded, is in the object storage",
                *(segment.name, segment.camera_id, orphan.node_name),
            )
            await self._cluster.call(self._table.adopted, orphan, None)
            return
        name = await self._free_name(found.segment)
        taken = await asyncio.to_thread(orphans.take, theirs, own, found, name)
        await storage_restore.add(self._index, taken, orphan.upload.part_size, is_local=False)
        await storage_restore.renumber(self._index, {taken.segment.stream})
        await self._cluster.call(self._table.adopted, orphan, taken.segment)
        self.adopted += 1
        log.info(
            "cluster: %s of camera %s, which %s recorded, is completed from the object storage: %d bytes",
            *(segment.name, segment.camera_id, orphan.node_name, taken.segment.size),
        )

    async def _is_known(self, segment: Segment, at: Storage) -> bool:
        """Whether the uploader of this process goes on with it, or will when the index has it again."""
        found = await self._index.get(segment.camera_id, segment.name)
        if found is None:
            return await asyncio.to_thread(segment.path(at.data_dir).exists)
        upload = await self._index.call(upload_table.get, segment.camera_id, segment.name)
        if upload is None or upload.state is UploadState.UPLOADED:
            at.uploads.ended(segment)
        else:
            at.uploads.progressed(found, upload)
        return True

    async def _free_name(self, segment: Segment) -> str:
        names = [segment.name]
        names += [segment_name(segment.start_90k, number, segment.rendition) for number in range(1, NAME_SUFFIX_MAX)]
        for name in names:
            known = await self._index.get(segment.camera_id, name)
            # The same one: an earlier try ended after it was in the index.
            if known is None or (known.segment.start_90k, known.segment.size) == (segment.start_90k, segment.size):
                return name
        return names[-1]
