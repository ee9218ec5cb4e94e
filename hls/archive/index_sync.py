"""IndexSync: keeps the index equal to what is on disk.

Theory of operation. One task writes to the index what recorders have on disk: a new segment and a finished one at once,
the growing ones together, every :data:`INDEX_INTERVAL_S`, and less often the longer they are. Before each round it
checks the index. A damaged or missing index is set aside and a new one begun
(:meth:`hls.archive.database.Database.repair`). Recordings from then on are in it at once, and a second task adds the
older files one by one, while everything else goes on.

Rules:

1. Recording never waits for the index: what cannot be written stays with its recorder, up to a limit, and is written
   later.
2. The error of a failing index is in :attr:`IndexSync.error`, and the index is tried again without limit.
3. Files are read and never changed here, because an incomplete file may be growing. The next start repairs files.
4. A stream that is being recorded keeps its sequence numbers, and its older segments are numbered backwards from them,
   so that players of the recording continue.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import ParamSpec, TypeVar

from gateway.errors import LiveedgeError
from hls.archive.index import SegmentIndex
from hls.archive.recorder import StreamRecorder
from hls.archive.recovery import cameras_on_disk, files_on_disk, read_recording
from hls.archive.segment import RecordedStream, Segment, rendition_of
from hls.archive.table import SegmentTable

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)

INDEX_INTERVAL_S = 2.0
"""How far a growing segment's row may be behind its file, in seconds."""

GROWING_SHARE = 30
"""The same, as a share of its duration: a thirtieth. All its fragments are written each time."""


class IndexSync:
    """See the module. Lives on the event loop.

    ``check_data_dir`` raises :class:`~gateway.errors.StorageError` while the disk is missing. ``on_finished`` is called
    when the index has a segment that has ended.
    """

    def __init__(
        self,
        data_dir: Path,
        index: SegmentIndex,
        executor: Executor,
        recorders: Mapping[RecordedStream, StreamRecorder],
        check_data_dir: Callable[[], None],
        on_finished: Callable[[], None],
    ) -> None:
        self.error: str | None = None
        """Why the index cannot be written."""
        self.is_incomplete = False
        """Whether the index was rebuilt and does not have all files yet."""
        self.on_repaired: list[Callable[[], Awaitable[None]]] = []
        """Called after the index was opened again or rebuilt, and again where one of them raises ``LiveedgeError``."""
        self._is_told = True
        self.repairs = 0
        """Times that a damaged or missing index was opened again or rebuilt."""
        self._data_dir = data_dir
        self._index = index
        self._executor = executor
        self._recorders = recorders
        self._check_data_dir = check_data_dir
        self._on_finished = on_finished
        self._dirty = asyncio.Event()
        self._updating = asyncio.Lock()
        self._indexed: dict[RecordedStream, Segment] = {}
        self._adding: asyncio.Task[None] | None = None

    def on_progress(self, recorder: StreamRecorder) -> None:
        """A recorder has written to the disk. A new segment and a finished one go to the index at once."""
        indexed = self._indexed.get(recorder.stream)
        if recorder.closed or indexed is None or recorder.growing is None or indexed.name != recorder.growing[0].name:
            self._dirty.set()

    def remove_stream(self, stream: RecordedStream) -> None:
        """The stream is no longer recorded."""
        self._indexed.pop(stream, None)

    async def run(self) -> None:
        """Write to the index until cancelled."""
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(INDEX_INTERVAL_S):
                        await self._dirty.wait()
                self._dirty.clear()
                try:
                    await self._check_index()
                    for recorder in tuple(self._recorders.values()):
                        if recorder.closed:
                            await self.update(recorder)
                    await self._update_growing()
                    self.error = None
                except LiveedgeError as error:
                    if self.error is None:
                        log.warning("archive: %s; recording continues, and the index is tried again", error)
                    self.error = str(error)
                    await asyncio.sleep(INDEX_INTERVAL_S)
        finally:
            if self._adding is not None:
                self._adding.cancel()
                await asyncio.wait([self._adding])

    async def update(self, recorder: StreamRecorder) -> None:
        """Write what a recorder has on disk to the index. Raises :class:`~gateway.errors.LiveedgeError`."""
        async with self._updating:
            while recorder.closed:
                oldest = recorder.closed[0]
                segment, fragments = oldest
                await self._index.save(segment, fragments)
                self._indexed[recorder.stream] = segment
                # The recorder may have dropped it meanwhile, for a newer one.
                if recorder.closed and recorder.closed[0] is oldest:
                    recorder.closed.popleft()
                self._on_finished()
            growing = recorder.growing
            if growing is not None and self._indexed.get(recorder.stream) != growing[0]:
                await self._index.save(*growing)
                self._indexed[recorder.stream] = growing[0]

    async def _update_growing(self) -> None:
        async with self._updating:
            growing = [
                (stream, recorder.growing)
                for stream, recorder in self._recorders.items()
                if recorder.growing is not None and self._is_due(stream, recorder.growing.segment)
            ]
            if growing:
                await self._index.save_growing([each for _, each in growing])
            for stream, each in growing:
                if stream in self._recorders:
                    self._indexed[stream] = each.segment

    def _is_due(self, stream: RecordedStream, growing: Segment) -> bool:
        """Whether a growing segment's row is too far behind."""
        indexed = self._indexed.get(stream)
        if indexed is None or indexed.name != growing.name:
            return True
        if indexed.init_id != growing.init_id:
            return True
        behind_90k = growing.duration_90k - indexed.duration_90k
        return indexed is not growing and behind_90k >= growing.duration_90k // GROWING_SHARE

    async def _check_index(self) -> None:
        """Repair the index if it is damaged, and start to add missing files."""
        if not await self._index.call(_is_intact):
            await self._in_thread(self._check_data_dir)
            log.error("archive: the index is damaged or missing; it is checked and repaired")
            is_new = await self._index.call(SegmentTable.repair)
            if is_new:
                self._indexed.clear()
                self.is_incomplete = True
            self.repairs += 1
            self._is_told = False
        if not self._is_told:
            for listener in self.on_repaired:
                await listener()
            self._is_told = True
        if self.is_incomplete and (self._adding is None or self._adding.done()):
            self._adding = asyncio.create_task(self._add_missing(), name="archive-add-missing")

    async def _add_missing(self) -> None:
        """Add all files to the index that it does not have."""
        count = 0
        try:
            for camera_id in await self._in_thread(cameras_on_disk, self._data_dir):
                known = await self._index.call(SegmentTable.names, camera_id)
                added: Counter[RecordedStream] = Counter()
                for path in await self._in_thread(lambda name: list(files_on_disk(self._data_dir, name)), camera_id):
                    if path.stem in known or self._is_growing(camera_id, path.stem):
                        continue
                    recording = await self._in_thread(read_recording, path, camera_id)
                    if recording is not None and await self._index.call(SegmentTable.add_if_missing, *recording):
                        added[recording.segment.stream] += 1
                for stream in added:
                    await self._index.call(SegmentTable.renumber, stream, self._indexed.get(stream))
                count += added.total()
        except LiveedgeError as error:
            log.warning("archive: %s; the missing files are added later", error)
            return
        self.is_incomplete = False
        self._on_finished()
        log.info("archive: the index is complete again: %d files added", count)

    def _is_growing(self, camera_id: str, name: str) -> bool:
        recorder = self._recorders.get(RecordedStream(camera_id, rendition_of(name)))
        return recorder is not None and recorder.growing is not None and recorder.growing[0].name == name

    async def _in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))


def _is_intact(table: SegmentTable) -> bool:
    return table.is_open and not table.is_suspect and table.is_in_place()
