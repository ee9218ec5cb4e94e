"""MPEG-4 Part 2 video (ISO/IEC 14496-2): the size of the picture, and where a decoder can begin."""

from gateway.codec.bits import BitReader, BitstreamError

_PREFIX = b"\x00\x00\x01"
_LAYERS = range(0x20, 0x30)
"""Start codes of a video object layer (§6.2.1)."""

_VOP = 0xB6
_EXTENDED_ASPECT = 15
_SHAPE_RECTANGULAR = 0

START_CODES_MAX = 64
"""Headers before a picture. A camera may send megabytes of user data."""


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a video object layer in ``data`` (§6.2.3); ``None`` where there is none that can be read."""
    for kind, place in _start_codes(data):
        if kind in _LAYERS:
            try:
                return _layer_size(BitReader(data[place:], has_emulation_prevention=False, max_bytes=64))
            except BitstreamError:
                return None
    return None


def is_keyframe(data: bytes) -> bool:
    """Whether its picture is an I-VOP (§6.2.5), which needs no other one."""
    for kind, place in _start_codes(data):
        if kind == _VOP and place < len(data):
            return data[place] >> 6 == 0
    return False


def _start_codes(data: bytes) -> list[tuple[int, int]]:
    """Start codes, and the places behind them."""
    found: list[tuple[int, int]] = []
    place = data.find(_PREFIX)
    while 0 <= place < len(data) - 3 and len(found) < START_CODES_MAX:
        found.append((data[place + 3], place + 4))
        if data[place + 3] == _VOP:
            break
        place = data.find(_PREFIX, place + 3)
    return found


def _layer_size(bits: BitReader) -> tuple[int, int] | None:
    bits.u(1 + 8)  # random_accessible_vol, video_object_type_indication
    verid = 1
    if bits.flag():  # is_object_layer_identifier
        verid = bits.u(4)
        bits.u(3)
    if bits.u(4) == _EXTENDED_ASPECT:
        bits.u(16)
    if bits.flag():  # vol_control_parameters
        bits.u(2 + 1)
        if bits.flag():  # vbv_parameters
            bits.u(79)
    shape = bits.u(2)
    if shape == 3 and verid != 1:
        bits.u(4)
    bits.u(1)
    resolution = bits.u(16)
    bits.u(1)
    if bits.flag():  # fixed_vop_rate
        bits.u(max(1, (resolution - 1).bit_length()))
    if shape != _SHAPE_RECTANGULAR:
        return None
    bits.u(1)
    width = bits.u(13)
    bits.u(1)
    height = bits.u(13)
    return (width, height) if width and height else None
