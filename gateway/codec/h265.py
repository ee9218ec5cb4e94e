"""H.265 (ITU-T H.265): NAL unit types, sequence parameter sets (§7.3.2.2), codec strings (ISO/IEC 14496-15 §E.3)."""

import contextlib

from gateway.codec.annexb import NalSyntax
from gateway.codec.bits import BitReader, BitstreamError
from gateway.codec.sps import MAX_REORDER, SUB_HEIGHT, SUB_WIDTH, Sps

NAL = NalSyntax(
    header_bytes=2,
    type_shift=1,
    type_mask=0x3F,
    slices=range(32),
    random_access=range(16, 24),
    vps=32,
    sps=33,
    pps=34,
    sei=39,
    delimiters=frozenset({32, 33, 34, 35, 39, *range(41, 45), *range(48, 56)}),
)
"""Table 7-1 and §7.4.2.4.4. Random access points are the IRAP types."""


def parse_sps(unit: bytes) -> Sps:
    """Read an SPS NAL unit, its header included. Raises :class:`~gateway.codec.bits.BitstreamError`.

    The frame rate is not read: it comes after all reference picture sets, and session descriptions have it too.
    """
    bits = BitReader(unit)
    bits.u(16)
    bits.u(4)
    sub_layers = bits.u(3) + 1
    bits.flag()
    codec_string = read_profile_tier_level(bits, sub_layers)
    identifier = bits.ue()
    chroma = bits.ue()
    if chroma == 3:
        chroma = 0 if bits.flag() else chroma
    width, height = bits.ue(), bits.ue()
    if bits.flag():
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
        width -= (left + right) * SUB_WIDTH.get(chroma, 1)
        height -= (top + bottom) * SUB_HEIGHT.get(chroma, 1)
    bits.ue()
    bits.ue()
    bits.ue()
    all_layers = bits.flag()
    reorder = 0
    for _ in range(sub_layers if all_layers else 1):
        bits.ue()
        reorder = max(reorder, min(bits.ue(), MAX_REORDER))
        bits.ue()
    return Sps(codec_string, width, height, None, reorder, identifier)


def parse_pps_identifiers(unit: bytes) -> tuple[int, int]:
    """The identifiers of a PPS NAL unit and of its SPS (§7.3.2.3). Raises as :func:`parse_sps`."""
    bits = BitReader(unit[:64])
    bits.u(16)
    return bits.ue(), bits.ue()


def parse_slice_pps(start: bytes) -> int:
    """The identifier of the PPS of a slice NAL unit (§7.3.6.1), from its first bytes. Raises as :func:`parse_sps`."""
    bits = BitReader(start[:64])
    nal_type = bits.u(16) >> 9 & 0x3F
    bits.flag()
    if nal_type in NAL.random_access:
        bits.flag()
    return bits.ue()


def codec_string_of_hvcc(record: bytes) -> str | None:
    """The codec string from an ``hvcC`` (ISO/IEC 14496-15 §8.3.3.1); ``None`` where it is not one."""
    if record[:1] == b"\x01":
        with contextlib.suppress(BitstreamError):
            return read_profile_tier_level(BitReader(record[1:13]), sub_layers=1)
    return None


def read_profile_tier_level(bits: BitReader, sub_layers: int) -> str:
    """Read profile_tier_level (§7.3.3) and write it as a codec string."""
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
