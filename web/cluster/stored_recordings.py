"""StoredRecordings: what a node that is away has uploaded, read from its folder of the object storage.

Theory of operation. The record of a segment is beside its object (:mod:`hls.archive.segment_record`). The records that
a request needs are read once, and put into an index of their own, in a temporary folder: one for each node that is
away. Playlists, ranges, clips and pictures are then made of it as of this node's own recordings.

Rules:

1. Nothing in the folder of another node is written or deleted. Retention is that node's own.
2. Which segments there are says the index of all recordings; a segment without a record is not uploaded. A file that a
   request names is looked up in the storage itself.
3. A node that is alive again is asked itself: what was read of its folder is forgotten.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from hls.archive import storage_restore
from hls.archive.segment import SegmentWithFragments, parse_name
from hls.archive.segment_files import SegmentFiles
from hls.archive.segment_record import record_key
from hls.archive.service import Archive
from hls.archive.storage import ArchiveStorage
from hls.archive.upload import PART_BYTES
from hls.playback.reader import ArchiveReader
from hls.settings import ArchiveSettings
from hls.storage.block_cache import BlockCache
from hls.storage.client import ObjectStore
from hls.storage.errors import ObjectStoreError, StoreFault
from signaling.recordings import Recordings
from web.cluster.away_recordings import ROWS_MAX, AwayNode
from web.cluster.recordings import SharedIndex
from web.cluster.service import Cluster

BATCH = 16
"""Records that are read at a time."""

READ_S = 10.0
"""What is not read by then is left to the next request."""


@dataclass(frozen=True, slots=True)
class StoredNode(AwayNode):
    """``known``: camera and name of the segments that were looked up."""

    known: set[tuple[str, str]] = field(default_factory=set)


class StoredRecordings:
    """See the module. Lives on the event loop. ``archive`` is this node's, and ``settings`` are its.

    Implements :class:`web.cluster.away_recordings.AwayRecordings`.

    ``make_recordings`` makes lists of what a reader has, with the name of its node.
    """

    is_complete = False

    def __init__(
        self,
        cluster: Cluster,
        index: SharedIndex,
        archive: Archive,
        storage: ArchiveStorage,
        settings: ArchiveSettings,
        make_recordings: Callable[[ArchiveReader, str], Recordings],
    ) -> None:
        self._make_recordings = make_recordings
        self._cluster = cluster
        self._index = index
        self._archive = archive
        self._settings = settings
        self._store = storage.store
        self._blocks = BlockCache(self._read_block, settings.archive_cache_bytes, archive.clock)
        self._threads = ThreadPoolExecutor(BATCH, thread_name_prefix="cluster-stored")
        self._nodes: dict[str, StoredNode] = {}
        self._lock = asyncio.Lock()
        self._seen: set[str] = set()
        """The names of nodes that were alive: the database is asked for those that are not every ten seconds only."""

    async def close(self) -> None:
        """As of the port."""
        for name, node in list(self._nodes.items()):
            await self._forget(name)
            node.reader.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def away(self) -> list[str]:
        """As of the port."""
        names = self._seen | {each.name for each in self._cluster.absent}
        return sorted(filter(self.is_away, names))

    def is_away(self, name: str) -> bool:
        """As of the port."""
        view, own = self._cluster.coordinator.view, self._cluster.coordinator.node
        is_alive = any(node.name == name for node in view.nodes.values())
        self._seen.update(node.name for node in view.nodes.values())
        is_known = name in self._seen or any(each.name == name for each in self._cluster.absent)
        return name != own.name and not is_alive and is_known

    async def of_file(self, name: str, camera_id: str, segment: str) -> StoredNode | None:
        """The recordings of a node that is away, if it has uploaded a segment. Raises ``StorageError``."""
        if parse_name(segment) is None or not self.is_away(name):
            return None
        node = await self._node(name)
        await self._add(node, camera_id, [segment])
        return node if (camera_id, segment) in node.known else None

    async def of_init(self, name: str, camera_id: str, init_id: str) -> StoredNode | None:
        """The recordings of a node that is away, if one of them has this init segment. Raises ``StorageError``."""
        if not self.is_away(name):
            return None
        node = await self._node(name)
        if await node.archive.index.with_init(camera_id, init_id, None, None) is None:
            await self.of_span(name, camera_id, None, None)
        return node

    async def of_span(
        self, name: str, camera_id: str, start_90k: int | None, end_90k: int | None, limit: int = ROWS_MAX
    ) -> StoredNode | None:
        """The recordings of a node that is away, with what it uploaded of a span; ``None``: it is alive.

        Raises ``StorageError``.
        """
        if not self.is_away(name):
            return None
        node = await self._node(name)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READ_S):
                rows = await self._index.find(camera_id, start_90k, end_90k, ROWS_MAX, None)
                names = [row.file.name for row in rows if row.file.node_name == name]
                await self._add(node, camera_id, names[:limit])
        return node

    async def recorded_spans(
        self, name: str, camera_id: str, spans: Sequence[tuple[int, int]]
    ) -> Sequence[bool] | None:
        """As of the port. Of its last files, not all may be uploaded."""
        return await self._index.recorded_spans(camera_id, spans, [name]) if self.is_away(name) else None

    # --- the nodes

    async def _node(self, name: str) -> StoredNode:
        async with self._lock:
            for other in [each for each in self._nodes if not self.is_away(each)]:
                await self._forget(other)
            if name not in self._nodes:
                self._nodes[name] = await self._open(name)
            return self._nodes[name]

    async def _open(self, name: str) -> StoredNode:
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="liveedge-stored-"))
        changed = {"data_dir": folder, "archive_url": None, "database_url": None, "archive_metadata": None}
        archive = Archive(self._settings.model_copy(update=changed), self._archive.service, self._archive.clock)
        archive.files = SegmentFiles(folder, self._blocks, f"{name}/")
        archive.files.executor = self._threads
        await archive.index.open()
        reader = ArchiveReader(archive, self._archive.service, self._archive.clock)
        return StoredNode(name, folder, archive, reader, self._make_recordings(reader, name))

    async def _forget(self, name: str) -> None:
        """What is being read goes on: it needs neither the index nor the folder."""
        node = self._nodes.pop(name)
        await node.archive.index.close()
        await asyncio.to_thread(shutil.rmtree, node.folder, ignore_errors=True)

    # --- the storage

    def _read_block(self, name: str, start: int, end: int) -> bytes:
        node, _, key = name.partition("/")
        return self._store.beside(node).read(key, start, end)

    async def _add(self, node: StoredNode, camera_id: str, names: Sequence[str]) -> None:
        wanted = [name for name in names if (camera_id, name) not in node.known]
        store, index, loop = self._store.beside(node.name), node.archive.index, asyncio.get_running_loop()
        streams = set()
        for at in range(0, len(wanted), BATCH):
            batch = wanted[at : at + BATCH]
            read = (loop.run_in_executor(self._threads, _read, store, record_key(camera_id, name)) for name in batch)
            for name, found in zip(batch, await asyncio.gather(*read), strict=True):
                if found is not None:
                    await storage_restore.add(index, found, PART_BYTES, is_local=False)
                    streams.add(found.segment.stream)
                    node.known.add((camera_id, name))
        if streams:
            await storage_restore.renumber(index, streams)


def _read(store: ObjectStore, key: str) -> SegmentWithFragments | None:
    try:
        return storage_restore.read(store, key)
    except ObjectStoreError as error:
        if error.fault is StoreFault.NO_OBJECT:
            return None
        raise
