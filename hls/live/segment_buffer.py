"""SegmentBuffer: the segments of a live playlist in memory, and the bytes behind every URI that may still be fetched.

Rules (sections of draft-pantos-hls-rfc8216bis):

1. A segment leaves the playlist when ``WINDOW_SEGMENTS`` and ``WINDOW_TARGETS`` remain without it, never below three
   target durations (§6.2.2). While nobody watches, ``UNSENT_SEGMENTS`` and ``UNSENT_TARGETS`` remain. Only after a
   long outage all leave at once: what is older is no live video.
2. It then stays available for its own duration plus that of the longest playlist that was sent with it, and its parts
   with it (§6.2.2). Where no playlist was sent with it, nobody knows of it, and it is discarded at once.
3. The buffer has at most ``max_bytes``: the oldest segment is evicted first, even against rules 1 and 2, and counted.
   The open segment, whose size the target duration limits, and one complete segment always stay.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from gateway.clock import to_seconds
from hls.live.counters import LiveCounters
from hls.live.segment import LivePart, LiveSegment

WINDOW_SEGMENTS = 6
WINDOW_TARGETS = 8
"""The playlist's length in target durations: more than CAN-SKIP-UNTIL, so that delta updates skip something."""

UNSENT_SEGMENTS = 3
UNSENT_TARGETS = 4
"""The same where no segment of it was in a playlist that was sent: a target duration more than a new player needs. Of
cameras that nobody watches, this is most of the memory."""

MAX_BYTES = 64 * 1024 * 1024
"""A window of GOPs of 2 s at 16 Mbit/s takes 40 MB."""


class SegmentBuffer:
    """See the module. ``now_s`` is monotonic time in seconds."""

    def __init__(self, counters: LiveCounters, max_bytes: int = MAX_BYTES) -> None:
        self.segments: deque[LiveSegment] = deque()
        """The complete segments of the playlist, oldest first."""
        self.open_segment: LiveSegment | None = None
        """The segment that gets the next part."""
        self.duration_90k = 0
        """Of :attr:`segments`."""
        self.size = 0
        """Bytes of media in memory."""
        self.discontinuities_removed = 0
        """Discontinuity tags that have left the playlist."""
        self._counters = counters
        self._max_bytes = max_bytes
        self._removed: deque[LiveSegment] = deque()
        """Segments that have left the playlist and are still available."""
        self._media: dict[str, bytes | memoryview] = {}

    def resume(self, segments: Sequence[LiveSegment], discontinuities_removed: int) -> None:
        """Begin with the complete segments of an earlier process."""
        self.discontinuities_removed = discontinuities_removed
        for segment in segments:
            self.segments.append(segment)
            self.duration_90k += segment.duration_90k
            self.size += segment.size
            self._add_media(segment)

    def media(self, name: str) -> bytes | memoryview | None:
        """The bytes of an init segment, a segment or a part; ``None`` if there are none (yet, or any more)."""
        return self._media.get(name)

    def __len__(self) -> int:
        """The number of available URIs."""
        return len(self._media)

    def add_part(self, part: LivePart) -> None:
        """Append to the open segment."""
        segment = self.open_segment
        assert segment is not None
        segment.parts.append(part)
        segment.duration_90k += part.part.duration_90k
        size = len(part.part.data)
        segment.size += size
        self.size += size
        self._media[part.name] = part.part.data
        self._media.setdefault(segment.init_name, segment.muxer.init)
        self._evict()

    def complete_segment(self, tail: str, target_duration_90k: int, now_s: float) -> LiveSegment:
        """Make the open segment a complete one, and remove segments by rule 1."""
        segment, self.open_segment = self.open_segment, None
        assert segment is not None
        self._add_media(segment)
        segment.tail = tail
        segment.completed_at_s = now_s
        self.segments.append(segment)
        self.duration_90k += segment.duration_90k
        is_sent = any(each.was_sent for each in self.segments)
        least, targets = (WINDOW_SEGMENTS, WINDOW_TARGETS) if is_sent else (UNSENT_SEGMENTS, UNSENT_TARGETS)
        while len(self.segments) > least:
            if self.duration_90k - self.segments[0].duration_90k < targets * target_duration_90k:
                break
            self._remove_first()
        self.expire(now_s)
        return segment

    def beyond(self, boundary_90k: int) -> int:
        """The number of segments of the playlist that end further than this before its end."""
        distance_90k = self.duration_90k
        for index, segment in enumerate(self.segments):
            distance_90k -= segment.duration_90k
            if distance_90k <= boundary_90k:
                return index
        return 0

    def sent(self) -> None:
        """The playlist as it is now is sent to somebody (rule 2)."""
        for segment in self.segments:
            segment.longest_playlist_90k = max(segment.longest_playlist_90k, self.duration_90k)

    def begin_afresh(self) -> None:
        """Remove all complete segments from the playlist. They stay available by rule 2."""
        while self.segments:
            self._remove_first()

    def clear(self) -> None:
        """Discard all complete segments at once."""
        self.begin_afresh()
        while self._removed:
            self._discard(self._removed.popleft())

    def expire(self, now_s: float) -> None:
        """Discard the segments whose availability duration is over (rule 2)."""
        while self._removed:
            segment = self._removed[0]
            available_90k = segment.duration_90k + segment.longest_playlist_90k
            if segment.was_sent and now_s < segment.completed_at_s + to_seconds(available_90k):
                return
            self._discard(self._removed.popleft())

    def _add_media(self, segment: LiveSegment) -> None:
        """Make a complete segment available. The bytes are kept once: the parts become views of the segment."""
        data = memoryview(b"".join(each.part.data for each in segment.parts))
        self._media[segment.name] = data
        self._media.setdefault(segment.init_name, segment.muxer.init)
        offset = 0
        for each in segment.parts:
            view = data[offset : offset + len(each.part.data)]
            each.part = replace(each.part, data=view)
            self._media[each.name] = view
            offset += len(view)

    def _evict(self) -> None:
        """Rule 3."""
        while self.size > self._max_bytes and (self._removed or len(self.segments) > 1):
            if self._removed:
                self._counters.segments_evicted += 1
                self._discard(self._removed.popleft())
            else:
                self._remove_first()

    def _remove_first(self) -> None:
        segment = self.segments.popleft()
        self.duration_90k -= segment.duration_90k
        self.discontinuities_removed += segment.is_discontinuity
        self._removed.append(segment)

    def _discard(self, segment: LiveSegment) -> None:
        self.size -= segment.size
        self._media.pop(segment.name, None)
        for each in segment.parts:
            self._media.pop(each.name, None)
        remaining = (*self._removed, *self.segments, self.open_segment)
        if not any(other is not None and other.init_name == segment.init_name for other in remaining):
            self._media.pop(segment.init_name, None)
