"""The recordings of one stream in the order in which they were made, and where an open playlist of them begins.

Sans-IO. An open playlist, one without an end, is loaded again and again, and its entries keep their numbers (RFC 8216
§6.2.1). Dates cannot order it, because a clock that is set back gives some of them twice.

Rules. Each depends only on what was recorded up to a moment, so the beginning never moves back when more is recorded:

1. A list has no hole. Retention deletes the oldest first, and leaves what is protected: what is before such a hole is
   listed in a playlist with an end only.
2. A start is a moment at which the recording passes that date: in a recording of it, or where a gap ends. If the clock
   was set back, there are several, and the last one counts. A new one counts when :data:`SETTLED_90K` are recorded
   after it, because a playlist that drops entries keeps three target durations (RFC 8216 §6.2.2).
3. Without a start, it is an hour before the end of the recording, gaps included, and never less than
   :data:`SETTLED_90K` of recording.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.clock import CLOCK_RATE
from hls.archive.hls_segments import HLS_TARGET_S, HlsSegment
from hls.archive.segment import Segment

SETTLED_90K = 6 * HLS_TARGET_S * CLOCK_RATE
"""Twice what a player that is at the live edge of a playlist may have before it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Successive HLS segments of one file. ``number`` is that of the first one within its file."""

    segment: Segment
    parts: Sequence[HlsSegment]
    number: int = 0

    @property
    def first(self) -> int:
        """The sequence number of the first HLS segment in the stream's recordings."""
        return self.segment.sequence + self.number

    @property
    def next(self) -> int:
        """The sequence number after the last one."""
        return self.first + len(self.parts)

    def cut(self, first: int, upto: int | None = None) -> "Piece":
        """Those of its HLS segments whose sequence numbers are in [first, upto)."""
        begin = max(0, first - self.first)
        end = len(self.parts) if upto is None else max(begin, upto - self.first)
        return self if (begin, end) == (0, len(self.parts)) else self.drop(begin, end)

    def drop(self, count: int, end: int | None = None) -> "Piece":
        """Without its first HLS segments."""
        return Piece(self.segment, self.parts[count:end], self.number + count)

    def drop_before(self, start_90k: int) -> "Piece":
        """Without what ended at or before a date."""
        return self.drop(sum(self.segment.start_90k + part.end_90k <= start_90k for part in self.parts))


class RecordingOrder:
    """Collects pieces, the newest first, until the beginning of a playlist is known; see the module."""

    def __init__(
        self, limit_90k: int, start_90k: int | None = None, last_90k: int = 0, first: int | None = None
    ) -> None:
        """``limit_90k``: the longest list. It begins at a date, or with a sequence number, or has the last ticks."""
        self._limit_90k = limit_90k
        self._start_90k = start_90k
        self._last_90k = last_90k
        self._first = first
        self._pieces: list[Piece] = []
        self._recorded_90k = 0
        self._span_90k = 0
        self.is_complete = False
        """Nothing older will be listed."""

    def add(self, piece: Piece) -> None:
        """The piece that was recorded before those so far."""
        if self.is_complete:
            return
        segment = piece.segment
        later = self._pieces[-1] if self._pieces else None
        if later is not None:
            if (
                piece.next != later.first
                or self._recorded_90k >= self._limit_90k
                or self._is_before_start(piece, later)
            ):
                self.is_complete = True
                return
            gap_90k = max(0, later.segment.start_90k - segment.end_90k)
            if self._has_last(gap_90k):
                self.is_complete = True
                return
            self._span_90k += gap_90k
        self._pieces.append(piece)
        self._recorded_90k += segment.duration_90k
        self._span_90k += segment.duration_90k
        if self._start_90k is not None and segment.start_90k <= self._start_90k < segment.end_90k:
            after_90k = self._recorded_90k - (self._start_90k - segment.start_90k)
            self.is_complete = after_90k >= SETTLED_90K
        elif self._start_90k is None and self._first is None:
            self.is_complete = self._has_last()
        elif self._first is not None:
            self.is_complete = piece.first <= self._first

    def _is_before_start(self, piece: Piece, later: Piece) -> bool:
        """Whether a gap between two pieces is the settled start."""
        if self._start_90k is None or self._recorded_90k < SETTLED_90K:
            return False
        return piece.segment.end_90k <= self._start_90k < later.segment.start_90k

    def _has_last(self, gap_90k: int = 0) -> bool:
        is_last = self._start_90k is None and self._first is None
        return is_last and self._span_90k + gap_90k >= self._last_90k and self._recorded_90k >= SETTLED_90K

    def pieces(self) -> list[Piece]:
        """The list, in the order of recording."""
        found = self._pieces[::-1]
        if self._first is not None:
            found = [piece.cut(self._first) for piece in found]
        elif self._start_90k is not None:
            # The oldest of those that reach the start: it is settled, or there is no other.
            while found and found[0].segment.end_90k <= self._start_90k:
                del found[0]
            if found and found[0].segment.start_90k <= self._start_90k:
                found[0] = found[0].drop_before(self._start_90k)
        elif found and (surplus_90k := min(self._span_90k - self._last_90k, self._recorded_90k - SETTLED_90K)) > 0:
            found[0] = found[0].drop_before(found[0].segment.start_90k + surplus_90k)
        return [piece for piece in found if piece.parts]


def in_recording_order(pieces: Iterable[Piece]) -> list[Piece]:
    """Sorted by the numbers with which they were recorded."""
    return sorted(pieces, key=lambda piece: (piece.segment.sequence, piece.segment.start_90k, piece.segment.name))
