"""JPEG files (ITU-T T.81): the size of the picture, and whether the file has its Huffman tables."""

_SOI = b"\xff\xd8"
_DHT, _SOS = 0xC4, 0xDA
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""Start of frame: baseline, extended, progressive. No camera sends another (§B.1.1.3)."""

SEGMENTS_MAX = 64


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels; ``None`` for what is no JPEG."""
    for marker, start in _segments(data):
        if marker in _FRAMES and start + 7 <= len(data):
            height, width = data[start + 3] << 8 | data[start + 4], data[start + 5] << 8 | data[start + 6]
            return (width, height) if width and height else None
    return None


def has_huffman_tables(data: bytes) -> bool:
    """Whether every decoder reads it. Some cameras leave out the tables that all of their pictures share."""
    return any(marker == _DHT for marker, _ in _segments(data))


def _segments(data: bytes) -> list[tuple[int, int]]:
    """Marker and place of the segments before the scan (§B.1.1.4). The place is that of the length."""
    found: list[tuple[int, int]] = []
    place = len(_SOI)
    if not data.startswith(_SOI):
        return found
    while place + 4 <= len(data) and data[place] == 0xFF and len(found) < SEGMENTS_MAX:
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1  # fill bytes
            continue
        if marker == _SOS:
            break
        found.append((marker, place + 2))
        place += 2 + (data[place + 2] << 8 | data[place + 3])
    return found
