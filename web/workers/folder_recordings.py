"""FolderRecordings: the recordings of workers that are down, read in their folders by the others.

Theory of operation. A worker that has crashed, or hangs, or cannot start, has its recordings on the same disk. The
others read them there, as it would answer itself (:mod:`hls.archive.folder_archive`): its index says what there is, and
the index that all workers share, which is a little late, is not asked.

Rules:

1. A worker that is alive is asked itself. It is alive as long as its lease is, so a worker that hangs is read once
   others may take its cameras, and one that starts is read until it serves.
2. Nothing is written into its folder. Its retention, its protection of recordings and its signatures wait for it.
3. What is kept of a worker, which is some pictures, is forgotten when it is alive again.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.camera_settings import RenditionName
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.service import CaptureService
from hls.archive.folder_archive import FolderArchive
from hls.archive.recorded_days import recorded_spans
from hls.archive.segment import RecordedStream
from hls.playback.reader import ArchiveReader
from signaling.recordings import Recordings
from web.cluster.away_recordings import ROWS_MAX, AwayNode
from web.cluster.service import Cluster
from web.settings import Settings
from web.workers.worker import Worker, node_name, worker_number

MakeRecordings = Callable[[ArchiveReader, str], Recordings]


class FolderRecordings:
    """See the module. Implements :class:`web.cluster.away_recordings.AwayRecordings`. Lives on the event loop.

    ``settings`` are those of this worker. ``make_recordings`` makes lists of what a reader has, with the name of its
    node.
    """

    is_complete = True

    def __init__(
        self,
        cluster: Cluster,
        worker: Worker,
        settings: Settings,
        service: CaptureService,
        make_recordings: MakeRecordings,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._clock = clock
        self._cluster = cluster
        self._worker = worker
        self._settings = settings
        self._service = service
        self._make_recordings = make_recordings
        self._nodes: dict[str, AwayNode] = {}
        self._lock = asyncio.Lock()

    async def close(self) -> None:
        """As of the port."""
        for node in [await self._forget(name) for name in list(self._nodes)]:
            node.reader.close()

    def away(self) -> list[str]:
        """As of the port."""
        return [name for number in range(1, self._worker.count + 1) if self.is_away(name := node_name(number))]

    def is_away(self, name: str) -> bool:
        """As of the port. None is before this worker knows the others."""
        nodes = self._cluster.coordinator.view.nodes
        if not nodes or name == self._worker.name or any(node.name == name for node in nodes.values()):
            return False
        return any(name == node_name(number) for number in range(1, self._worker.count + 1))

    def process(self, name: str) -> str | None:
        """Which process a worker is; ``None``: it is down."""
        nodes = self._cluster.coordinator.view.nodes
        return next((node_id for node_id, node in nodes.items() if node.name == name), None)

    async def of_file(self, name: str, camera_id: str, segment: str) -> AwayNode | None:
        """As of the port, also where it does not have it: nobody else knows better."""
        return await self._node(name, camera_id)

    async def of_init(self, name: str, camera_id: str, init_id: str) -> AwayNode | None:
        """As of the port."""
        return await self._node(name, camera_id)

    async def of_span(
        self, name: str, camera_id: str, start_90k: int | None, end_90k: int | None, limit: int = ROWS_MAX
    ) -> AwayNode | None:
        """As of the port: it is all there."""
        return await self._node(name, camera_id)

    async def recorded_spans(
        self, name: str, camera_id: str, spans: Sequence[tuple[int, int]]
    ) -> Sequence[bool] | None:
        """As of the port."""
        node = await self._node(name, camera_id)
        if node is None:
            return None
        both = [
            await node.archive.index.call(recorded_spans, RecordedStream(camera_id, rendition), spans)
            for rendition in RenditionName
        ]
        left = node.archive.unindexed(camera_id)
        return [
            any(found) or any(segment.overlaps(*span) for segment, _ in left)
            for span, *found in zip(spans, *both, strict=True)
        ]

    async def _node(self, name: str, camera_id: str) -> AwayNode | None:
        """Its recordings as they are now, for an answer about a camera; ``None``: it is alive."""
        async with self._lock:
            for other in [each for each in self._nodes if not self.is_away(each)]:
                await self._forget(other)
            if not self.is_away(name):
                return None
            if name not in self._nodes:
                self._nodes[name] = await self._open(name)
            node = self._nodes[name]
        assert isinstance(node.archive, FolderArchive)
        await node.archive.refresh(camera_id)
        return node

    async def _open(self, name: str) -> AwayNode:
        settings = self._worker.beside(self._settings, worker_number(name))
        pictures = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="liveedge-pictures-"))
        archive = FolderArchive(settings, self._service, pictures, self._clock)
        reader = ArchiveReader(archive, self._service, self._clock)
        return AwayNode(name, settings.data_dir, archive, reader, self._make_recordings(reader, name))

    async def _forget(self, name: str) -> AwayNode:
        """What is being read goes on: its files are where they were, and a query has a connection of its own."""
        node = self._nodes.pop(name)
        await asyncio.to_thread(shutil.rmtree, node.archive.files.pictures, ignore_errors=True)
        return node
