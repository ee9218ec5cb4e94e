"""H.264 (ITU-T H.264): NAL unit types, sequence parameter sets (§7.3.2.1.1), codec strings (RFC 6381 §3.3)."""

from fractions import Fraction

from gateway.codec.annexb import NalSyntax
from gateway.codec.bits import BitReader, BitstreamError
from gateway.codec.sps import MAX_REORDER, SUB_HEIGHT, SUB_WIDTH, Sps, plausible_rate

NAL = NalSyntax(
    header_bytes=1,
    type_shift=0,
    type_mask=0x1F,
    slices=range(1, 6),
    random_access=range(5, 6),
    vps=None,
    sps=7,
    pps=8,
    sei=6,
    delimiters=frozenset({6, 7, 8, 9, 14, 15, 16, 17, 18}),
)
"""Table 7-1 and §7.4.1.2.3."""

_PROFILES_WITH_CHROMA_FORMAT = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_PROFILES_WITH_INTRA_VARIANT = frozenset({44, 100, 110, 122, 244})
_BASELINE = 66
_EXTENDED_SAR = 255


def parse_sps(unit: bytes) -> Sps:
    """Read an SPS NAL unit, its header byte included. Raises :class:`~gateway.codec.bits.BitstreamError`."""
    bits = BitReader(unit)
    bits.u(8)
    profile, constraints, level = bits.u(8), bits.u(8), bits.u(8)
    identifier = bits.ue()
    chroma = 1
    separate_planes = False
    if profile in _PROFILES_WITH_CHROMA_FORMAT:
        chroma = bits.ue()
        separate_planes = chroma == 3 and bits.flag()
        bits.ue()
        bits.ue()
        bits.flag()
        if bits.flag():
            for index in range(8 if chroma != 3 else 12):
                if bits.flag():
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    frame_num_bits = bits.ue_max(12) + 4
    order_type = bits.ue()
    order_bits = None
    if order_type == 0:
        order_bits = bits.ue_max(12) + 4
    elif order_type == 1:
        bits.flag()
        bits.se()
        bits.se()
        for _ in range(bits.ue_max(255)):
            bits.se()
    bits.ue()
    bits.flag()
    width = (bits.ue() + 1) * 16
    rows = bits.ue() + 1
    frames_only = bits.flag()
    height = rows * 16 * (1 if frames_only else 2)
    if not frames_only:
        bits.flag()
    bits.flag()
    if bits.flag():
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
        array = 0 if separate_planes else chroma
        width -= (left + right) * SUB_WIDTH.get(array, 1)
        height -= (top + bottom) * SUB_HEIGHT.get(array, 1) * (1 if frames_only else 2)
    rate, reorder = _read_vui(bits) if bits.flag() else (None, None)
    # Baseline has no B slices (§A.2.1). With order type 2 the output order is the decoding order (§8.2.1.3). The intra
    # profiles (constraint_set3_flag) reorder nothing.
    is_intra = bool(constraints & 0x10) and profile in _PROFILES_WITH_INTRA_VARIANT
    if profile == _BASELINE or order_type == 2 or is_intra:
        reorder = 0
    codec_string = f"avc1.{profile:02x}{constraints:02x}{level:02x}"
    return Sps(
        codec_string,
        width,
        height,
        rate,
        reorder,
        identifier,
        frame_num_bits,
        separate_planes,
        frames_only,
        order_bits,
    )


def parse_pps_identifiers(unit: bytes) -> tuple[int, int]:
    """The identifiers of a PPS NAL unit and of its SPS (§7.3.2.2). Raises as :func:`parse_sps`."""
    bits = BitReader(unit[:64])
    bits.u(8)
    return bits.ue(), bits.ue()


def parse_slice_start(start: bytes) -> tuple[int, int]:
    """slice_type, as it is written, and the identifier of the PPS of a slice NAL unit (§7.3.3), from its first bytes.

    Raises as :func:`parse_sps`.
    """
    bits = BitReader(start[:64])
    bits.u(8)
    bits.ue()
    return bits.ue(), bits.ue()


def is_b_slice(start: bytes) -> bool:
    """Whether a slice NAL unit has B macroblocks (table 7-6)."""
    try:
        return parse_slice_start(start)[0] % 5 == 1
    except BitstreamError:
        return False


def is_i_slice(start: bytes) -> bool:
    """Whether a slice NAL unit has only I macroblocks (table 7-6)."""
    try:
        return parse_slice_start(start)[0] % 5 == 2
    except BitstreamError:
        return False


def codec_string_of_avcc(record: bytes) -> str | None:
    """The codec string from an ``avcC`` (ISO/IEC 14496-15 §5.3.3.1); ``None`` where it is not one."""
    return f"avc1.{record[1:4].hex()}" if len(record) > 4 and record[0] == 1 else None


def has_sei(payload: bytes, wanted: int) -> bool:
    """Whether the payload of an SEI NAL unit (§7.3.2.3), without its header, has a message of this type."""
    at = 0
    while at + 2 <= len(payload) and payload[at] != 0x80:
        kind, at = _sei_number(payload, at)
        size, at = _sei_number(payload, at)
        if kind == wanted:
            return True
        at += size
    return False


def _sei_number(payload: bytes, at: int) -> tuple[int, int]:
    """payloadType or payloadSize: 255 for each leading 0xFF, and one more byte. Returns the offset after it, too."""
    value = 0
    while at < len(payload) and payload[at] == 0xFF:
        value, at = value + 255, at + 1
    return value + (payload[at] if at < len(payload) else 0), at + 1


def _read_vui(bits: BitReader) -> tuple[Fraction | None, int | None]:
    """Frame rate and max_num_reorder_frames (§E.1.1), as far as the bits reach."""
    rate: Fraction | None = None
    try:
        if bits.flag() and bits.u(8) == _EXTENDED_SAR:
            bits.u(32)
        if bits.flag():
            bits.flag()
        if bits.flag():
            bits.u(4)
            if bits.flag():
                bits.u(24)
        if bits.flag():
            bits.ue()
            bits.ue()
        if bits.flag():
            tick, scale = bits.u(32), bits.u(32)
            bits.flag()
            # A frame is two fields, each of one tick (§E.2.1).
            rate = plausible_rate(scale, 2 * tick)
        has_hrd = False
        for _ in range(2):
            if bits.flag():
                has_hrd = True
                _skip_hrd(bits)
        if has_hrd:
            bits.flag()
        bits.flag()
        if not bits.flag():
            return rate, None
        bits.flag()
        for _ in range(4):
            bits.ue()
        return rate, min(bits.ue(), MAX_REORDER)
    except BitstreamError:
        # Many cameras write a wrong VUI. What was read before it is right.
        return rate, None


def _skip_scaling_list(bits: BitReader, size: int) -> None:
    last, following = 8, 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _skip_hrd(bits: BitReader) -> None:
    count = bits.ue_max(31) + 1
    bits.u(8)
    for _ in range(count):
        bits.ue()
        bits.ue()
        bits.flag()
    bits.u(20)
