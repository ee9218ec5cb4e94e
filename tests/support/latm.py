"""AudioMuxElements of LATM (ISO/IEC 14496-3 §1.7.3.1), as cameras send AAC in RTP (RFC 6416)."""


class _Bits:
    def __init__(self) -> None:
        self._value = self._count = 0

    def put(self, value: int, count: int) -> None:
        self._value, self._count = self._value << count | value, self._count + count

    def octets(self, data: bytes) -> None:
        self.put(int.from_bytes(data, "big"), 8 * len(data))

    def take(self) -> bytes:
        self.put(0, -self._count % 8)
        return self._value.to_bytes(self._count // 8, "big")


def _frames(bits: _Bits, frames: tuple[bytes, ...]) -> None:
    for frame in frames:
        for _ in range(len(frame) // 255):
            bits.put(255, 8)
        bits.put(len(frame) % 255, 8)
        bits.octets(frame)


def out_of_band(*frames: bytes) -> bytes:
    """An element whose configuration is in the session description."""
    bits = _Bits()
    _frames(bits, frames)
    return bits.take()


def in_band(
    *frames: bytes, config: bytes | None = None, version: int = 0, other_bits: int = 0, has_crc: bool = False
) -> bytes:
    """An element that brings the AudioSpecificConfig ``config``, or has that of the one before (``None``)."""
    bits = _Bits()
    bits.put(config is None, 1)
    if config is not None:
        bits.put(version, 1)
        if version:
            # audioMuxVersionA, taraBufferFullness.
            bits.put(0, 1)
            bits.put(0, 2)
            bits.put(255, 8)
        bits.put(1, 1)
        bits.put(len(frames) - 1, 6)
        bits.put(0, 4 + 3)
        if version:
            bits.put(0, 2)
            bits.put(8 * len(config), 8)
        bits.octets(config)
        bits.put(0, 3)
        bits.put(255, 8)
        bits.put(other_bits > 0, 1)
        if other_bits and version:
            bits.put(0, 2)
            bits.put(other_bits, 8)
        elif other_bits:
            bits.put(0, 1)
            bits.put(other_bits, 8)
        bits.put(has_crc, 1)
        if has_crc:
            bits.put(0x5A, 8)
    _frames(bits, frames)
    bits.put(0, other_bits)
    return bits.take()
