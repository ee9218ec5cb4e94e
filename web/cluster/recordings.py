"""SharedIndex: tells the index that all nodes share what this node has recorded.

Theory of operation. Each node has an index of its own recordings. What is written there goes to the shared index too,
as soon as the database takes it. Of each moment of a camera, the shared index has one file at most: that of the owner
(:meth:`hls.cluster.recordings.ClusterRecordings.record`). What else was recorded is in it as a spare.

Rules:

1. A file has the epoch that this node had when it first told of it. One that was begun before a hand-over has that of
   the ownership that follows.
2. What the database has not taken stays here, the newest state of each file, :data:`WAITING_MAX` files at most. Beyond
   that, the oldest are left out until the next start. As many deleted files wait; of others, the rows stay.
3. A start tells of what was recorded since the newest file in the shared index, as spares: nobody knows any more
   whether this node was the owner. What it had told before keeps its place.
"""

import asyncio
import contextlib
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from gateway.camera_settings import RenditionName
from gateway.errors import LiveedgeError
from hls.archive.index import SegmentIndex
from hls.archive.segment import Segment, SegmentState
from web.cluster.service import Cluster

if TYPE_CHECKING:
    from hls.cluster.recordings import FoundFile

log = logging.getLogger(__name__)

WAITING_MAX = 20_000
"""A day of 100 cameras with two streams in files of 10 minutes, and as much again."""

BATCH = 16
"""Written in one transaction, each by a statement of its own: 0.7 s with 40 ms to the database, a third of
what a statement may take."""

INTERVAL_S = 1.0

PAGE = 500

File = tuple[str, str]
"""Camera and name of the segment."""


class SharedIndex:
    """See the module. Lives on the event loop."""

    def __init__(self, cluster: Cluster, index: SegmentIndex) -> None:
        self.dropped = 0
        """Files that were left out by rules 2 and 4."""
        self.spares = 0
        """Rows that were written as those of a former owner."""
        self._cluster = cluster
        self._index = index
        self._waiting: dict[File, Segment] = {}
        self._deleted: dict[File, None] = {}
        self._epochs: dict[File, int] = {}
        """Of the files that grow or wait."""
        self._task: asyncio.Task[None] | None = None
        # Here, because a gateway that is alone needs no dialect of PostgreSQL.
        from hls.cluster.recordings import ClusterRecordings

        self._recordings = ClusterRecordings(cluster.store)
        index.on_saved.append(self._saved)
        index.on_deleted.append(self._on_deleted)

    @property
    def waiting(self) -> int:
        """Files that the database has not taken yet."""
        return len(self._waiting) + len(self._deleted)

    def start(self) -> None:
        """Begin to tell."""
        self._task = asyncio.create_task(self._run(), name="cluster-index")

    async def close(self) -> None:
        """Tell what is left, as far as the database takes it at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            with contextlib.suppress(LiveedgeError):
                await self._tell()

    async def find(
        self, camera_id: str, start_90k: int | None, end_90k: int | None, limit: int, rendition: RenditionName | None
    ) -> "Sequence[FoundFile]":
        """What all nodes recorded in [start, end), oldest first. Raises :class:`~gateway.errors.StorageError`."""
        name = rendition.value if rendition is not None else None
        return await self._cluster.call(self._recordings.find, camera_id, start_90k, end_90k, limit, name)

    async def recorded_spans(
        self, camera_id: str, spans: Sequence[tuple[int, int]], nodes: Collection[str]
    ) -> Sequence[bool]:
        """For each span [start, end), whether one of the nodes recorded in it. Raises ``StorageError``."""
        return await self._cluster.call(self._recordings.recorded_spans, camera_id, spans, nodes)

    # --- what the index of this node writes

    def _saved(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            file = segment.camera_id, segment.name
            epoch = self._cluster.coordinator.owned.get(segment.camera_id, 0)
            self._epochs[file] = self._epochs.get(file) or epoch
            self._add(segment)

    def _add(self, segment: Segment) -> None:
        file = segment.camera_id, segment.name
        self._waiting.pop(file, None)
        self._waiting[file] = segment
        self._deleted.pop(file, None)
        while len(self._waiting) > WAITING_MAX:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            self._epochs.pop(oldest, None)
            self.dropped += 1

    def _on_deleted(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            file = segment.camera_id, segment.name
            self._waiting.pop(file, None)
            self._epochs.pop(file, None)
            if len(self._deleted) < WAITING_MAX:
                self._deleted[file] = None
            else:
                self.dropped += 1

    # --- the database

    async def _run(self) -> None:
        has_caught_up = False
        while True:
            try:
                if not has_caught_up:
                    await self._catch_up()
                    has_caught_up = True
                while self.waiting:
                    await self._tell()
            except LiveedgeError as error:
                log.debug("cluster: the shared index is written later: %s", error)
            except Exception as error:
                self._cluster.faults.add("the shared index could not be written", error)
            await asyncio.sleep(INTERVAL_S)

    async def _catch_up(self) -> None:
        """Rule 3."""
        newest: Mapping[str, int] = await self._cluster.call(self._recordings.newest, self._node_name)
        for usage in await self._index.usage():
            after, stream = None, usage.stream
            since_90k = newest.get(stream.camera_id)
            while True:
                page = await self._index.page(stream.camera_id, since_90k, None, PAGE, after, stream.rendition)
                for segment in page:
                    if (segment.camera_id, segment.name) not in self._waiting:
                        self._add(segment)
                if len(page) < PAGE:
                    break
                after = page[-1].start_90k, page[-1].name

    async def _tell(self) -> None:
        from hls.cluster.recordings import RecordedFile

        batch, deleted = list(self._waiting.items())[:BATCH], list(self._deleted)[:BATCH]
        rows = [
            (
                RecordedFile(
                    segment.camera_id,
                    segment.rendition.value,
                    self._node_name,
                    segment.name,
                    segment.start_90k,
                    segment.end_90k,
                    segment.size,
                ),
                self._epochs.get(file, 0),
            )
            for file, segment in batch
        ]
        written = await self._cluster.call(self._recordings.write, rows, self._node_name, deleted)
        self.spares += written.count(False)
        for file in deleted:
            self._deleted.pop(file, None)
        for file, segment in batch:
            if self._waiting.get(file) is segment:
                del self._waiting[file]
                if segment.state is not SegmentState.GROWING:
                    self._epochs.pop(file, None)

    @property
    def _node_name(self) -> str:
        return self._cluster.coordinator.node.name
