"""NalDepacketizer: what H.264 and H.265 over RTP have in common: packets with one NAL unit, several, or part of one."""

from abc import ABC, abstractmethod

from gateway.rtsp.depacketize import Frame
from gateway.rtsp.depacketize.pictures import PictureAssembler, Syntax

_START, _END = 0x80, 0x40
"""Flags of a fragment's header (RFC 6184 §5.8, RFC 7798 §4.4.3)."""


class NalDepacketizer(ABC):
    """One track; see :class:`~gateway.rtsp.depacketize.Depacketizer`."""

    MIN_BYTES: int
    """The shortest NAL unit with content. An empty payload is legal: it keeps a NAT open."""

    def __init__(self, syntax: Syntax) -> None:
        self.pictures = PictureAssembler(syntax)
        self._in_fragment = False
        self.malformed = 0
        """Payloads that were dropped for their form."""

    def push(self, payload: memoryview, timestamp: int, *, marker: bool, lost: int) -> list[Frame]:
        frames: list[Frame] = []
        if lost:
            frames += self._lose()
        if len(payload) < self.MIN_BYTES:
            self.malformed += len(payload) > 0
            return frames
        if self._in_fragment and not self._is_fragment(payload):
            # Its end was never sent.
            frames += self._lose()
        frames += self._push_payload(payload, timestamp)
        if marker:
            frames += self.pictures.mark(timestamp)
        return frames

    @abstractmethod
    def _is_fragment(self, payload: memoryview) -> bool:
        """Whether the payload is a part of a NAL unit."""

    @abstractmethod
    def _push_payload(self, payload: memoryview, timestamp: int) -> list[Frame]:
        """Take a payload of at least :attr:`MIN_BYTES`, by its type."""

    def _push_fragment(self, unit_header: bytes, flags: int, part: memoryview, timestamp: int) -> list[Frame]:
        """Take a part of a NAL unit; ``flags`` is the fragment's header."""
        if not part:
            self.malformed += 1
            return []
        frames: list[Frame] = []
        if flags & _START:
            if self._in_fragment:
                frames += self._lose()
            frames += self.pictures.begin_unit(unit_header + part, timestamp)
            self._in_fragment = True
        elif self._in_fragment:
            self.pictures.add(part)
        if flags & _END and self._in_fragment:
            self.pictures.end_unit()
            self._in_fragment = False
        return frames

    def _lose(self) -> list[Frame]:
        self._in_fragment = False
        return self.pictures.lose()
