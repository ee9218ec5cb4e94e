"""EventGate: which parts of a stream are recorded, where events decide that (``record = "events"``).

Theory of operation. The parts of a stream come to the gate. Those of a span that an event wants go on to the queue of
the recorder, which writes them as it writes any others. The rest stays in memory for a while, since events are mostly
heard of after they have begun, and what happened before is mostly the reason.

Rules:

1. A GOP is recorded as a whole if a span wants any moment of it. So a recording begins with the keyframe before its
   span, and ends with the last frame before a keyframe.
2. In memory are the GOPs of the last ``keep_90k`` and the one before, at most :data:`PRE_ROLL_MAX_BYTES`. Drop policy:
   the oldest GOP, as a whole. The frames that are dropped for their bytes are counted. A GOP that is larger alone is
   dropped up to the next keyframe.
3. Parts go out once and in order. Older GOPs that nothing wanted by then are given up: a span that is heard of later
   gets what is newer than that.
4. Where no keyframe comes for :data:`~hls.archive.recording.GRACE_90K`, the camera sends none (intra refresh), and any
   part begins a GOP.
5. A clock that was set back ends what is in memory: its dates are those of another clock.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.clock import CLOCK_RATE
from hls.archive.part_queue import QueuedPart
from hls.archive.recording import GRACE_90K
from hls.archive.segment import EndReason
from hls.parts.part import PartSamples

PRE_ROLL_MAX_BYTES = 64 * 1024 * 1024
"""15 s of 34 Mbit/s; 2 minutes of 4 Mbit/s."""

LATE_S = 5.0
"""How much later than it begins an event may be heard of, and still have all of its ``pre_roll``."""

BACK_90K = 2 * CLOCK_RATE
"""A larger step back is that of a clock, not of a network."""

Span = tuple[int, int]
"""[start, end) of the wall clock."""


def merged(spans: Sequence[Span]) -> list[Span]:
    """Spans in order, without overlaps."""
    found: list[Span] = []
    for start_90k, end_90k in sorted(spans):
        if found and start_90k <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end_90k)
        elif start_90k < end_90k:
            found.append((start_90k, end_90k))
    return found


@dataclass(slots=True)
class _Gop:
    start_90k: int
    end_90k: int
    parts: list[PartSamples] = field(default_factory=list)
    size: int = 0


class EventGate:
    """See the module. ``out`` gets what is to be recorded; ``on_close`` is called when a recording is over.

    Sans-IO: time is that of the parts. Not thread-safe.
    """

    def __init__(
        self,
        out: Callable[[QueuedPart], None],
        on_close: Callable[[], None],
        pre_roll_s: float,
        max_bytes: int = PRE_ROLL_MAX_BYTES,
    ) -> None:
        self.dropped = 0
        """Frames dropped for :data:`PRE_ROLL_MAX_BYTES` since the start."""
        self.is_open = False
        """Whether the current GOP is recorded."""
        self.size = 0
        """Bytes of media in memory."""
        self.seen_90k = 0
        """The end of the newest part."""
        self.keep_90k = 0
        self.set_pre_roll(pre_roll_s)
        self._out = out
        self._on_close = on_close
        self._max_bytes = max_bytes
        self._starts: list[int] = []
        self._spans: list[Span] = []
        self._held: deque[_Gop] = deque()
        """The last one is the current GOP, unless that is recorded or dropped."""
        self._is_adjacent = False
        """Whether the first GOP in memory directly follows what was recorded last."""
        self._begun_90k: int | None = None
        """When the current GOP began."""
        self._is_dropping = False
        """Rule 2: until the next GOP."""

    @property
    def held_90k(self) -> int:
        """How much time is in memory."""
        return self._held[-1].end_90k - self._held[0].start_90k if self._held else 0

    def set_pre_roll(self, pre_roll_s: float) -> None:
        """How much an event wants before its start."""
        self.keep_90k = round((pre_roll_s + LATE_S) * CLOCK_RATE)

    def set_spans(self, spans: Sequence[Span]) -> None:
        """What events want from now on: spans as :func:`merged` returns them. Wanted GOPs in memory go out."""
        self._spans = list(spans)
        self._starts = [start_90k for start_90k, _ in spans]
        if not self.is_open:
            self._release()

    def advance(self, now_90k: int) -> None:
        """Give up what is too old by the wall clock, while no parts come."""
        while self._held and self._held[0].end_90k < now_90k - self.keep_90k:
            self._is_dropping = self._is_dropping or len(self._held) == 1
            self._pop()

    def offer(self, part: PartSamples) -> None:
        """Take the next part."""
        start_90k = part.captured_at_90k
        end_90k = start_90k + part.end_90k - part.dts_90k
        if start_90k < self.seen_90k - BACK_90K:
            self._forget(start_90k)
        self.seen_90k = end_90k
        is_late = self._begun_90k is not None and start_90k - self._begun_90k >= GRACE_90K
        if part.is_keyframe or is_late:
            self._begin(part, start_90k, end_90k)
        elif self._begun_90k is None:
            self._begun_90k, self._is_dropping = start_90k, True  # it came in the middle of a GOP
        elif self.is_open:
            self._out(QueuedPart(part))
            return
        if self._is_dropping:
            self.dropped += part.packets
        elif not self.is_open:
            self._hold(part, end_90k)

    def _begin(self, part: PartSamples, start_90k: int, end_90k: int) -> None:
        """A GOP begins. If the recording goes on with it, its first part goes out."""
        self._begun_90k, self._is_dropping = start_90k, False
        if self.is_open and self._is_wanted(start_90k, end_90k):
            self._out(QueuedPart(part, is_start=True))
            return
        if self.is_open:
            self.is_open, self._is_adjacent = False, True
            self._on_close()
        self._held.append(_Gop(start_90k, end_90k))

    def _hold(self, part: PartSamples, end_90k: int) -> None:
        gop = self._held[-1]
        gop.parts.append(part)
        gop.end_90k = end_90k
        size = part.size
        gop.size += size
        self.size += size
        if self._is_wanted(gop.start_90k, end_90k):
            self._release()
        else:
            self._evict()

    def _release(self) -> None:
        """Let the wanted GOPs out, and give up the others before the last of them (rule 3)."""
        wanted = [self._is_wanted(gop.start_90k, gop.end_90k) for gop in self._held]
        if not any(wanted):
            return
        while any(wanted):
            after = None if self._is_adjacent else EndReason.EVENT_ENDED
            gop = self._pop()
            if wanted.pop(0):
                for number, part in enumerate(gop.parts):
                    self._out(QueuedPart(part, after=None if number else after, is_start=not number))
                self._is_adjacent = True
        if self._held or self._is_dropping:
            self._on_close()
        else:
            self.is_open = True

    def _evict(self) -> None:
        """Rule 2."""
        while len(self._held) > 1 and self._held[1].start_90k <= self.seen_90k - self.keep_90k:
            self._pop()
        while self.size > self._max_bytes:
            self._is_dropping = len(self._held) == 1
            self.dropped += sum(part.packets for part in self._pop().parts)

    def _pop(self) -> _Gop:
        gop = self._held.popleft()
        self.size -= gop.size
        self._is_adjacent = False
        return gop

    def _forget(self, now_90k: int) -> None:
        """Rule 5."""
        self._is_dropping = self._is_dropping or bool(self._held)
        self._begun_90k = now_90k
        while self._held:
            self._pop()

    def _is_wanted(self, start_90k: int, end_90k: int) -> bool:
        if not self._spans:
            return False
        index = bisect_right(self._starts, start_90k)
        overlaps_before = index > 0 and self._spans[index - 1][1] > start_90k
        return overlaps_before or (index < len(self._spans) and self._starts[index] < end_90k)
