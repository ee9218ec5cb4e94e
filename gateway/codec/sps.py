"""Sps: what liveedge uses of a sequence parameter set, of H.264 and H.265 alike."""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from gateway.codec.bits import BitstreamError

MAX_SIDE = 16_384
"""Pixels. Level 6.2 of H.264 and H.265 ends at 16,888, and cameras long before: a larger size is garbage."""

MAX_FRAME_RATE = 300
"""Frames a second. A higher rate comes from an SPS that was filled with zeros or ones."""

MAX_REORDER = 16
"""Frames: the largest decoded picture buffer (H.264 §A.3.1, H.265 §A.4.2)."""

SUB_WIDTH = {0: 1, 1: 2, 2: 2, 3: 1}
SUB_HEIGHT = {0: 1, 1: 2, 2: 1, 3: 1}
"""SubWidthC and SubHeightC by chroma_format_idc (H.264 table 6-1, H.265 table 6-1): the units of cropping."""


@dataclass(frozen=True, slots=True)
class Sps:
    """``max_reorder`` is by how many frames decoding may run ahead of presentation; ``None`` where it is not declared.
    The fields from ``identifier`` on are those of H.264 that the beginning of a slice header depends on (§7.3.3).

    Raises :class:`~gateway.codec.bits.BitstreamError` for a size that no camera has.
    """

    codec_string: str
    width: int
    height: int
    frame_rate: Fraction | None
    max_reorder: int | None
    identifier: int = 0
    frame_num_bits: int = 4
    has_separate_planes: bool = False
    is_frames_only: bool = True
    order_bits: int | None = None
    """Of pic_order_cnt_lsb; ``None`` where pictures have none."""

    def is_like(self, other: "Sps") -> bool:
        """Whether they differ in nothing but identifier, level and frame rate: in no picture."""
        mine, others = (replace(each, codec_string="", identifier=0, frame_rate=None) for each in (self, other))
        return mine == others and _without_level(self.codec_string) == _without_level(other.codec_string)

    def __post_init__(self) -> None:
        if not (0 < self.width <= MAX_SIDE and 0 < self.height <= MAX_SIDE):
            raise BitstreamError(f"its size is {self.width}x{self.height}")


def _without_level(codec_string: str) -> str:
    """``avc1.4d401f`` and ``hvc1.1.6.L93.B0`` without ``1f`` and ``93`` (RFC 6381 §3.3, ISO/IEC 14496-15 §E.3)."""
    return codec_string[:-2] if codec_string.startswith("avc1.") else re.sub(r"(?<=\.[LH])\d+", "", codec_string)


def plausible_rate(numerator: int, denominator: int) -> Fraction | None:
    """A frame rate, or ``None`` for one that no camera has."""
    if not numerator or not denominator:
        return None
    rate = Fraction(numerator, denominator)
    return rate if 0 < rate <= MAX_FRAME_RATE else None
