"""H.264 over RTP (RFC 6184): single NAL units, STAP-A, STAP-B, MTAP16, MTAP24, FU-A and FU-B."""

from gateway.codec.bits import BitReader, BitstreamError
from gateway.codec.h264 import has_sei, is_i_slice, parse_sps
from gateway.codec.sps import Sps
from gateway.rtsp.depacketize import Frame
from gateway.rtsp.depacketize.nal import END, START, NalDepacketizer
from gateway.rtsp.depacketize.syntax import FIRST_SLICE, MESSAGE, PREFIX, SLICE, SUFFIX, UNUSED, Nal

_STAP_A, _STAP_B, _MTAP16, _MTAP24, _FU_A, _FU_B = 24, 25, 26, 27, 28, 29

_KINDS = {
    1: SLICE,
    2: SLICE,
    3: SLICE,
    4: SLICE,
    5: SLICE,
    6: MESSAGE,
    7: PREFIX,
    8: PREFIX,
    9: PREFIX,
    10: SUFFIX,
    11: SUFFIX,
    13: PREFIX,
    14: PREFIX,
    15: PREFIX,
    16: PREFIX,
    17: PREFIX,
    18: PREFIX,
}
"""nal_unit_type (H.264 table 7-1). Filler, auxiliary pictures, layers of SVC and MVC and unspecified types are not
passed on: a decoder of the base layer ignores them, and RTP receivers take some for fragments."""

_SPS, _PPS = 7, 8

_RECOVERY_POINT = 6
"""payloadType (§D.1.1)."""

PARAMETER_SETS_MAX = 256
"""Of each kind: as many as an identifier can name (H.264 §7.4.2.2)."""


class H264Syntax:
    """The NAL units of one H.264 stream; see :class:`~gateway.rtsp.depacketize.syntax.Syntax`."""

    def __init__(self) -> None:
        self._sps: dict[int, Sps] = {}
        self._pps: dict[int, int] = {}
        self._may_have_fields = False

    def read(self, start: bytes) -> Nal:
        if not start:
            return Nal(UNUSED)
        kind = start[0] & 0x1F
        if 1 <= kind <= 5:
            # Partitions B and C have no first_mb_in_slice.
            is_first = kind not in (3, 4) and len(start) > 1 and start[1] & 0x80 > 0
            field = self._field(start) if is_first else None
            return Nal(FIRST_SLICE if is_first else SLICE, kind == 5, field=field)
        return Nal(
            _KINDS.get(kind, UNUSED),
            has_recovery_point=kind == 6 and has_sei(start[1:], _RECOVERY_POINT),
        )

    def is_intra(self, start: bytes) -> bool:
        return start[0] & 0x1F in (1, 5) and is_i_slice(start)

    def is_parameter_set(self, start: bytes) -> bool:
        return bool(start) and start[0] & 0x1F in (_SPS, _PPS)

    def learn(self, unit: bytes) -> None:
        try:
            bits = BitReader(unit[1:])
            if unit[0] & 0x1F == _SPS:
                sps = parse_sps(unit)
                if sps.identifier < PARAMETER_SETS_MAX:
                    self._sps[sps.identifier] = sps
                    self._may_have_fields = any(not each.is_frames_only for each in self._sps.values())
            else:
                number, sps_number = bits.ue(), bits.ue()
                if number < PARAMETER_SETS_MAX:
                    self._pps[number] = sps_number
        except BitstreamError:
            # What cannot be read says nothing about fields; whether it can be used is decided elsewhere.
            return

    def is_same_picture(self, first: bytes, other: bytes) -> bool:
        mine, others = self._picture_key(first), self._picture_key(other)
        return mine is None or others is None or mine == others

    def is_surely_same_picture(self, first: bytes, other: bytes) -> bool:
        # Each picture that others refer to has a frame_num of its own (§7.4.3).
        mine = self._picture_key(first)
        return mine is not None and first[0] & 0x60 > 0 and mine == self._picture_key(other)

    def has_references(self, first: bytes) -> bool:
        # Decoders conceal a gap in frame_num, and some cameras have them on purpose (§7.4.3).
        del first
        return True

    def _picture_key(self, start: bytes) -> tuple[object, ...] | None:
        """What all slices of a picture have in common (§7.4.1.2.4); ``None`` where it cannot be known."""
        try:
            bits = BitReader(start[1:64])
            bits.ue()
            bits.ue()
            sps = self._sps.get(self._pps.get(bits.ue(), -1))
            if sps is None:
                return None
            bits.u(2 if sps.has_separate_planes else 0)
            frame_num = bits.u(sps.frame_num_bits)
            is_field = not sps.is_frames_only and bits.flag()
            is_bottom = is_field and bits.flag()
            is_idr = start[0] & 0x1F == 5
            return frame_num, is_field, is_bottom, is_idr, start[0] & 0x60 > 0, bits.ue() if is_idr else None
        except BitstreamError:
            return None

    def _field(self, start: bytes) -> tuple[int, bool] | None:
        """``(frame_num, is_bottom)`` of a slice of a field; ``None`` of a frame, or where it cannot be known."""
        if not self._may_have_fields:
            return None
        try:
            bits = BitReader(start[1:])
            bits.ue()
            bits.ue()
            sps = self._sps.get(self._pps.get(bits.ue(), -1))
            if sps is None or sps.is_frames_only:
                return None
            if sps.has_separate_planes:
                bits.u(2)
            frame_num = bits.u(sps.frame_num_bits)
            return (frame_num, bits.flag()) if bits.flag() else None
        except BitstreamError:
            return None


