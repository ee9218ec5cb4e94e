"""StreamRecorder: hands one stream's parts to its :class:`~hls.archive.recording.Recording`, on the event loop.

Theory of operation. The stream's :class:`~hls.parts.source.PartSource` puts parts into a bounded queue. A task takes
them from there, a fragment at a time, and hands them to the recording, which writes in a worker thread. The result,
what is on disk now, is passed on to the index.

Where events decide what is recorded, an :class:`~hls.archive.event_gate.EventGate` is before the queue: the parts that
no event wants do not get there, and the open segment is finished when an event is over.

A slow disk fills the queue, which drops parts up to the next keyframe and counts their frames. Live viewers never
notice a slow or broken disk.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock
from gateway.hub import PacketHub
from hls.archive.baseline import Baseline
from hls.archive.disk_error import DiskFault
from hls.archive.event_gate import PRE_ROLL_MAX_BYTES, EventGate
from hls.archive.part_queue import QUEUE_MAX_BYTES, QUEUE_MAX_PARTS, Batch, PartQueue
from hls.archive.recording import Recording, SequenceNumbers, WriteResult
from hls.archive.segment import EndReason, SegmentWithFragments
from hls.archive.status import PreRollStatus, RecorderStatus
from hls.archive.write_pool import WritePool
from hls.mp4.fragments import refusal
from hls.parts.source import PartSource, SamplesSink

IDLE_S = 2.0
"""After this long without a part, the recorder checks whether the camera is still connected."""

UNINDEXED_MAX = 1000
"""Closed segments that wait for a failing index. Beyond that, the next start finds them on disk."""

EVENT_QUEUE_MAX_PARTS = 8192
"""The parts of a ``pre_roll`` come all at once: two minutes, of a camera that sends nothing but keyframes, at 60 a
second. The queue then has room for the bytes of that too."""

T = TypeVar("T")


class StreamRecorder:
    """See the module. Lives on the event loop.

    ``is_live`` returns whether the camera may still send packets of the present run. ``on_progress`` is called whenever
    :attr:`growing` or :attr:`closed` has changed. With ``pre_roll_s``, in seconds, events decide what is recorded,
    and :attr:`gate` gets their spans.
    """

    def __init__(
        self,
        hub: PacketHub,
        parts: PartSource,
        recording: Recording,
        writes: WritePool,
        *,
        is_live: Callable[[], bool],
        on_progress: Callable[["StreamRecorder"], None],
        clock: Clock = SYSTEM_CLOCK,
        pre_roll_s: float | None = None,
    ) -> None:
        self.stream = recording.stream
        self.growing: SegmentWithFragments | None = None
        """The open segment, as far as it is on disk."""
        self.closed: deque[SegmentWithFragments] = deque()
        """Finished segments that are not in the index yet, oldest first. At most :data:`UNINDEXED_MAX`."""
        self.stop_reason = EndReason.STOPPED
        self._hub = hub
        self._recording = recording
        self._writes = writes
        self._is_live = is_live
        self._on_progress = on_progress
        self._clock = clock
        self._parts = parts
        self.gate: EventGate | None = None
        self._offer: SamplesSink
        if pre_roll_s is None:
            self._queue = PartQueue()
            self._offer = self._queue.offer
        else:
            self._queue = PartQueue(QUEUE_MAX_PARTS + EVENT_QUEUE_MAX_PARTS, QUEUE_MAX_BYTES + PRE_ROLL_MAX_BYTES)
            self.gate = EventGate(self._queue.put, self._queue.wake, pre_roll_s)
            self._offer = self.gate.offer
        self._detach = parts.attach(self._offer)
        self._task: asyncio.Task[None] | None = None
        self._writing_since_s: float | None = None
        self._is_unfinished = False
        """Whether something was written since the last segment was finished."""
        self._on_disk_90k = 0
        self._error: str | None = None
        self._fault: DiskFault | None = None
        self._bytes_before = 0
        self._segments_closed = 0
        self._gaps = 0
        self._unindexed_dropped = 0

    def start(self, numbers: SequenceNumbers, baseline: Baseline) -> None:
        """Begin to record, with the parts since this object was made. ``baseline``: of the activity so far."""
        self._recording.numbers, self._recording.baseline = numbers, baseline
        self._task = asyncio.create_task(self._run(), name=f"record-{self.stream.label}")

    async def close(self) -> None:
        """Write the queued parts and the frames that no part has yet, and finish the open segment."""
        rest = self._parts.open_samples()
        self._detach()
        if rest is not None:
            self._offer(rest)
        self._queue.close()
        if self._task is not None:
            await asyncio.wait([self._task])
            self._task = None

    @property
    def settled_90k(self) -> int:
        """Everything from before this moment that is to be recorded is on the disk; 0 before the first part."""
        gate = self.gate
        is_writing = self._writing_since_s is not None or self._is_unfinished or len(self._queue) > 0
        if gate is None or gate.is_open or is_writing:
            return self._on_disk_90k
        return max(self._on_disk_90k, gate.seen_90k)

    def status(self) -> RecorderStatus:
        """The state at this moment."""
        growing = self.growing[0] if self.growing else None
        newest = self._hub.newest
        behind_90k = newest.captured_at_90k - growing.end_90k if growing and newest else 0
        # If the disk hangs before the segment's first fragment, only the clock shows it.
        blocked_s = self._clock.monotonic() - self._writing_since_s if self._writing_since_s is not None else 0.0
        return RecorderStatus(
            is_recording=growing is not None,
            segment=growing.name if growing else None,
            lag_s=max(0.0, behind_90k / CLOCK_RATE, blocked_s),
            bytes_written=self._bytes_before + (growing.size if growing else 0),
            segments_closed=self._segments_closed,
            gaps=self._gaps,
            packets_dropped=self._queue.dropped + self._recording.packets_dropped,
            audio_packets_dropped=self._recording.audio_packets_dropped,
            unindexed_dropped=self._unindexed_dropped,
            pre_roll=self._pre_roll(),
            error=self.error,
            disk_fault=self._fault,
        )

    def _pre_roll(self) -> PreRollStatus | None:
        gate = self.gate
        if gate is None:
            return None
        return PreRollStatus(
            seconds=round(gate.held_90k / CLOCK_RATE, 3), bytes=gate.size, packets_dropped=gate.dropped
        )

    @property
    def error(self) -> str | None:
        """Why nothing is recorded at present, by :meth:`status`."""
        return self._error or self._refusal()

    def _refusal(self) -> str | None:
        """Why nothing is recorded although the camera is live."""
        info = self._hub.info
        return refusal(info, self.stream.label, "recording") if info is not None and self._is_live() else None

    async def _run(self) -> None:
        while (batch := await self._queue.take(IDLE_S)) is not None:
            if batch:
                await self._write(batch)
            elif not self._is_live() and (self._is_unfinished or (self.gate is not None and self.gate.size)):
                self._parts.end_run()
                await self._write(await self._queue.take(0.0) or [])
                await self._finish(EndReason.CAMERA_LOST)
                if self.gate is not None:
                    self.gate.advance(self._clock.wall_90k())
            if self.gate is not None and not self.gate.is_open and not len(self._queue):
                await self._finish(EndReason.EVENT_ENDED)
        await self._finish(self.stop_reason)

    async def _write(self, batch: Batch) -> None:
        if batch:
            self._is_unfinished = True
            await self._work(self._recording.write, batch)

    async def _finish(self, reason: EndReason) -> None:
        if self._is_unfinished:
            await self._work(self._recording.finish, reason)
            self._is_unfinished = False

    async def _work(self, function: Callable[[T], WriteResult], argument: T) -> None:
        """Call a method of the recording in a worker thread."""
        self._writing_since_s = self._clock.monotonic()
        try:
            result = await self._writes.run(function, argument)
        finally:
            self._writing_since_s = None
        self._on_result(result)

    def _on_result(self, result: WriteResult) -> None:
        for segment, fragments in result.closed:
            if len(self.closed) >= UNINDEXED_MAX:
                self.closed.popleft()
                self._unindexed_dropped += 1
            self.closed.append(SegmentWithFragments(segment, fragments))
            self._bytes_before += segment.size
            self._segments_closed += 1
            self._gaps += not segment.continues
        newest = result.growing or (result.closed[-1] if result.closed else None)
        if newest is not None:
            self._on_disk_90k = newest[0].end_90k
        changed = bool(result.closed) or (result.growing and result.growing[0].size) != (
            self.growing and self.growing[0].size
        )
        self.growing = result.growing
        self._error, self._fault = result.error, result.fault
        if changed:
            self._on_progress(self)
