"""H.265 over RTP (RFC 7798): single NAL units, aggregation packets and fragmentation units."""

from gateway.rtsp.depacketize import Frame
from gateway.rtsp.depacketize.nal import END, START, NalDepacketizer
from gateway.rtsp.depacketize.pictures import Nal, NalKind

_AP, _FU = 48, 49

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

    def is_intra(self, start: bytes) -> bool:
        return False

    def is_parameter_set(self, start: bytes) -> bool:
        return False

    def learn(self, unit: bytes) -> None:
        return


class H265Depacketizer(NalDepacketizer):
    """One H.265 track."""

    MIN_BYTES = 3

    def __init__(self, *, has_donl: bool = False) -> None:
        """``has_donl``: ``sprop-max-don-diff`` is above 0, so decoding order numbers are present (RFC 7798 §7.1)."""
        super().__init__(H265Syntax())
        self._donl_bytes = 2 if has_donl else 0

    def _is_fragment(self, payload: memoryview) -> bool:
        return payload[0] >> 1 & 0x3F == _FU

    def _continuation(self, payload: memoryview) -> memoryview | None:
        if len(payload) < 3 or payload[0] >> 1 & 0x3F != _FU or payload[2] & (START | END):
            return None
        return payload[3:]

    def _push_payload(self, payload: memoryview, timestamp: int) -> list[Frame]:
        kind = payload[0] >> 1 & 0x3F
        if kind == _FU:
            flags = payload[2]
            unit_header = bytes((payload[0] & 0x81 | (flags & 0x3F) << 1, payload[1]))
            # Only the first fragment has a decoding order number.
            part = payload[3 + (self._donl_bytes if flags & 0x80 else 0) :]
            return self._push_fragment(unit_header, flags, part, timestamp)
        if kind == _AP:
            return self._push_aggregate(payload, timestamp)
        if kind < _AP:
            unit = payload if not self._donl_bytes else bytes(payload[:2]) + payload[2 + self._donl_bytes :]
            return self.pictures.unit(unit, timestamp)
        self.malformed += 1
        return []

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
