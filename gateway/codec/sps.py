"""Sequence parameter sets: size, profile, frame rate and reordering of H.264 (§7.3.2.1) and H.265 (§7.3.2.2)
streams."""

from dataclasses import dataclass
from fractions import Fraction

MAX_SIDE = 16_384
"""Pixels; H.264 level 6.2 and H.265 level 6.2 end at 16,888 and cameras long before: more is garbage."""

MAX_FRAME_RATE = 300
"""Frames a second; an SPS that tells more was filled with zeros or ones."""

UNIT_MAX_BYTES = 4096
"""What is read of a parameter set. With all its scaling lists it has some hundreds; a number of megabytes is slow."""

_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_EXTENDED_SAR = 255
_SUB_WIDTH = {0: 1, 1: 2, 2: 2, 3: 1}
_SUB_HEIGHT = {0: 1, 1: 2, 2: 1, 3: 1}


class BitsError(ValueError):
    """The bits end too early, or mean what cannot be."""


@dataclass(frozen=True, slots=True)
class Sps:
    """``max_reorder`` is by how many frames decoding may run ahead of presentation; ``None`` where it is not told."""

    codec_string: str
    width: int
    height: int
    frame_rate: Fraction | None
    max_reorder: int | None


class Bits:
    """A reader of fixed-length and exp-Golomb codes (H.264 §9.1), emulation prevention removed."""

    def __init__(self, unit: bytes) -> None:
        payload = unit[:UNIT_MAX_BYTES].replace(b"\x00\x00\x03", b"\x00\x00")
        self._value = int.from_bytes(payload, "big")
        self._left = len(payload) * 8

    def u(self, count: int) -> int:
        """An unsigned number of ``count`` bits."""
        if count > self._left:
            raise BitsError("it ends too early")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def flag(self) -> bool:
        return self.u(1) == 1

    def ue(self) -> int:
        """An unsigned exp-Golomb code."""
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 32:
                raise BitsError("a code is longer than any can be")
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """A signed exp-Golomb code."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)


def parse_h264_sps(unit: bytes) -> Sps:
    """Read an H.264 SPS NAL unit, its header byte included. Raises :class:`BitsError`."""
    bits = Bits(unit)
    bits.u(8)
    profile, constraints, level = bits.u(8), bits.u(8), bits.u(8)
    bits.ue()
    chroma = 1
    separate_planes = False
    if profile in _HIGH_PROFILES:
        chroma = bits.ue()
        separate_planes = chroma == 3 and bits.flag()
        bits.ue()
        bits.ue()
        bits.flag()
        if bits.flag():
            for index in range(8 if chroma != 3 else 12):
                if bits.flag():
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    bits.ue()
    order_type = bits.ue()
    if order_type == 0:
        bits.ue()
    elif order_type == 1:
        bits.flag()
        bits.se()
        bits.se()
        for _ in range(_bounded(bits.ue(), 255)):
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
        width -= (left + right) * _SUB_WIDTH.get(array, 1)
        height -= (top + bottom) * _SUB_HEIGHT.get(array, 1) * (1 if frames_only else 2)
    rate, reorder = _h264_vui(bits) if bits.flag() else (None, None)
    # Baseline has no B slices (§A.2.1); with order type 2 the output order is the decoding order (§8.2.1.3); and the
    # intra profiles reorder nothing.
    if profile == 66 or order_type == 2 or (constraints & 0x10 and profile in {44, 100, 110, 122, 244}):
        reorder = 0
    _check_size(width, height)
    return Sps(f"avc1.{profile:02x}{constraints:02x}{level:02x}", width, height, rate, reorder)


def _h264_vui(bits: Bits) -> tuple[Fraction | None, int | None]:
    """Frame rate and max_num_reorder_frames (§E.1.1). What is cut off is not told."""
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
            rate = _rate(scale, 2 * tick)
        hrd = False
        for _ in range(2):
            if bits.flag():
                hrd = True
                _skip_hrd(bits)
        if hrd:
            bits.flag()
        bits.flag()
        if not bits.flag():
            return rate, None
        bits.flag()
        for _ in range(4):
            bits.ue()
        return rate, min(bits.ue(), 16)
    except BitsError:
        # Many cameras write their VUI wrongly; what was read before it is sound.
        return rate, None


def parse_hevc_sps(unit: bytes) -> Sps:
    """Read an H.265 SPS NAL unit, its header included, up to the bit depths. Raises :class:`BitsError`."""
    bits = Bits(unit)
    bits.u(16)
    bits.u(4)
    sub_layers = bits.u(3) + 1
    bits.flag()
    codec_string = hevc_codec_string(bits, sub_layers)
    bits.ue()
    chroma = bits.ue()
    if chroma == 3:
        chroma = 0 if bits.flag() else chroma
    width, height = bits.ue(), bits.ue()
    if bits.flag():
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
        width -= (left + right) * _SUB_WIDTH.get(chroma, 1)
        height -= (top + bottom) * _SUB_HEIGHT.get(chroma, 1)
    bits.ue()
    bits.ue()
    bits.ue()
    all_layers = bits.flag()
    reorder = 0
    for _ in range(sub_layers if all_layers else 1):
        bits.ue()
        reorder = max(reorder, min(bits.ue(), 16))
        bits.ue()
    _check_size(width, height)
    # The frame rate stands behind all reference picture sets; the session description has it for less.
    return Sps(codec_string, width, height, None, reorder)


def hevc_codec_string(bits: Bits, sub_layers: int) -> str:
    """Read profile_tier_level (§7.3.3) and write it as ISO/IEC 14496-15 §E.3 says. Raises :class:`BitsError`."""
    space, tier, profile = bits.u(2), bits.u(1), bits.u(5)
    compatibility = bits.u(32)
    constraints = bits.u(48).to_bytes(6, "big").rstrip(b"\x00")
    level = bits.u(8)
    present = [(bits.flag(), bits.flag()) for _ in range(sub_layers - 1)]
    if sub_layers > 1:
        bits.u(2 * (8 - (sub_layers - 1)))
    for has_profile, has_level in present:
        bits.u((88 if has_profile else 0) + (8 if has_level else 0))
    mirrored = int(f"{compatibility:032b}"[::-1], 2)
    parts = [
        f"hvc1.{('', 'A', 'B', 'C')[space]}{profile}",
        f"{mirrored:X}",
        f"{'H' if tier else 'L'}{level}",
        *(f"{byte:X}" for byte in constraints),
    ]
    return ".".join(parts)


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last, following = 8, 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _skip_hrd(bits: Bits) -> None:
    count = _bounded(bits.ue(), 31) + 1
    bits.u(8)
    for _ in range(count):
        bits.ue()
        bits.ue()
        bits.flag()
    bits.u(20)


def _rate(numerator: int, denominator: int) -> Fraction | None:
    if not numerator or not denominator:
        return None
    rate = Fraction(numerator, denominator)
    return rate if 0 < rate <= MAX_FRAME_RATE else None


def _bounded(value: int, limit: int) -> int:
    if value > limit:
        raise BitsError("a count is larger than any can be")
    return value


def _check_size(width: int, height: int) -> None:
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise BitsError(f"its size is {width}x{height}")
