"""NalDepacketizer: what H.264 and H.265 over RTP have in common: packets with one NAL unit, several, or part of one.

Rules:

1. A fragmented unit whose end is not sent has a hole, unless the camera never marks an end: then the next unit
   ends it. A start right after a start goes on with the unit, if it is no longer than the fragment before it: a unit
   has two fragments at least, and packets are filled. Where no start was ever marked, what follows an end is one.
2. Start codes do not belong into RTP. Some cameras leave them before a unit, or between several in one packet: they are
   taken for what they are (here, and in :class:`~gateway.rtsp.depacketize.pictures.PictureAssembler`).
"""

from abc import ABC, abstractmethod

from gateway.codec.annexb import start_code_bytes
from gateway.rtsp.depacketize import Frame
from gateway.rtsp.depacketize.pictures import PictureAssembler
from gateway.rtsp.depacketize.syntax import Syntax

START, END = 0x80, 0x40
"""Flags of a fragment's header (RFC 6184 §5.8, RFC 7798 §4.4.3)."""


class NalDepacketizer(ABC):
    """One track; see :class:`~gateway.rtsp.depacketize.Depacketizer`."""

    MIN_BYTES: int
    """The shortest NAL unit with content. An empty payload is legal: it keeps a NAT open."""

    def __init__(self, syntax: Syntax, *, has_sets: bool) -> None:
        """``has_sets``: parameter sets are known beforehand."""
        self.pictures = PictureAssembler(syntax, has_sets=has_sets)
        self._in_fragment = False
        self._marks_ends = False
        """Whether an end was ever marked, rule 1."""
        self._marks_starts = False
        self._is_between = False
        """Whether an end was marked, and nothing came since."""
        self._start_bytes = 0
        """Of the fragment before this one, if it was marked as a start; 0 otherwise."""
        self.malformed = 0
        """Payloads that were dropped for their form."""

    def push(self, payload: memoryview, timestamp: int, *, marker: bool, lost: int) -> list[Frame]:
        if self._in_fragment and not lost and not marker and (more := self._continuation(payload)):
            # Most packets of a large picture.
            self._start_bytes = 0
            self.pictures.add(more)
            return []
        frames = self._lose() if lost else []
        if len(payload) > 2 and payload[0] == 0 == payload[1]:
            payload = payload[start_code_bytes(payload) :]
        if len(payload) < self.MIN_BYTES:
            self.malformed += len(payload) > 0
            return frames
        if self._in_fragment and not self._is_fragment(payload):
            frames += self._end_unmarked()
        frames += self._push_payload(payload, timestamp)
        if marker:
            frames += self.pictures.mark(timestamp)
        return frames

    @abstractmethod
    def _is_fragment(self, payload: memoryview) -> bool:
        """Whether the payload is a part of a NAL unit."""

    @abstractmethod
    def _continuation(self, payload: memoryview) -> memoryview | None:
        """The bytes of a NAL unit in a part that neither begins nor ends it; ``None`` for other payloads."""

    @abstractmethod
    def _push_payload(self, payload: memoryview, timestamp: int) -> list[Frame]:
        """Take a payload of at least :attr:`MIN_BYTES`, by its type."""

    def _push_fragment(self, unit_header: bytes, flags: int, part: memoryview, timestamp: int) -> list[Frame]:
        """Take a part of a NAL unit; ``flags`` is the fragment's header."""
        if not part:
            self.malformed += 1
            return []
        frames: list[Frame] = []
        is_start = bool(flags & START)
        self._marks_starts |= is_start
        is_start |= self._is_between and not self._in_fragment and not self._marks_starts and self._marks_ends
        self._is_between = bool(flags & END)
        is_repeated = is_start and self._in_fragment and len(part) <= self._start_bytes
        self._start_bytes = len(part) if is_start else 0
        if is_start and not is_repeated:
            if self._in_fragment:
                frames += self._end_unmarked()
            frames += self.pictures.begin_unit(unit_header + part, timestamp)
            self._in_fragment = True
        elif self._in_fragment:
            self.pictures.add(part)
        self._marks_ends |= bool(flags & END)
        if flags & END and self._in_fragment:
            self._in_fragment = False
            frames += self.pictures.end_unit()
        return frames

    def _end_unmarked(self) -> list[Frame]:
        """Rule 1."""
        if self._marks_ends:
            return self._lose()
        self._in_fragment = False
        return self.pictures.end_unit()

    def _lose(self) -> list[Frame]:
        self._in_fragment = self._is_between = False
        return self.pictures.lose()
