"""SharedUploads: tells the cluster of this node's unfinished uploads, so that another node can complete them.

Rules:

1. An upload never waits for this. The newest state of each waits here while the database is away, :data:`WAITING_MAX`
   segments at most; beyond that the oldest are left out, and counted.
2. A row is written when a part goes off, so that it has the fragments that are in that part: a part that the storage
   has is of use although the process that sent it ended in the same moment.
"""

import asyncio
import logging

from gateway.errors import LiveedgeError
from hls.archive.index import SegmentIndex
from hls.archive.segment import Segment, SegmentState, SegmentWithFragments
from hls.archive.storage import ArchiveStorage
from hls.archive.upload import Upload
from web.cluster.service import Cluster

log = logging.getLogger(__name__)

WAITING_MAX = 10_000

BATCH = 8
"""Rows of one transaction. A row of ten minutes with a fragment each half second has 50 kB."""

INTERVAL_S = 1.0

_Key = tuple[str, str]


class SharedUploads:
    """See the module. Lives on the event loop."""

    def __init__(self, cluster: Cluster, index: SegmentIndex, storage: ArchiveStorage) -> None:
        # Here, because a gateway that is alone needs no dialect of PostgreSQL.
        from hls.cluster.uploads import ClusterUploads

        self.dropped = 0
        """Uploads that were left out by rule 1."""
        node = cluster.coordinator.node
        self.table = ClusterUploads(cluster.store, node.name, node.id)
        self._cluster = cluster
        self._index = index
        self._waiting: dict[_Key, tuple[SegmentWithFragments, Upload] | None] = {}
        """``None``: the upload has ended."""
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        storage.uploader.on_progress.append(self.progressed)
        storage.uploader.on_ended.append(self.ended)

    def start(self) -> None:
        """Begin to tell."""
        self._task = asyncio.create_task(self._run(), name="cluster-uploads")

    async def close(self) -> None:
        """Stop, without what is waiting: another node needs to know nothing of what this one goes on with."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def progressed(self, recording: SegmentWithFragments, upload: Upload) -> None:
        """The state of an upload."""
        self._put(recording.segment, (recording, upload))

    def ended(self, segment: Segment) -> None:
        """An upload needs not be completed by anybody."""
        self._put(segment, None)

    def _put(self, segment: Segment, state: tuple[SegmentWithFragments, Upload] | None) -> None:
        key = segment.camera_id, segment.name
        self._waiting.pop(key, None)
        self._waiting[key] = state
        while len(self._waiting) > WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
            self.dropped += 1
        self._wanted.set()

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                while self._waiting:
                    await self._tell()
            except LiveedgeError as error:
                log.debug("cluster: the state of uploads is written later: %s", error)
                await self._again()
            except Exception as error:
                self._cluster.faults.add("the state of uploads could not be written", error)
                await self._again()

    async def _again(self) -> None:
        await asyncio.sleep(INTERVAL_S)
        self._wanted.set()

    async def _tell(self) -> None:
        batch = dict(list(self._waiting.items())[:BATCH])
        uploads: list[tuple[SegmentWithFragments, Upload]] = []
        ended = [key for key, state in batch.items() if state is None]
        for key, state in batch.items():
            if state is None:
                continue
            recording, upload = state
            if recording.segment.state is not SegmentState.GROWING:
                found = await self._index.get(*key)
                if found is None:
                    ended.append(key)
                    continue
                recording = found
            uploads.append((recording, upload))
        await self._cluster.call(self.table.write, uploads, ended)
        for key, state in batch.items():
            if self._waiting.get(key, ()) is state:
                del self._waiting[key]
