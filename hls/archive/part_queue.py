"""PartQueue: the parts that wait for a recording, from the event loop to its worker thread.

Rules:

1. It has at most ``max_parts`` parts and ``max_bytes`` of media.
2. Drop policy: when it is full, parts are dropped up to the next one that begins with a keyframe and fits. Their frames
   are counted; the part after the gap comes with the number.
3. Its reader wakes when a fragment is complete or a recording is over, not for each part: a hand-over to the worker
   thread costs as much as ten packets do.
"""

import asyncio
import contextlib
from collections import deque
from typing import NamedTuple

from hls.archive.segment import EndReason
from hls.parts.fragment_borders import FragmentBorders
from hls.parts.part import PartSamples

QUEUE_MAX_PARTS = 128
"""About 25 s: longer than any pause of a disk that works."""

QUEUE_MAX_BYTES = 64 * 1024 * 1024
"""Two of the largest GOPs."""


class QueuedPart(NamedTuple):
    """A part on its way to the file.

    ``lost`` is the number of frames that were dropped just before it. ``after``: why the recording before it is over;
    ``None`` if it goes on. ``is_start``: a recording may begin with it, also if it has no keyframe.
    """

    part: PartSamples
    lost: int = 0
    after: EndReason | None = None
    is_start: bool = False


Batch = list[QueuedPart]


class PartQueue:
    """See the module. One reader; :meth:`offer` on the same event loop."""

    def __init__(self, max_parts: int = QUEUE_MAX_PARTS, max_bytes: int = QUEUE_MAX_BYTES) -> None:
        self.dropped = 0
        """Frames dropped since the start."""
        self._max_parts = max_parts
        self._max_bytes = max_bytes
        self._parts: deque[QueuedPart] = deque()
        self._bytes = 0
        self._borders = FragmentBorders()
        self._skipped = 0
        self._skipped_after: EndReason | None = None
        self._is_closed = False
        self._wakeup = asyncio.Event()

    def offer(self, part: PartSamples) -> None:
        """Take a part or drop it."""
        self.put(QueuedPart(part))

    def put(self, item: QueuedPart) -> None:
        """As :meth:`offer`, of a part that is known to begin or to end something."""
        if self._is_closed:
            return
        part = item.part
        begins = part.is_keyframe or item.is_start
        size = part.size
        is_full = len(self._parts) >= self._max_parts or self._bytes + size > self._max_bytes
        self._skipped_after = self._skipped_after or item.after
        # A part larger than the bound is taken into an empty queue: otherwise it could never be read.
        if (is_full and self._parts) or (self._skipped and not begins):
            self._skipped += part.packets
            self.dropped += part.packets
            return
        # A keyframe completes the fragment before it.
        if self._borders.is_complete(part.duration_90k, is_keyframe=part.is_keyframe) or (begins and self._parts):
            self._wakeup.set()
        self._parts.append(item._replace(lost=self._skipped, after=self._skipped_after))
        self._skipped, self._skipped_after = 0, None
        self._bytes += size

    def wake(self) -> None:
        """Let the reader have what waits, or nothing."""
        self._wakeup.set()

    async def take(self, timeout_s: float) -> Batch | None:
        """All parts, when a fragment is complete, after ``timeout_s``, or when closed; then ``None`` if none is left.

        Empty if nothing came.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wakeup.wait()
        if not self._is_closed:
            self._wakeup.clear()
        batch = list(self._parts)
        self._parts.clear()
        self._bytes = 0
        return batch if batch or not self._is_closed else None

    def close(self) -> None:
        """Take no more parts. The reader gets those that wait."""
        self._is_closed = True
        self._wakeup.set()

    def __len__(self) -> int:
        return len(self._parts)
