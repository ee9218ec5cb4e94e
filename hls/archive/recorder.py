"""StreamRecorder: hands one stream's parts to its :class:`~hls.archive.recording.Recording`, on the event loop.

Theory of operation. The stream's :class:`~hls.parts.source.PartSource` puts parts into a bounded queue. A task takes
them from there, a fragment at a time, and hands them to the recording, which writes in a worker thread. The result,
what is on disk now, is passed on to the index.

A slow disk fills the queue, which drops parts up to the next keyframe and counts their frames. Live viewers never
notice a slow or broken disk.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock
from gateway.hub import PacketHub
from hls.archive.disk_error import DiskFault
from hls.archive.part_queue import PartQueue
from hls.archive.recording import Recording, SequenceNumbers, WriteResult
from hls.archive.segment import EndReason, SegmentWithFragments
from hls.archive.status import RecorderStatus
from hls.mp4.fragments import refusal
from hls.parts.source import PartSource

IDLE_S = 2.0
"""After this long without a part, the recorder checks whether the camera is still connected."""

UNINDEXED_MAX = 1000
"""Closed segments that wait for a failing index. Beyond that, the next start finds them on disk."""

T = TypeVar("T")


class StreamRecorder:
    """See the module. Lives on the event loop.

    ``is_live`` returns whether the camera may still send packets of the present run. ``on_progress`` is called whenever
    :attr:`growing` or :attr:`closed` has changed.
    """

    def __init__(
        self,
        hub: PacketHub,
        parts: PartSource,
        recording: Recording,
        executor: Executor,
        *,
        is_live: Callable[[], bool],
        on_progress: Callable[["StreamRecorder"], None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.stream = recording.stream
        self.growing: SegmentWithFragments | None = None
        """The open segment, as far as it is on disk."""
        self.closed: deque[SegmentWithFragments] = deque()
        """Finished segments that are not in the index yet, oldest first. At most :data:`UNINDEXED_MAX`."""
        self.stop_reason = EndReason.STOPPED
        self._hub = hub
        self._recording = recording
        self._executor = executor
        self._is_live = is_live
        self._on_progress = on_progress
        self._clock = clock
        self._parts = parts
        self._queue = PartQueue()
        self._detach = parts.attach(self._queue.offer)
        self._task: asyncio.Task[None] | None = None
        self._writing_since_s: float | None = None
        self._error: str | None = None
        self._fault: DiskFault | None = None
        self._bytes_before = 0
        self._segments_closed = 0
        self._gaps = 0
        self._unindexed_dropped = 0

    def start(self, numbers: SequenceNumbers) -> None:
        """Begin to record, with the parts since this object was made."""
        self._recording.numbers = numbers
        self._task = asyncio.create_task(self._run(), name=f"record-{self.stream.label}")

    async def close(self) -> None:
        """Write the queued parts and the frames that no part has yet, and finish the open segment."""
        rest = self._parts.open_samples()
        self._detach()
        if rest is not None:
            self._queue.offer(rest)
        self._queue.close()
        if self._task is not None:
            await asyncio.wait([self._task])
            self._task = None

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
            error=self._error or self._refusal(),
            disk_fault=self._fault,
        )

    def _refusal(self) -> str | None:
        """Why nothing is recorded although the camera is live."""
        info = self._hub.info
        return refusal(info, self.stream.label, "recording") if info is not None and self._is_live() else None

    async def _run(self) -> None:
        while (batch := await self._queue.take(IDLE_S)) is not None:
            if batch:
                await self._work(self._recording.write, batch)
            elif self.growing is not None and not self._is_live():
                self._parts.end_run()
                await self._work(self._recording.write, await self._queue.take(0.0) or [])
                await self._work(self._recording.finish, EndReason.CAMERA_LOST)
        await self._work(self._recording.finish, self.stop_reason)

    async def _work(self, function: Callable[[T], WriteResult], argument: T) -> None:
        """Call a method of the recording in a worker thread."""
        self._writing_since_s = self._clock.monotonic()
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._executor, function, argument)
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
        changed = bool(result.closed) or (result.growing and result.growing[0].size) != (
            self.growing and self.growing[0].size
        )
        self.growing = result.growing
        self._error, self._fault = result.error, result.fault
        if changed:
            self._on_progress(self)
