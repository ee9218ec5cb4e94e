"""Slice headers of H.265 (ITU-T H.265 §7.3.6.1), as far as they say which pictures a picture needs.

Everything is read from parameter sets and from the beginning of a slice. :class:`~gateway.codec.bits.BitstreamError` is
raised for what cannot be read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway.codec.bits import BitReader, BitstreamError
from gateway.codec.h265 import NAL, read_profile_tier_level

IDR = range(19, 21)
BLA = range(16, 19)
CRA = 21
RASL = range(8, 10)
LEADING = range(6, 10)
SUB_LAYER_NON_REFERENCE = range(0, 16, 2)
"""nal_unit_type (table 7-1)."""

ReferenceSet = tuple[tuple[int, bool], ...]
"""Pictures that are kept, by their difference of picture order count, and whether this picture refers to them. The
nearest ones come first, those before it before those after it."""

_SETS_MAX = 64
_PICTURES_MAX = 16


@dataclass(frozen=True, slots=True)
class SliceSps:
    """What slice headers depend on."""

    order_bits: int
    has_separate_planes: bool
    address_bits: int
    reference_sets: tuple[ReferenceSet, ...]


@dataclass(frozen=True, slots=True)
class SlicePps:
    """The same of a PPS, and the identifier of its SPS."""

    sps: int
    has_dependent_slices: bool
    has_output_flag: bool
    extra_bits: int


class SliceStart(NamedTuple):
    """The beginning of a slice header. ``order`` is the low part of the picture order count, of ``order_bits``.
    Long-term references are not among the ``references``."""

    order: int
    order_bits: int
    references: ReferenceSet


def parse_slice_sps(unit: bytes) -> tuple[int, SliceSps]:
    """The identifier and the content of an SPS NAL unit (§7.3.2.2.1)."""
    bits = BitReader(unit)
    bits.u(20)
    sub_layers = bits.u(3) + 1
    bits.flag()
    read_profile_tier_level(bits, sub_layers)
    identifier = bits.ue()
    has_separate_planes = bits.ue() == 3 and bits.flag()
    width, height = bits.ue(), bits.ue()
    if bits.flag():
        for _ in range(4):
            bits.ue()
    bits.ue()
    bits.ue()
    order_bits = bits.ue_max(12) + 4
    for _ in range(sub_layers if bits.flag() else 1):
        for _ in range(3):
            bits.ue()
    block_bits = bits.ue_max(5) + 3 + bits.ue_max(5)
    for _ in range(4):
        bits.ue()
    if bits.flag() and bits.flag():
        _skip_scaling_lists(bits)
    bits.u(2)
    if bits.flag():
        bits.u(8)
        bits.ue()
        bits.ue()
        bits.flag()
    sets: list[ReferenceSet] = []
    for number in range(bits.ue_max(_SETS_MAX)):
        sets.append(_reference_set(bits, number, sets, in_slice=False))
    block = 1 << block_bits
    blocks = -(-width // block) * -(-height // block)
    return identifier, SliceSps(order_bits, has_separate_planes, (blocks - 1).bit_length(), tuple(sets))


def parse_slice_pps(unit: bytes) -> tuple[int, SlicePps]:
    """The identifier and the content of a PPS NAL unit (§7.3.2.3.1)."""
    bits = BitReader(unit[:64])
    bits.u(16)
    identifier, sps = bits.ue(), bits.ue()
    return identifier, SlicePps(sps, bits.flag(), bits.flag(), bits.u(3))


def parse_slice(start: bytes, sps: dict[int, SliceSps], pps: dict[int, SlicePps]) -> SliceStart | None:
    """The beginning of a slice NAL unit; ``None`` where its parameter sets are not known, and of a dependent slice."""
    bits = BitReader(start[:64])
    kind = bits.u(16) >> 9 & 0x3F
    is_first = bits.flag()
    if kind in NAL.random_access:
        bits.flag()
    its_pps = pps.get(bits.ue())
    its_sps = sps.get(its_pps.sps) if its_pps is not None else None
    if its_pps is None or its_sps is None:
        return None
    if not is_first:
        is_dependent = its_pps.has_dependent_slices and bits.flag()
        bits.u(its_sps.address_bits)
        if is_dependent:
            return None
    bits.u(its_pps.extra_bits)
    bits.ue()
    bits.u(its_pps.has_output_flag + 2 * its_sps.has_separate_planes)
    sets = its_sps.reference_sets
    if kind in IDR:
        return SliceStart(0, its_sps.order_bits, ())
    order = bits.u(its_sps.order_bits)
    if not bits.flag():
        return SliceStart(order, its_sps.order_bits, _reference_set(bits, len(sets), sets, in_slice=True))
    number = bits.u((len(sets) - 1).bit_length()) if sets else 0
    if number >= len(sets):
        raise BitstreamError("it names a reference picture set that there is not")
    return SliceStart(order, its_sps.order_bits, sets[number])


def _reference_set(bits: BitReader, number: int, sets: Sequence[ReferenceSet], *, in_slice: bool) -> ReferenceSet:
    """st_ref_pic_set (§7.3.7, §7.4.8)."""
    if number and bits.flag():
        source = number - 1 - (bits.ue_max(number - 1) if in_slice else 0)
        is_back = bits.flag()
        by = (bits.ue_max(1 << 15) + 1) * (-1 if is_back else 1)
        found: list[tuple[int, bool]] = []
        for difference in (*(each for each, _ in sets[source]), 0):
            is_used = bits.flag()
            if (is_used or bits.flag()) and difference + by:
                found.append((difference + by, is_used))
        before = sorted((each for each in found if each[0] < 0), reverse=True)
        return (*before, *sorted(each for each in found if each[0] > 0))
    before_count, after_count = bits.ue_max(_PICTURES_MAX), bits.ue_max(_PICTURES_MAX)
    found = []
    for count, sign in ((before_count, -1), (after_count, 1)):
        at = 0
        for _ in range(count):
            at += sign * (bits.ue_max(1 << 15) + 1)
            found.append((at, bits.flag()))
    return tuple(found)


def _skip_scaling_lists(bits: BitReader) -> None:
    """scaling_list_data (§7.3.4)."""
    for size in range(4):
        for _ in range(0, 6, 3 if size == 3 else 1):
            if not bits.flag():
                bits.ue()
                continue
            if size > 1:
                bits.se()
            for _ in range(min(64, 1 << (4 + (size << 1)))):
                bits.se()
