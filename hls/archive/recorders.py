"""Recorders: the recorder of each stream that is recorded, from its start to its end.

Rules:

1. A stream has a recorder while its settings say that it is recorded, and this process captures it.
2. A recorder begins when the index has told the newest segment of its stream. Until then, its queue keeps the newest
   packets.
3. A recorder that ends leaves finished files. Where the index fails, the next start adds them.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from prometheus_client import Histogram

from gateway.camera import Camera
from gateway.camera_settings import CameraSettings, RecordMode, RenditionName
from gateway.clock import CLOCK_RATE, Clock
from gateway.errors import LiveedgeError
from gateway.latency import latency_histogram, remove_series
from gateway.rendition import Rendition
from gateway.session import SessionState
from hls.archive import activity_table
from hls.archive.event_gate import Span
from hls.archive.index import SegmentIndex
from hls.archive.index_sync import INDEX_INTERVAL_S, IndexSync
from hls.archive.recorder import StreamRecorder
from hls.archive.recording import Recording, SequenceNumbers
from hls.archive.segment import RecordedStream, SegmentWithFragments
from hls.archive.status import RecorderStatus
from hls.archive.write_pool import WritePool
from hls.parts.source import PartSource
from hls.settings import needs_new_recorder, recording_settings

log = logging.getLogger(__name__)

BEGIN_S = 1.0
"""How long stopping a recorder waits for its start."""


class Recorders:
    """See the module. Lives on the event loop.

    ``by_stream`` is shared with the ``index_sync``. ``parts_of`` gives the parts of a stream; ``check_data_dir`` raises
    ``StorageError`` while the disk is missing; ``on_progress`` is called when a recorder has written to the disk or
    failed to. ``has_storage``: older segments may be found in the object storage, later.
    """

    def __init__(
        self,
        data_dir: Path,
        index: SegmentIndex,
        by_stream: dict[RecordedStream, StreamRecorder],
        index_sync: IndexSync,
        writes: WritePool,
        clock: Clock,
        parts_of: Callable[[Rendition], PartSource],
        check_data_dir: Callable[[], None],
        on_progress: Callable[[StreamRecorder], None],
        *,
        has_storage: bool,
    ) -> None:
        self.by_stream = by_stream
        self.sync_s: Histogram = latency_histogram(
            "liveedge_archive_fsync_seconds", "How long the disk takes to keep a fragment", ["camera", "rendition"]
        )
        self._data_dir = data_dir
        self._index = index
        self._index_sync = index_sync
        self._writes = writes
        self._clock = clock
        self._parts_of = parts_of
        self._check_data_dir = check_data_dir
        self._on_progress = on_progress
        self._has_storage = has_storage
        self._starting: dict[RecordedStream, asyncio.Task[None]] = {}
        self._event_spans: dict[str, Sequence[Span]] = {}

    # --- lifetime

    def add_camera(self, camera: Camera) -> None:
        """Start to record those streams of a camera whose settings say so (rule 1)."""
        if not camera.is_own:
            return
        for rendition in camera.renditions.values():
            self._add(rendition)

    async def change_camera(self, before: CameraSettings, camera: Camera) -> None:
        """Begin new recorders where a change of the camera's settings requires it."""
        for name in RenditionName:
            if needs_new_recorder(before.rendition(name), camera.settings.rendition(name)):
                await self._remove(RecordedStream(camera.id, name))
        self.add_camera(camera)
        for recorder in self.of(camera.id):
            if recorder.gate is not None:
                recorder.gate.set_pre_roll(recording_settings(camera.settings).pre_roll)

    async def remove_camera(self, camera_id: str) -> None:
        """Finish the camera's segments and stop recording."""
        await asyncio.gather(*(self._remove(RecordedStream(camera_id, name)) for name in RenditionName))

    async def close(self) -> None:
        """Finish all segments."""
        await asyncio.gather(*(self._remove(stream) for stream in tuple(self.by_stream)))

    def set_event_spans(self, camera_id: str, spans: Sequence[Span]) -> None:
        """See :meth:`hls.archive.service.Archive.set_event_spans`."""
        if spans:
            self._event_spans[camera_id] = spans
        else:
            self._event_spans.pop(camera_id, None)
        for recorder in self.of(camera_id):
            if recorder.gate is not None:
                recorder.gate.set_spans(spans)

    def _add(self, rendition: Rendition) -> None:
        stream = RecordedStream(rendition.camera_id, rendition.name)
        if rendition.settings.record is RecordMode.NEVER or stream in self.by_stream:
            return
        settings = recording_settings(rendition.settings)
        recording = Recording(
            stream.camera_id,
            self._data_dir,
            settings.archive_segment_seconds,
            settings.archive_fsync,
            self._check_data_dir,
            self.sync_s.labels(stream.camera_id, stream.rendition.value),
            self._clock,
            stream.rendition,
        )
        recorder = StreamRecorder(
            rendition.hub,
            self._parts_of(rendition),
            recording,
            self._writes,
            is_live=lambda: rendition.session.state is SessionState.LIVE,
            on_progress=self._on_progress,
            clock=self._clock,
            pre_roll_s=settings.pre_roll if rendition.settings.record is RecordMode.EVENTS else None,
        )
        if recorder.gate is not None:
            recorder.gate.set_spans(self._event_spans.get(stream.camera_id, ()))
        self.by_stream[stream] = recorder
        self._starting[stream] = asyncio.create_task(self._start(recorder), name=f"record-{stream.label}")

    async def _remove(self, stream: RecordedStream) -> None:
        recorder = self.by_stream.get(stream)
        starting = self._starting.pop(stream, None)
        if recorder is None:
            return
        if starting is not None:
            # It may wait for a failing index; then the packets in the recorder's queue are lost.
            await asyncio.wait([starting], timeout=BEGIN_S)
            starting.cancel()
        await recorder.close()
        try:
            await self._index_sync.update(recorder)
        except LiveedgeError as error:
            log.warning("archive: %s; the next start adds the camera's last files to the index", error)
        self.by_stream.pop(stream, None)
        remove_series(self.sync_s, stream.camera_id, stream.rendition.value)
        self._index_sync.remove_stream(stream)

    async def _start(self, recorder: StreamRecorder) -> None:
        """Start a recorder, with the sequence numbers after those of the stream's newest segment (rule 2)."""
        while True:
            try:
                newest = await self._index.newest(*recorder.stream)
                baseline = await self._index.call(activity_table.baseline, recorder.stream)
                break
            except LiveedgeError as error:
                self._index_sync.error = str(error)
                await asyncio.sleep(INDEX_INTERVAL_S)
        numbers = SequenceNumbers.after(newest)
        if self._has_storage and (newest is None or not newest.sequence):
            # What is in the storage may be found later, and gets the numbers before these.
            numbers = SequenceNumbers(*(2 * [self._clock.wall_90k() // CLOCK_RATE]))
        recorder.start(numbers, baseline)

    # --- state

    def of(self, camera_id: str, rendition: RenditionName | None = None) -> list[StreamRecorder]:
        """The recorders of a camera's streams, or of one of them; that of the main stream first."""
        names = RenditionName if rendition is None else (rendition,)
        streams = (RecordedStream(camera_id, name) for name in names)
        return [self.by_stream[stream] for stream in streams if stream in self.by_stream]

    def statuses(self) -> Iterator[tuple[RecordedStream, RecorderStatus]]:
        """The status of each recorder."""
        for stream, recorder in self.by_stream.items():
            status = recorder.status()
            yield stream, status.model_copy(update={"error": status.error or self._index_sync.error})

    def unindexed(self, camera_id: str, rendition: RenditionName | None) -> list[SegmentWithFragments]:
        """See :meth:`hls.archive.service.Archive.unindexed`."""
        found = []
        for recorder in self.of(camera_id, rendition):
            found += [*recorder.closed, *([recorder.growing] if recorder.growing else [])]
        return found

    def growing(self) -> list[SegmentWithFragments]:
        """All segments that are being recorded, as far as they are on disk."""
        return [recorder.growing for recorder in self.by_stream.values() if recorder.growing is not None]
