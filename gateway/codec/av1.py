"""AV1 (AV1 Bitstream & Decoding Process Specification): temporal units, and what their sequence header says.

Data are in the low-overhead format (§5.2), one temporal unit a packet. A last OBU may lack its size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gateway.codec.bits import BitReader, BitstreamError

SEQUENCE_HEADER, TEMPORAL_DELIMITER, FRAME_HEADER, FRAME, TILE_LIST, PADDING = 1, 2, 3, 6, 8, 15
"""Types of OBUs (§6.2.2)."""

OBUS_MAX = 4096 + 64
"""In one temporal unit: a tile group for each of 64 by 64 tiles, and what is beside them."""

LIBAV_DECODERS = {"libdav1d": "av1", "libaom-av1": "av1"}
"""libav's decoders are not named as the codec is."""

_HAS_EXTENSION, _HAS_SIZE = 0x04, 0x02
_KEY_FRAME = 0
_MARKER_AND_VERSION = 0x81


class Obu(NamedTuple):
    """One OBU: its type, its header of one or two octets without the flag for the size, and its payload."""

    kind: int
    header: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class SequenceHeader:
    """What a sequence header (§5.5.1) says. ``obu`` is the whole OBU, with its size."""

    obu: bytes
    width: int
    height: int
    profile: int
    level_idx: int
    tier: int
    bit_depth: int

    @property
    def codec_string(self) -> str:
        """By AV1 Codec ISO Media File Format Binding §5; what follows has the usual values, and is left out."""
        tier = "H" if self.tier else "M"
        return f"av01.{self.profile}.{self.level_idx:02}{tier}.{self.bit_depth:02}"


def obus(data: bytes) -> Iterator[Obu]:
    """The OBUs of a temporal unit. What is after an OBU that cannot be read is left out."""
    place = 0
    for _ in range(OBUS_MAX):
        if place >= len(data):
            return
        first = data[place]
        begin, place = place, place + (2 if first & _HAS_EXTENSION else 1)
        header = bytes((first & ~_HAS_SIZE, *data[begin + 1 : place]))
        size = len(data) - place
        if first & _HAS_SIZE:
            read = _leb128(data, place)
            if read is None:
                return
            size, place = read
        if size < 0 or place + size > len(data):
            return
        yield Obu(first >> 3 & 15, header, data[place : place + size])
        place += size


def with_size(obu: Obu) -> bytes:
    """An OBU in the low-overhead format."""
    return bytes((obu.header[0] | _HAS_SIZE, *obu.header[1:])) + leb128(len(obu.payload)) + obu.payload


def leb128(value: int) -> bytes:
    """A number in groups of seven bits, the lowest first (§4.10.5)."""
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*octets, value))


