"""Motion JPEG as RTP carries it (RFC 2435)."""

import cv2
import numpy as np

WIDTH, HEIGHT = 160, 96


def jpeg_picture(seed: int) -> bytes:
    """A baseline JPEG, 4:2:0, with the Huffman tables of ITU-T T.81 §K.3."""
    picture = cv2.resize(np.random.default_rng(seed).integers(0, 255, (12, 20, 3), np.uint8), (WIDTH, HEIGHT))
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert done
    return data.tobytes()


def jpeg_payloads(data: bytes, mtu: int = 400, *, with_tables: bool = True) -> list[bytes]:
    """A JPEG as RFC 2435 sends it: the scan, with the quantisation tables in the first packet."""
    tables, scan, place = b"", b"", 2
    while not scan:
        kind, size = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        segment = data[place + 4 : place + 2 + size]
        if kind == 0xDB:
            for at in range(0, len(segment), 65):
                tables += segment[at + 1 : at + 65]
        if kind == 0xDA:
            scan = data[place + 2 + size :].removesuffix(b"\xff\xd9")
        place += 2 + size
    quality = 200
    found = []
    for offset in range(0, len(scan), mtu):
        header = bytes((0,)) + offset.to_bytes(3, "big") + bytes((1, quality, WIDTH // 8, HEIGHT // 8))
        if offset == 0:
            sent = tables if with_tables else b""
            header += bytes((0, 0)) + len(sent).to_bytes(2, "big") + sent
        found.append(header + scan[offset : offset + mtu])
    return found
