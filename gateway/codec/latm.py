"""LATM (ISO/IEC 14496-3 §1.7): AAC frames in an AudioMuxElement, and the StreamMuxConfig that describes them.

Only what RTP carries is read: one program and one layer (RFC 6416 §6.1), with frames of a variable or of one constant
length.
"""

from dataclasses import dataclass

from gateway.codec.aac import AudioConfig, read_config
from gateway.codec.bits import BitReader, BitstreamError

FRAMES_MAX = 64
"""Frames of one element (``numSubFrames`` has six bits): more than a second of AAC."""

_FRAME_LENGTH_OFFSET = 20
"""``frameLengthType`` 1: bytes of a frame beyond ``frameLength`` (§1.7.3.2.3)."""


@dataclass(frozen=True, slots=True)
class StreamMuxConfig:
    """``config`` is the AudioSpecificConfig, ``frames`` how many each element has.

    ``frame_bytes`` is their constant length, 0 for a length before each. ``other_bits`` follow the frames.
    """

    config: bytes
    parsed: AudioConfig
    frames: int = 1
    frame_bytes: int = 0
    other_bits: int = 0


def parse_mux_config(data: bytes) -> StreamMuxConfig | None:
    """A StreamMuxConfig on its own, as ``config`` of ``fmtp`` has it; ``None`` where it cannot be used."""
    try:
        return read_mux_config(BitReader(data, has_emulation_prevention=False))
    except BitstreamError:
        return None


def read_mux_config(bits: BitReader) -> StreamMuxConfig:
    """A StreamMuxConfig (§1.7.3.1). Raises :class:`~gateway.codec.bits.BitstreamError` where it cannot be used."""
    version = bits.u(1)
    if version and bits.u(1):
        raise BitstreamError("audioMuxVersionA is reserved")
    if version:
        _latm_value(bits)
    bits.u(1)
    frames = bits.u(6) + 1
    if bits.u(4) or bits.u(3):
        raise BitstreamError("it has more than one program or layer")
    if version:
        length = _latm_value(bits)
        config, parsed = read_config(bits, length)
    else:
        config, parsed = read_config(bits)
    kind = bits.u(3)
    frame_bytes = 0
    if kind == 0:
        bits.u(8)
    elif kind == 1:
        frame_bytes = bits.u(9) + _FRAME_LENGTH_OFFSET
    else:
        raise BitstreamError("its frames are no AAC")
    other_bits = 0
    if bits.flag():
        if version:
            other_bits = _latm_value(bits)
        else:
            has_more = True
            while has_more:
                has_more = bits.flag()
                other_bits = other_bits << 8 | bits.u(8)
    if bits.flag():
        bits.u(8)
    return StreamMuxConfig(config, parsed, frames, frame_bytes, other_bits)


def read_element(data: bytes, mux: StreamMuxConfig | None, *, is_in_band: bool) -> tuple[StreamMuxConfig, list[bytes]]:
    """The frames of an AudioMuxElement (§1.7.3.1), and the configuration they have.

    ``mux`` is the configuration so far. ``is_in_band``: the element begins with ``useSameStreamMux``, and may bring a
    new one. Raises :class:`~gateway.codec.bits.BitstreamError` where the element is not exactly such frames.
    """
    bits = BitReader(data, has_emulation_prevention=False, max_bytes=len(data))
    if is_in_band and not bits.flag():
        mux = read_mux_config(bits)
    if mux is None:
        raise BitstreamError("there was no configuration yet")
    frames: list[bytes] = []
    # Many senders write more frames, or fewer, than their configuration says.
    while bits.left - mux.other_bits >= 8 and len(frames) < FRAMES_MAX:
        size = mux.frame_bytes or _payload_length(bits)
        if size == 0:
            raise BitstreamError("a frame is empty")
        frames.append(bits.octets(size))
    if not frames or bits.left - mux.other_bits >= 8:
        raise BitstreamError("it has no frame, or too many")
    return mux, frames


def _payload_length(bits: BitReader) -> int:
    """PayloadLengthInfo (§1.7.3.1): bytes of 255, and a smaller one."""
    size = 0
    while (part := bits.u(8)) == 255:
        size += 255
    return size + part


def _latm_value(bits: BitReader) -> int:
    return bits.u(8 * (bits.u(2) + 1))