def sequence_header(data: bytes) -> SequenceHeader | None:
    """The sequence header in a temporal unit; ``None`` where none can be read."""
    for obu in obus(data):
        if obu.kind == SEQUENCE_HEADER:
            try:
                return _read_sequence(obu)
            except BitstreamError:
                return None
    return None


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of the sequence header in a temporal unit; ``None`` where none can be read."""
    found = sequence_header(data)
    return (found.width, found.height) if found is not None else None


def is_keyframe(data: bytes) -> bool:
    """Whether it begins a coded video sequence (§7.5): it has a sequence header, and then a key frame.

    Some encoders repeat the sequence header before every frame.
    """
    has_sequence = False
    for obu in obus(data):
        if obu.kind == SEQUENCE_HEADER:
            has_sequence = True
        elif obu.kind in (FRAME_HEADER, FRAME):
            # show_existing_frame and frame_type (§5.9.2).
            return has_sequence and bool(obu.payload) and obu.payload[0] >> 5 == _KEY_FRAME
    return False


def sample(data: bytes) -> bytes:
    """A temporal unit as a sample of MP4 (AV1 Codec ISO Media File Format Binding §2.4): without delimiters."""
    left_out = (TEMPORAL_DELIMITER, TILE_LIST, PADDING)
    return b"".join(with_size(obu) for obu in obus(data) if obu.kind not in left_out) or data


def codec_string_of_av1c(record: bytes) -> str | None:
    """The codec string from an ``av1C`` (§2.3 of the binding) or a sequence header; ``None`` where there is neither."""
    if record[:1] != bytes((_MARKER_AND_VERSION,)):
        found = sequence_header(record)
        return found.codec_string if found is not None else None
    found = sequence_header(record[4:])
    if found is not None:
        return found.codec_string
    if len(record) < 3:
        return None
    depth = 8 + (2 if record[2] & 0x40 else 0) + (2 if record[2] & 0x20 else 0)
    return f"av01.{record[1] >> 5}.{record[1] & 31:02}{'H' if record[2] & 0x80 else 'M'}.{depth:02}"


def profile_level_tier(codec_string: str) -> tuple[int, int, int]:
    """Of a codec string; main profile, level 3.1, main tier where it cannot be read."""
    fields = codec_string.split(".")
    try:
        return int(fields[1]), int(fields[2][:2]), int(fields[2][2:] == "H")
    except (ValueError, IndexError):
        return 0, 5, 0


def _leb128(data: bytes, place: int) -> tuple[int, int] | None:
    """The number there, and the place after it."""
    value = 0
    for index, octet in enumerate(data[place : place + 8]):
        value |= (octet & 0x7F) << 7 * index
        if not octet & 0x80:
            return value, place + index + 1
    return None


def _read_sequence(obu: Obu) -> SequenceHeader:
    bits = BitReader(obu.payload, has_emulation_prevention=False, max_bytes=256)
    profile = bits.u(3)
    bits.u(1)  # still_picture
    is_reduced = bits.flag()
    level_idx, tier = (bits.u(5), 0) if is_reduced else _read_operating_points(bits)
    width_bits, height_bits = bits.u(4) + 1, bits.u(4) + 1
    width, height = bits.u(width_bits) + 1, bits.u(height_bits) + 1
    _skip_tools(bits, is_reduced=is_reduced)
    is_high = bits.flag()
    bit_depth = 8
    if is_high:
        bit_depth = 12 if profile == 2 and bits.flag() else 10
    return SequenceHeader(with_size(obu), width, height, profile, level_idx, tier, bit_depth)


def _read_operating_points(bits: BitReader) -> tuple[int, int]:
    """Level and tier of the first operating point, which has all layers."""
    has_model, delay_bits = False, 0
    if bits.flag():  # timing_info_present_flag
        bits.u(32 + 32)
        if bits.flag():  # equal_picture_interval
            bits.ue()
        has_model = bits.flag()
        if has_model:
            delay_bits = bits.u(5) + 1
            bits.u(32 + 5 + 5)
    has_delay = bits.flag()
    found = []
    for _ in range(bits.u(5) + 1):
        bits.u(12)
        level_idx = bits.u(5)
        found.append((level_idx, bits.u(1) if level_idx > 7 else 0))
        if has_model and bits.flag():
            bits.u(2 * delay_bits + 1)
        if has_delay and bits.flag():
            bits.u(4)
    return found[0]


def _skip_tools(bits: BitReader, *, is_reduced: bool) -> None:
    """What is between the size and the colours (§5.5.1)."""
    if not is_reduced and bits.flag():  # frame_id_numbers_present_flag
        bits.u(4 + 3)
    bits.u(3)
    if not is_reduced:
        bits.u(4)
        has_order_hint = bits.flag()
        if has_order_hint:
            bits.u(2)
        # seq_choose_screen_content_tools, seq_force_screen_content_tools, and the same for integer motion vectors.
        if (bits.flag() or bits.flag()) and not bits.flag():
            bits.u(1)
        if has_order_hint:
            bits.u(3)
    bits.u(3)