class H264Depacketizer(NalDepacketizer):
    """One H.264 track."""

    MIN_BYTES = 2

    def __init__(self, parameter_sets: tuple[bytes, ...] = ()) -> None:
        """``parameter_sets`` are those of ``sprop-parameter-sets`` (RFC 6184 §8.1), each a NAL unit."""
        syntax = H264Syntax()
        for unit in parameter_sets:
            if syntax.is_parameter_set(unit):
                syntax.learn(unit)
        super().__init__(syntax, has_sets=bool(parameter_sets))

    def _is_fragment(self, payload: memoryview) -> bool:
        return payload[0] & 0x1F in (_FU_A, _FU_B)

    def _continuation(self, payload: memoryview) -> memoryview | None:
        if len(payload) < 2 or payload[0] & 0x1F != _FU_A or payload[1] & (START | END):
            return None
        return payload[2:]

    def _push_payload(self, payload: memoryview, timestamp: int) -> list[Frame]:
        kind = payload[0] & 0x1F
        if kind in (_FU_A, _FU_B):
            unit_header = bytes((payload[0] & 0xE0 | payload[1] & 0x1F,))
            # FU-B has a decoding order number after its header.
            part = payload[2 if kind == _FU_A else 4 :]
            return self._push_fragment(unit_header, payload[1], part, timestamp)
        if 0 < kind < _STAP_A:
            return self.pictures.unit(payload, timestamp)
        if _STAP_A <= kind <= _MTAP24:
            return self._push_aggregate(payload, timestamp, kind)
        self.malformed += 1
        return []

    def _push_aggregate(self, payload: memoryview, timestamp: int, kind: int) -> list[Frame]:
        """RFC 6184 §5.7. Decoding order numbers are only used in interleaved mode, which cameras do not send."""
        frames: list[Frame] = []
        extra = {_STAP_A: 0, _STAP_B: 0, _MTAP16: 3, _MTAP24: 4}[kind]
        place = 1 if kind == _STAP_A else 3
        while place + 2 < len(payload):
            size = payload[place] << 8 | payload[place + 1]
            start, after = place + 2 + extra, place + 2 + size + (extra if kind in (_MTAP16, _MTAP24) else 0)
            if after > len(payload):
                self.malformed += 1
                break
            if size == 0:
                # An empty unit says nothing of those after it.
                self.malformed += 1
                place = after
                continue
            offset = int.from_bytes(payload[place + 3 : start], "big") if extra else 0
            frames += self.pictures.unit(payload[start:after], timestamp + offset)
            place = after
        return frames
