"""H.265 over RTP (RFC 7798): single NAL units, aggregation packets and fragmentation units."""

from gateway.codec import h265_slices
from gateway.codec.bits import BitstreamError
from gateway.codec.h265_slices import SlicePps, SliceSps
from gateway.rtsp.depacketize import Frame
from gateway.rtsp.depacketize.nal import END, START, NalDepacketizer
from gateway.rtsp.depacketize.syntax import FIRST_SLICE, MESSAGE, PREFIX, SLICE, SUFFIX, UNUSED, Nal

_AP, _FU = 48, 49

_VPS, _SPS, _PPS = 32, 33, 34

PARAMETER_SETS_MAX = 64
"""Of each kind: as many as an identifier can name (§7.4.3.3.1)."""

HABIT_GOPS = 20
"""GOPs in a row with references that are missing: the camera writes them wrong."""

_PREFIXES = frozenset({32, 33, 34, 35, 41, 42, 43, 44})
_SUFFIXES = frozenset({36, 37, 40})
_PREFIX_SEI = 39


class H265Syntax:
    """The NAL units of one H.265 stream; see :class:`~gateway.rtsp.depacketize.syntax.Syntax`.

    Only the base layer is passed on. Fields are whole pictures in H.265 (§7.4.2.4.4).
    """

    def __init__(self) -> None:
        self._sps: dict[int, SliceSps] = {}
        self._pps: dict[int, SlicePps] = {}
        self._present: set[int] | None = None
        """The picture order counts of those that may be referred to; ``None`` where they are not known."""
        self._order = 0
        """prevTid0Pic (§8.3.1)."""
        self._is_incomplete = False
        """Whether references were missing since the newest keyframe."""
        self._incomplete_gops = 0

    def read(self, start: bytes) -> Nal:
        if len(start) < 2:
            return Nal(UNUSED)
        kind = start[0] >> 1 & 0x3F
        if start[0] & 0x01 or start[1] & 0xF8:
            return Nal(UNUSED)
        if kind <= 31:
            is_first = len(start) > 2 and start[2] & 0x80 > 0
            return Nal(FIRST_SLICE if is_first else SLICE, 16 <= kind <= 23)
        if kind in _PREFIXES:
            return Nal(PREFIX)
        if kind == _PREFIX_SEI:
            return Nal(MESSAGE)
        return Nal(SUFFIX if kind in _SUFFIXES else UNUSED)

    def is_intra(self, start: bytes) -> bool:
        return False

    def is_parameter_set(self, start: bytes) -> bool:
        return len(start) > 1 and start[0] >> 1 in (_VPS, _SPS, _PPS) and start[1] & 0xF8 == 0

    def learn(self, unit: bytes) -> None:
        try:
            if unit[0] >> 1 == _SPS:
                number, sps = h265_slices.parse_slice_sps(unit)
                if number < PARAMETER_SETS_MAX:
                    self._sps[number] = sps
            elif unit[0] >> 1 == _PPS:
                number, pps = h265_slices.parse_slice_pps(unit)
                if number < PARAMETER_SETS_MAX:
                    self._pps[number] = pps
        except BitstreamError:
            # What cannot be read says nothing about references.
            return

    def is_same_picture(self, first: bytes, other: bytes) -> bool:
        # All slices of a picture have one type (§7.4.2.2).
        return first[0] >> 1 == other[0] >> 1 and self._have_one_order(first, other) is not False

    def is_surely_same_picture(self, first: bytes, other: bytes) -> bool:
        return first[0] >> 1 == other[0] >> 1 and self._have_one_order(first, other) is True

    def _have_one_order(self, first: bytes, other: bytes) -> bool | None:
        """Whether two slices have the same picture order count; ``None`` where that is not known."""
        try:
            mine, others = (h265_slices.parse_slice(each, self._sps, self._pps) for each in (first, other))
        except BitstreamError:
            return None
        return None if mine is None or others is None else mine.order == others.order

    def has_references(self, first: bytes) -> bool:
        """§8.3.1, §8.3.2."""
        kind = first[0] >> 1 & 0x3F
        try:
            start = h265_slices.parse_slice(first, self._sps, self._pps)
        except BitstreamError:
            start = None
        if start is None:
            self._present = None
            return True
        modulus = 1 << start.order_bits
        step = (start.order - self._order) % modulus
        order = self._order + (step if step < modulus // 2 else step - modulus)
        begins_anew = kind in h265_slices.IDR or kind in h265_slices.BLA or self._present is None
        if begins_anew:
            order = start.order
        if begins_anew and not 16 <= kind <= 23:
            # Not even a keyframe is known.
            return True
        if 16 <= kind <= 23:
            self._incomplete_gops = self._incomplete_gops + 1 if self._is_incomplete else 0
            self._is_incomplete = False
        before = self._present if self._present is not None and not begins_anew else set()
        wanted = {order + difference for difference, is_used in start.references if is_used}
        is_complete = begins_anew or kind == h265_slices.CRA or kind in h265_slices.RASL or wanted <= before
        self._present = {each for each in (order + difference for difference, _ in start.references) if each in before}
        self._present.add(order)
        is_sub_layer = first[1] & 7 != 1 or (kind <= 14 and kind % 2 == 0)
        if not is_sub_layer and kind not in h265_slices.LEADING:
            self._order = order
        self._is_incomplete |= not is_complete
        return is_complete or self._incomplete_gops >= HABIT_GOPS


class H265Depacketizer(NalDepacketizer):
    """One H.265 track."""

    MIN_BYTES = 3

    def __init__(self, parameter_sets: tuple[bytes, ...] = (), *, has_donl: bool = False) -> None:
        """``parameter_sets`` are those of the session description. ``has_donl``: ``sprop-max-don-diff`` is above 0, so
        decoding order numbers are present (RFC 7798 §7.1)."""
        syntax = H265Syntax()
        for unit in parameter_sets:
            if syntax.is_parameter_set(unit):
                syntax.learn(unit)
        super().__init__(syntax, has_sets=bool(parameter_sets))
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
            if after > len(payload):
                self.malformed += 1
                break
            if size < 2:
                # An empty unit says nothing of those after it.
                self.malformed += 1
                place = after + (1 if self._donl_bytes else 0)
                continue
            frames += self.pictures.unit(payload[start:after], timestamp)
            # Further units carry an 8-bit difference of the decoding order number.
            place = after + (1 if self._donl_bytes else 0)
        return frames
