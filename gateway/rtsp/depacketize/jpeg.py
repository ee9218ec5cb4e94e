"""Motion JPEG over RTP (RFC 2435): the headers that the payload leaves out are written again."""

from gateway.rtsp.depacketize import Frame

PICTURE_MAX_BYTES = 8 * 1024 * 1024
"""The fragment offset has 24 bits (§3.1.2); half of that is a JPEG larger than any camera's."""

_HEADER_BYTES = 8
_RESTART_BYTES = 4
_ZIGZAG_TABLE_BYTES = 64

# RFC 2435 appendix A: the tables of ITU-T T.81 §K.1, in zigzag order.
_LUMA = bytes.fromhex(
    "100b0c0e0c0a100e0d0e1211101318281a181616183123251d283a333d3c3933"
    "383740485c4e404457453738506d51575f626768673e4d71797064785c656763"
)
_CHROMA = bytes.fromhex("1112121815182f1a1a2f63423842") + b"\x63" * 50

# ITU-T T.81 §K.3: Huffman tables, as class and identifier, codes per length, and symbols.
_DC_LUMA = bytes.fromhex("00010501010101010100000000000000") + bytes(range(12))
_DC_CHROMA = bytes.fromhex("00030101010101010101010000000000") + bytes(range(12))
_AC_LUMA = bytes.fromhex("0002010303020403050504040000017d") + bytes.fromhex(
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738"
    "393a434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5"
    "a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
)
_AC_CHROMA = bytes.fromhex("00020102040403040705040400010277") + bytes.fromhex(
    "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a262728292a353637"
    "38393a434445464748494a535455565758595a636465666768696a737475767778797a82838485868788898a92939495969798999aa2a3"
    "a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
)


class JpegDepacketizer:
    """One Motion JPEG track; see :class:`~gateway.rtsp.depacketize.Depacketizer`. Each frame is a JPEG file."""

    def __init__(self) -> None:
        self._picture = bytearray()
        self._scan_start = 0
        self._timestamp: int | None = None
        self._tables: dict[int, bytes] = {}
        self._follows_loss = False
        self.malformed = 0
        """Payloads that were dropped for their form."""

    def push(self, payload: memoryview, timestamp: int, *, marker: bool, lost: int) -> list[Frame]:
        if lost:
            self._drop()
        if len(payload) < _HEADER_BYTES:
            self.malformed += 1
            return []
        offset = int.from_bytes(payload[1:4], "big")
        if offset == 0:
            start = self._begin(payload, timestamp)
            if start is None:
                self.malformed += 1
                self._drop()
                return []
        else:
            start = _HEADER_BYTES + (_RESTART_BYTES if 64 <= payload[4] <= 127 else 0)
            have = len(self._picture) - self._scan_start
            if self._timestamp != timestamp or offset != have or len(self._picture) + len(payload) > PICTURE_MAX_BYTES:
                self._drop()
                return []
        self._picture += payload[start:]
        if not marker:
            return []
        data, self._picture, self._timestamp = bytes(self._picture), bytearray(), None
        follows_loss, self._follows_loss = self._follows_loss, False
        return [Frame(data if data.endswith(b"\xff\xd9") else data + b"\xff\xd9", timestamp, follows_loss=follows_loss)]

    def _drop(self) -> None:
        self._picture, self._timestamp = bytearray(), None
        self._follows_loss = True

    def _begin(self, payload: memoryview, timestamp: int) -> int | None:
        """Write the headers of a picture; where its scan begins in the payload, or ``None`` for what is not allowed."""
        kind, quality = payload[4], payload[5]
        width, height = payload[6] * 8, payload[7] * 8
        place = _HEADER_BYTES
        restart = 0
        if 64 <= kind <= 127:
            if len(payload) < place + _RESTART_BYTES:
                return None
            restart = payload[place] << 8 | payload[place + 1]
            place += _RESTART_BYTES
        if kind & 0x3F > 1 or not width or not height or quality == 0:
            return None
        tables = b""
        if quality >= 128:
            if len(payload) < place + 4:
                return None
            precision, size = payload[place + 1], payload[place + 2] << 8 | payload[place + 3]
            place += 4
            if len(payload) < place + size:
                return None
            if size:
                tables = bytes(payload[place : place + size])
                place += size
                if precision == 0 and quality != 255 and size == 2 * _ZIGZAG_TABLE_BYTES:
                    self._tables[quality] = tables
            else:
                # §4.2: tables of this quality were sent before, and do not change.
                tables = self._tables.get(quality, b"")
        elif quality <= 99:
            tables = _scaled(_LUMA, quality) + _scaled(_CHROMA, quality)
        if len(tables) != 2 * _ZIGZAG_TABLE_BYTES:
            return None
        self._picture = bytearray(_headers(kind & 0x3F, width, height, tables, restart))
        self._scan_start = len(self._picture)
        self._timestamp = timestamp
        return place


def _scaled(table: bytes, quality: int) -> bytes:
    """Appendix A: a quantisation table for a quality from 1 to 99."""
    factor = 5000 // quality if quality < 50 else 200 - quality * 2
    return bytes(min(255, max(1, (value * factor + 50) // 100)) for value in table)


def _headers(kind: int, width: int, height: int, tables: bytes, restart: int) -> bytes:
    """Appendix B: everything before the scan."""
    sampling = 0x21 if kind == 0 else 0x22
    parts = [b"\xff\xd8"]
    for number in (0, 1):
        table = tables[number * _ZIGZAG_TABLE_BYTES : (number + 1) * _ZIGZAG_TABLE_BYTES]
        parts.append(b"\xff\xdb\x00\x43" + bytes((number,)) + table)
    if restart:
        parts.append(b"\xff\xdd\x00\x04" + restart.to_bytes(2, "big"))
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    components = bytes((1, sampling, 0, 2, 0x11, 1, 3, 0x11, 1))
    parts.append(b"\xff\xc0\x00\x11\x08" + size + b"\x03" + components)
    huffman = ((0x00, _DC_LUMA), (0x10, _AC_LUMA), (0x01, _DC_CHROMA), (0x11, _AC_CHROMA))
    for identifier, table in huffman:
        parts.append(b"\xff\xc4" + (3 + len(table)).to_bytes(2, "big") + bytes((identifier,)) + table)
    parts.append(b"\xff\xda\x00\x0c\x03" + bytes((1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0)))
    return b"".join(parts)
