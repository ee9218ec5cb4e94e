"""H.265 over RTP (RFC 7798): single NAL units, aggregation packets and fragmentation units."""

from gateway.rtsp.depacketize import Frame
from gateway.rtsp.depacketize.pictures import Nal, NalKind, PictureAssembler

_AP, _FU, _PACI = 48, 49, 50

_PREFIXES = frozenset({32, 33, 34, 35, 41, 42, 43, 44})
_SUFFIXES = frozenset({36, 37, 40})
_PREFIX_SEI = 39


class H265Syntax:
    """The NAL units of one H.265 stream; see :class:`~gateway.rtsp.depacketize.pictures.Syntax`.

    Only the base layer is passed on. Fields are whole pictures in H.265 (§7.4.2.4.4), so parameter sets need no
    reading.
    """

    def read(self, start: bytes) -> Nal:
        if len(start) < 2:
            return Nal(NalKind.UNUSED)
        kind = start[0] >> 1 & 0x3F
        if start[0] & 0x01 or start[1] & 0xF8:
            return Nal(NalKind.UNUSED)
        if kind <= 31:
            is_first = len(start) > 2 and start[2] & 0x80 > 0
            return Nal(NalKind.FIRST_SLICE if is_first else NalKind.SLICE, 16 <= kind <= 23)
        if kind in _PREFIXES:
            return Nal(NalKind.PREFIX)
        if kind == _PREFIX_SEI:
            return Nal(NalKind.MESSAGE)
        return Nal(NalKind.SUFFIX if kind in _SUFFIXES else NalKind.UNUSED)

    def is_parameter_set(self, start: bytes) -> bool:
        return False

    def learn(self, unit: bytes) -> None:
        return


class H265Depacketizer:
    """One H.265 track; see :class:`~gateway.rtsp.depacketize.Depacketizer`."""

    def __init__(self, *, has_donl: bool = False) -> None:
        """``has_donl``: ``sprop-max-don-diff`` is above 0, so decoding order numbers are present (RFC 7798 §7.1)."""
        self._donl_bytes = 2 if has_donl else 0
        self.pictures = PictureAssembler(H265Syntax())
        self._in_fragment = False
        self.malformed = 0
        """Payloads that were dropped for their form."""

    def push(self, payload: memoryview, timestamp: int, *, marker: bool, lost: int) -> list[Frame]:
        frames: list[Frame] = []
        if lost:
            self._in_fragment = False
            frames += self.pictures.lose()
        size = len(payload)
        if size < 3:
            self.malformed += size > 0
            return frames
        kind = payload[0] >> 1 & 0x3F
        if kind == _FU:
            frames += self._push_fragment(payload, timestamp)
        else:
            if self._in_fragment:
                self._in_fragment = False
                frames += self.pictures.lose()
            if kind == _AP:
                frames += self._push_aggregate(payload, timestamp)
            elif kind < _AP:
                unit = payload if not self._donl_bytes else bytes(payload[:2]) + payload[2 + self._donl_bytes :]
                frames += self.pictures.unit(unit, timestamp)
            else:
                self.malformed += 1
        if marker:
            frames += self.pictures.mark(timestamp)
        return frames

    def _push_fragment(self, payload: memoryview, timestamp: int) -> list[Frame]:
        header = payload[2]
        start = 3 + (self._donl_bytes if header & 0x80 else 0)
        if len(payload) <= start:
            self.malformed += 1
            return []
        frames: list[Frame] = []
        if header & 0x80:
            if self._in_fragment:
                frames += self.pictures.lose()
            unit_header = bytes((payload[0] & 0x81 | (header & 0x3F) << 1, payload[1]))
            frames += self.pictures.begin_unit(unit_header + payload[start:], timestamp)
            self._in_fragment = True
        elif self._in_fragment:
            self.pictures.add(payload[start:])
        if header & 0x40 and self._in_fragment:
            self.pictures.end_unit()
            self._in_fragment = False
        return frames

    def _push_aggregate(self, payload: memoryview, timestamp: int) -> list[Frame]:
        """RFC 7798 §4.4.2."""
        frames: list[Frame] = []
        place = 2 + self._donl_bytes
        while place + 2 < len(payload):
            size = payload[place] << 8 | payload[place + 1]
            start, after = place + 2, place + 2 + size
            if size < 2 or after > len(payload):
                self.malformed += 1
                break
            frames += self.pictures.unit(payload[start:after], timestamp)
            # Further units carry an 8-bit difference of the decoding order number.
            place = after + (1 if self._donl_bytes else 0)
        return frames
